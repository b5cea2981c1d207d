"""The kernels of infinitely wide lazy networks: frozen random features, and tangent features.

Neurons are ``s(w . x + b)`` with ``w ~ N(0, weight_variance I)`` and a bias that is ``+bias`` for
half of the neurons and ``-bias`` for the others. A Gaussian bias of standard deviation t is a
further coordinate ``t / sqrt(weight_variance)`` of every input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, owens_t

if TYPE_CHECKING:
    from twolayer.activations import Activation

_BLOCK = 2**20  # entries of a kernel that are computed at a time: flat memory
_LEAST = 1e-12  # standard deviation of an input of length 0, relative to the bias
# E s(u) s(v) and E s'(u) s'(v) from the variances and the covariance of u and v
Means = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def random_feature_kernel(
    x: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, "k d"] | None = None,
    *,
    activation: str | Activation = "relu",
    weight_variance: float = 1.0,
    bias: float = 0.0,
) -> Float[np.ndarray, "n k"]:
    r"""``K(x, z) = E s(w . x + b) s(w . z + b)``: random features, a frozen first layer.

    .. math:: K = |x| |z| (\sin\theta + (\pi - \theta) \cos\theta) / (2 \pi)

    for relu without bias (cho2009kernel, degree 1; theta is the angle). With bias a closed form
    by Owen's T function, for other activations their dual (both derived here).

    Parameters
    ----------
    x, z
        Inputs, one a row; z is x if it is not given.
    activation
        The activation or its name; one with a kink elsewhere than relu's takes no bias.
    weight_variance
        Variance of each input weight.
    bias
        Size of the biases.

    Raises
    ------
    ValueError
        If the inputs are no tables of one dimension, a number is not finite, the variance is not
        positive, or an activation with a kink is given a bias.

    Examples
    --------
    >>> x = np.asarray([[1.0, 0.0], [0.0, 2.0]])
    >>> (random_feature_kernel(x) * np.pi).round(6).tolist()
    [[1.570796, 1.0], [1.0, 6.283185]]
    """
    x, z, same = _checked(x, z, weight_variance, bias)
    means = _means(activation, bias)[0]
    return _blocks(x, z, same, weight_variance, lambda *q: means(*q[:3]))


def neural_tangent_kernel(
    x: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, "k d"] | None = None,
    *,
    activation: str | Activation = "relu",
    weight_variance: float = 1.0,
    bias: float = 0.0,
    tangent_weight: float = 1.0,
) -> Float[np.ndarray, "n k"]:
    r"""The random-feature kernel plus that of the trained input weights.

    .. math:: K(x, z) = E s(u) s(v) + c\, \langle x, z\rangle\, E s'(u) s'(v)

    with ``u = w . x + b``, ``v = w . z + b``; for relu without bias the second mean is
    ``(pi - theta) / (2 pi)``. The weight c is the variance of the output weights where the input
    weights themselves are trained (jacot2018neural); networks ``a . s(W x / sqrt(d)) / sqrt(m)``
    with standard normal parameters have ``weight_variance = c = 1 / d``.

    Parameters
    ----------
    x, z, activation, weight_variance, bias
        As for `random_feature_kernel`; the biases are not trained.
    tangent_weight
        The weight c, 0 or more.

    Raises
    ------
    ValueError
        As for `random_feature_kernel`, or if the weight is negative.

    Examples
    --------
    >>> neural_tangent_kernel(np.eye(2), tangent_weight=2.0).round(6).tolist()
    [[1.5, 0.159155], [0.159155, 1.5]]
    """
    if not 0 <= tangent_weight < math.inf:
        message = f"Expected a weight of 0 or more. Received: {tangent_weight!r}."
        raise ValueError(message)
    x, z, same = _checked(x, z, weight_variance, bias)
    values, slopes = _means(activation, bias)

    def kernel(q11, q12, q22, inner):
        return values(q11, q12, q22) + tangent_weight * inner * slopes(q11, q12, q22)

    return _blocks(x, z, same, weight_variance, kernel)


def _means(activation: str | Activation, bias: float) -> tuple[Means, Means]:
    """``E s(u) s(v)`` and ``E s'(u) s'(v)``, averaged over both signs of the bias."""
    name = activation if isinstance(activation, str) else activation.facts.name
    if name == "relu":
        if bias == 0:
            return _relu, _step
        return (
            lambda *q: (_biased_relu(bias, *q) + _biased_relu(-bias, *q)) / 2,
            lambda *q: (_biased_step(bias, *q) + _biased_step(-bias, *q)) / 2,
        )
    return _dual_means(activation, bias)


def _relu(q11: np.ndarray, q12: np.ndarray, q22: np.ndarray) -> np.ndarray:
    root = np.sqrt(np.maximum(q11 * q22 - q12**2, 0.0))
    return (root + q12 * (np.pi - np.arctan2(root, q12))) / (2 * np.pi)


def _step(q11: np.ndarray, q12: np.ndarray, q22: np.ndarray) -> np.ndarray:
    root = np.sqrt(np.maximum(q11 * q22 - q12**2, 0.0))
    return (np.pi - np.arctan2(root, q12)) / (2 * np.pi)


def _biased_relu(bias: float, q11: np.ndarray, q12: np.ndarray, q22: np.ndarray) -> np.ndarray:
    """``E relu(u + b) relu(v + b)``: the second moment of a truncated normal pair.

    With ``h = b / sd(u)``, ``k = b / sd(v)``, correlation rho and ``r^2 = 1 - rho^2`` it is
    ``sd(u) sd(v)`` times ``(rho + h k) Phi_2(h, k; rho) + r^2 phi_2(h, k; rho)
    + h phi(k) Phi((h - rho k) / r) + k phi(h) Phi((k - rho h) / r)``.
    """
    h, k, rho, root = _standardised(bias, q11, q12, q22)
    scale = bias**2 / (h * k)
    density = np.exp(-((k - rho * h) ** 2) / (2 * root**2) - h**2 / 2) / (2 * np.pi)
    product = (rho + h * k) * _both_below(h, k, rho, root) + root * density
    product += h * _density(k) * ndtr((h - rho * k) / root)
    product += k * _density(h) * ndtr((k - rho * h) / root)
    return scale * np.maximum(product, 0.0)


def _biased_step(bias: float, q11: np.ndarray, q12: np.ndarray, q22: np.ndarray) -> np.ndarray:
    """``P(u + b > 0, v + b > 0)``."""
    return _both_below(*_standardised(bias, q11, q12, q22))


def _standardised(
    bias: float, q11: np.ndarray, q12: np.ndarray, q22: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """``b / sd(u)``, ``b / sd(v)``, the correlation and ``sqrt(1 - rho^2)``, never quite 0."""
    least = _LEAST * abs(bias)
    first, second = np.maximum(np.sqrt(q11), least), np.maximum(np.sqrt(q22), least)
    rho = np.clip(q12 / (first * second), -1.0, 1.0)
    root = np.sqrt(np.maximum((1 - rho) * (1 + rho), 1e-30))
    first, second, rho, root = np.broadcast_arrays(bias / first, bias / second, rho, root)
    return first, second, rho, root


def _both_below(h: np.ndarray, k: np.ndarray, rho: np.ndarray, root: np.ndarray) -> np.ndarray:
    """``P(U < h, V < k)`` of a standard normal pair, for h and k of one sign (owen1956tables)."""
    total = (ndtr(h) + ndtr(k)) / 2 - owens_t(h, (k / h - rho) / root)
    return np.maximum(total - owens_t(k, (h / k - rho) / root), 0.0)


def _density(t: np.ndarray) -> np.ndarray:
    return np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)


def _dual_means(activation: str | Activation, bias: float) -> tuple[Means, Means]:
    """The same from the activation's dual: ``d/dq12 E s(u) s(v) = E s'(u) s'(v)`` (Price)."""
    import jax
    import jax.numpy as jnp

    from twolayer.activations.catalogue import activation_of
    from twolayer.activations.functions import FunctionActivation

    base = activation_of(activation)
    if bias and not base.facts.smooth:
        message = "Expected a smooth activation, or relu, where there is a bias. "
        message += f"Received: {base.facts.name} with bias {bias:g}; add a constant coordinate "
        message += "to the inputs for a Gaussian bias instead."
        raise ValueError(message)
    both = [base]
    if bias:
        both = [
            FunctionActivation(function=lambda t, b=b: base(t + b), facts=base.facts)
            for b in (bias, -bias)
        ]

    def dual(q11, q12, q22):
        return sum(each.dual(q11, q12, q22) for each in both) / len(both)

    def slope(q11, q12, q22):
        return jax.jvp(lambda q: dual(q11, q, q22), (q12,), (jnp.ones_like(q12),))[1]

    def in_numpy(mean: Callable) -> Means:
        compiled = jax.jit(mean)

        def means(q11, q12, q22):
            with jax.enable_x64(True):
                parts = [jnp.asarray(q) for q in np.broadcast_arrays(q11, q12, q22)]
                return np.asarray(compiled(*parts))

        return means

    return in_numpy(dual), in_numpy(slope)


def _blocks(
    x: np.ndarray, z: np.ndarray, same: bool, variance: float, kernel: Callable
) -> np.ndarray:
    """``kernel(q11, q12, q22, <x, z>)`` of all pairs, by blocks of rows."""
    result = np.empty((len(x), len(z)))
    norms_x, norms_z = np.sum(x**2, axis=1), np.sum(z**2, axis=1)
    rows = max(1, _BLOCK // max(len(z), 1))
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        inner = x[part] @ z.T
        if same:  # the diagonal has correlation 1 to the last digit
            own = np.arange(start, start + len(inner))
            inner[own - start, own] = norms_x[own]
        result[part] = kernel(
            variance * norms_x[part, None], variance * inner, variance * norms_z[None], inner
        )
    return (result + result.T) / 2 if same else result


def _checked(
    x: object, z: object | None, variance: float, bias: float
) -> tuple[np.ndarray, np.ndarray, bool]:
    first = np.asarray(x, np.float64)
    second = first if z is None else np.asarray(z, np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        message = "Expected two tables of inputs of one dimension, one input a row. "
        message += f"Received: shapes {first.shape} and {second.shape}."
        raise ValueError(message)
    if not (np.all(np.isfinite(first)) and np.all(np.isfinite(second)) and math.isfinite(bias)):
        message = "Expected finite inputs and a finite bias. Received: NaN or infinity among them; "
        message += "drop or replace them."
        raise ValueError(message)
    if not 0 < variance < math.inf:
        message = f"Expected a positive variance of the weights. Received: {variance!r}."
        raise ValueError(message)
    return first, second, z is None or x is z
