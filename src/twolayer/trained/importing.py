"""Networks from plain arrays, scikit-learn and PyTorch; neither package is imported here."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from twolayer.activations.catalogue import ACTIVATIONS, activation_of
from twolayer.activations.functions import Activation
from twolayer.networks import TwoLayerNetwork
from twolayer.numerics.precision import in_float64

_SKLEARN = {"relu": "relu", "tanh": "tanh", "logistic": "sigmoid", "identity": "x"}
_PROBES = 24  # inputs at which a module's own outputs are compared
_REACHES = 1.0, 20.0  # their lengths: the longer ones see where an activation is cut off
# rounding that is allowed, relative to sum_i |a_i s_i|
_ROUNDING = {"float64": 1e-10, "float32": 1e-5}
_COARSE = 2e-2  # half precision


def from_arrays(
    a: Float[np.ndarray, "m *k"],
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"] | None = None,
    *,
    activation: str | Activation = "relu",
    scale: float = 1.0,
    intercept: float | Float[np.ndarray, " k"] | None = None,
    output: int | None = None,
) -> TwoLayerNetwork:
    r"""The network ``f(x) = scale * sum_i a_i s(w_i . x + b_i) + intercept``.

    An intercept becomes one more neuron, the last, whose input weights are 0 and whose bias is 1;
    `examine` leaves such neurons out. Numbers have JAX's precision at the time of the call.

    Parameters
    ----------
    a
        Output weights; with a column for each output if there are several.
    W, b
        Input weights, one neuron a row, and biases.
    activation
        The function ``s`` or its name.
    scale
        In front of the sum.
    intercept
        Added to the sum; one number, or one for each output.
    output
        Which output, where there are several: a network has one.

    Raises
    ------
    ValueError
        If the shapes don't fit together, a number is not finite, the scale is not positive, or
        there are several outputs and none of them was chosen.

    Examples
    --------
    >>> network = from_arrays([1.0, -1.0], [[1.0, 0.0], [0.0, 2.0]], intercept=3.0)
    >>> float(network(jnp.asarray([5.0, 1.0])))
    6.0
    """
    a, W = _numbers("output weights", a), _numbers("input weights", W)
    b = None if b is None else _numbers("biases", b)
    fits = W.ndim == 2 and W.size and a.ndim in {1, 2} and len(a) == len(W)
    if not fits or (b is not None and b.shape != W.shape[:1]):
        message = "Expected input weights [m, d], output weights [m] or [m, k], and biases [m] or "
        message += f"none. Received: shapes {W.shape}, {a.shape} and "
        message += f"{None if b is None else b.shape}; one neuron a row."
        raise ValueError(message)
    if isinstance(scale, bool) or not 0 < scale < math.inf:
        message = f"Expected a positive scale. Received: {scale!r}."
        raise ValueError(message)
    shift = None if intercept is None else _numbers("an intercept", intercept)
    columns = 1 if a.ndim == 1 else a.shape[1]
    if shift is not None and shift.size not in {1, columns}:
        message = f"Expected one intercept, or one for each of {columns} outputs. "
        message += f"Received: {shift.size}."
        raise ValueError(message)
    chosen = _chosen(columns, output)
    a = a.reshape(len(a), columns)[:, chosen]
    function = activation_of(activation)
    if shift is not None:
        constant = float(np.broadcast_to(shift.reshape(-1), (columns,))[chosen])
        a, W, b = _with_intercept(a, W, b, function, constant / scale)
    parts = [None if part is None else jnp.asarray(part) for part in (a, W, b)]
    return TwoLayerNetwork(*parts, function, scale)  # type: ignore[arg-type]


def from_sklearn(model: Any, *, output: int | None = None) -> TwoLayerNetwork:
    """The network inside a fitted ``MLPRegressor`` or ``MLPClassifier`` with one hidden layer.

    Also inside a fitted `TwoLayerRegressor`, `TwoLayerClassifier` or random-feature estimator,
    whose scaling of inputs and targets is absorbed by the weights. Of a classifier it is what
    comes before the logistic function or softmax; for two classes the second against the first.
    An MLP's initialisation is one of the same ``random_state`` fitted with ``max_iter=1`` and a
    tiny ``learning_rate_init``.

    Parameters
    ----------
    model
        The fitted estimator.
    output
        Which output, or class by its place in ``classes_``, where there are several.

    Raises
    ------
    ValueError
        If it is not fitted, is another kind of model, or has not exactly one hidden layer.

    Examples
    --------
    >>> from sklearn.neural_network import MLPRegressor
    >>> import warnings; warnings.simplefilter("ignore")
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> mlp = MLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X, X[:, 0])
    >>> from_sklearn(mlp).width  # the intercept is a neuron
    9
    """
    if hasattr(model, "read_out_") and hasattr(model, "weights_"):
        return _from_estimator(model, output)
    kind = type(model).__name__
    if not (hasattr(model, "coefs_") and hasattr(model, "intercepts_")):
        message = "Expected a fitted MLPRegressor, MLPClassifier or TwoLayer estimator. "
        message += f"Received: {kind} without weights; call its fit first."
        raise ValueError(message)
    if len(model.coefs_) != 2:
        message = "Expected one hidden layer. "
        message += f"Received: {kind} with {len(model.coefs_) - 1}; train it with "
        message += "hidden_layer_sizes=(width,)."
        raise ValueError(message)
    if model.activation not in _SKLEARN:
        message = f"Expected an activation among {', '.join(_SKLEARN)}. "
        message += f"Received: {model.activation!r}."
        raise ValueError(message)
    (first, second), (b, c) = model.coefs_, model.intercepts_
    return from_arrays(
        second, np.transpose(first), b, activation=_SKLEARN[model.activation], intercept=c,
        output=output,
    )  # fmt: skip


def from_torch(
    module: Any,
    *,
    activation: str | Activation | None = None,
    scale: float = 1.0,
    output: int | None = None,
) -> TwoLayerNetwork:
    """The network inside a PyTorch module with one hidden layer.

    Its parameters are two matrices and their biases, as of ``Sequential(Linear, ReLU, Linear)``.
    The module itself is called at a few inputs, and what comes back must be what the network
    computes: so a dropout that is on, a softmax on top or another activation are not overlooked.

    Parameters
    ----------
    module
        The module.
    activation
        Its activation; by default the one among the built-in ones that gives its outputs.
    scale
        A factor that the module puts in front of its last layer.
    output
        Which output, where there are several.

    Raises
    ------
    ValueError
        If its parameters are others, it refuses inputs, or its outputs are not those of such a
        network.
    """
    if not (hasattr(module, "state_dict") and callable(module)):
        message = "Expected a PyTorch module. "
        message += f"Received: {type(module).__name__}; from_arrays takes plain weights."
        raise ValueError(message)
    tensors = dict(module.state_dict())
    orders = _layers({name: _array(value) for name, value in tensors.items()}, tensors)
    names = (*ACTIVATIONS, "x") if activation is None else (activation,)
    functions = [activation_of(name) for name in names]
    for W, b, A, c, weight in orders:
        fitting = _reproducing(module, weight, (W, b, A, c), functions, scale)
        if fitting:
            break
    if len(fitting) != 1:
        seen = " and ".join(f.facts.name for f in fitting) or "none of those tried"
        message = "Expected a module that computes A s(W x + b) + c with one of the activations "
        message += f"{', '.join(f.facts.name for f in functions)}. Received: one whose outputs "
        message += f"fit {seen}; name its `activation` and its `scale`, call module.eval() first, "
        message += "and leave off a softmax or sigmoid at the end."
        raise ValueError(message)
    intercept = None if c is None else scale * c
    return from_arrays(
        A.T, W, b, activation=fitting[0], scale=scale, intercept=intercept, output=output
    )


def _from_estimator(model: Any, output: int | None) -> TwoLayerNetwork:
    """Scaled inputs are ``(x - mean) / size``: the weights take it over."""
    mean, size = np.asarray(model.scaler_.mean_), np.asarray(model.scaler_.scale_)
    W = np.asarray(model.weights_, np.float64) / size
    b = np.asarray(model.biases_, np.float64) - W @ mean
    A = np.asarray(model.read_out_.coefficients, np.float64)
    c = np.asarray(model.read_out_.intercept, np.float64)
    if hasattr(model, "target_scale_"):
        A, c = A * model.target_scale_, c * model.target_scale_ + model.target_mean_
    elif len(model.classes_) == 2 and output is None:
        A, c = A[:, 1] - A[:, 0], c[1] - c[0]
    return from_arrays(A, W, b, intercept=c, output=output)


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
        numbers = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        message = f"Expected {name} as an array of numbers. Received: {type(values).__name__}."
        raise ValueError(message) from error
    if array.dtype.kind not in "iuf" or not np.all(np.isfinite(numbers)):
        message = f"Expected {name} as finite numbers. Received: values of type {array.dtype}, "
        message += "or NaN or infinity among them."
        raise ValueError(message)
    return numbers


def _chosen(columns: int, output: int | None) -> int:
    if output is None and columns == 1:
        return 0
    if isinstance(output, bool) or not isinstance(output, int) or not 0 <= output < columns:
        message = f"Expected an `output` from 0 to {columns - 1}: a network has one. "
        message += f"Received: {output!r}; import each of them by itself if you want all."
        raise ValueError(message)
    return output


def _with_intercept(
    a: np.ndarray, W: np.ndarray, b: np.ndarray | None, function: Activation, constant: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    at_one = float(_evaluated(function, np.ones(1))[0])
    if not at_one:
        message = "Expected an activation that is not 0 at 1, where there is an intercept. "
        message += f"Received: {function.facts.name}; subtract the intercept from the targets."
        raise ValueError(message)
    zeros = np.zeros(len(W)) if b is None else b
    return (
        np.append(a, constant / at_one),
        np.concatenate([W, np.zeros((1, W.shape[1]))]),
        np.append(zeros, 1.0),
    )


@in_float64
def _evaluated(function: Activation, z: np.ndarray) -> np.ndarray:
    return np.asarray(function(jnp.asarray(z)))


def _array(tensor: Any) -> np.ndarray:
    """A tensor's numbers wherever it lives; halves become doubles, which NumPy knows."""
    for step in ("detach", "cpu", "double"):
        tensor = getattr(tensor, step)() if hasattr(tensor, step) else tensor
    return np.asarray(tensor, np.float64)


def _layers(arrays: dict[str, np.ndarray], tensors: dict[str, Any]) -> list[tuple[Any, ...]]:
    """``W, b, A, c`` and the tensor that holds W; for square matrices in either order."""
    matrices = [name for name, array in arrays.items() if array.ndim == 2]
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "none"
    wanted = "Expected the parameters of one hidden layer: two matrices and the bias of each. "
    wanted += f"Received: {shapes}; from_arrays takes weights one by one."
    if len(matrices) != 2 or any(array.ndim not in {1, 2} for array in arrays.values()):
        raise ValueError(wanted)
    found = []
    for first, second in (matrices, matrices[::-1]):
        W, A = arrays[first], arrays[second]
        b, c = (arrays.get(f"{name.removesuffix('weight')}bias") for name in (first, second))
        complete = 2 + (b is not None) + (c is not None) == len(arrays)
        fits = b is None or b.shape == W.shape[:1]
        if complete and fits and A.shape[1] == W.shape[0]:
            found.append((W, b, A, c, tensors[first]))
    if not found:
        raise ValueError(wanted)
    return found


def _reproducing(
    module: Any, weight: Any, layers: tuple[Any, ...], functions: list[Activation], scale: float
) -> list[Activation]:
    """Those activations with which the layers give the module's own outputs."""
    W = layers[0]
    size = max(float(np.sqrt(np.mean(np.sum(W**2, axis=1)))), np.finfo(float).tiny)
    normals = np.random.default_rng(0).standard_normal((_PROBES, W.shape[1])) * 1.5 / size
    for reach in _REACHES:
        functions = _agreeing(
            module, weight, layers, functions, scale, probes=reach * normals, slack=reach
        )
    return functions


def _agreeing(
    module: Any,
    weight: Any,
    layers: tuple[Any, ...],
    functions: list[Activation],
    scale: float,
    *,
    probes: np.ndarray,
    slack: float,
) -> list[Activation]:
    """Those that agree at given probes; `slack` multiplies the rounding that is allowed."""
    W, b, A, c = layers
    given = weight.new_tensor(probes.tolist())
    try:
        outputs = _array(module(given))
    except RuntimeError as error:  # PyTorch's word for shapes that don't fit
        message = f"Expected a module of inputs [n, {W.shape[1]}] and weights [outputs, inputs]. "
        message += f"Received: one that refuses them: {str(error).splitlines()[0]}."
        raise ValueError(message) from error
    probes = _array(given)
    if outputs.size != len(probes) * len(A):
        return []
    outputs = outputs.reshape(len(probes), len(A))
    z = probes @ W.T + (0 if b is None else b)
    rounding = _ROUNDING.get(str(weight.dtype).rpartition(".")[2], _COARSE) * slack
    found = []
    for function in functions:
        h = _evaluated(function, z)
        expected = scale * (h @ A.T + (0 if c is None else c))
        largest = scale * (np.abs(h) @ np.abs(A.T) + (0 if c is None else np.abs(c)))
        if np.all(np.abs(outputs - expected) <= rounding * (largest + np.max(largest))):
            found.append(function)
    return found
