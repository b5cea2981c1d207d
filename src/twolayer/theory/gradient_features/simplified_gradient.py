"""The simplified gradient vector: what one step of gradient descent sees of the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from twolayer.inputs import Gaussian, Hypercube
from twolayer.sparse_coding import StructuredParity
from twolayer.targets import MultiIndex, Parity, Polynomial, SingleIndex, sign_product
from twolayer.tasks import Classification, Dataset, Regression
from twolayer.theory.gradient_features import closed_gradients as closed

_BLOCK = 2048  # samples at once
_BLOCKS = 128  # at least, for a standard error from the scatter of their means
_LEAST_SAMPLES = 32
_ENUMERABLE = 14  # dimensions whose hypercube is summed corner by corner
_DERIVED = "derived here"


@dataclass(frozen=True)
class Gradients:
    """Simplified gradients of many neurons.

    Attributes
    ----------
    value
        ``G(w_i, b_i)``, one neuron a row.
    error
        The standard error of an estimate, the numerical error of a closed form.
    second_moment
        ``E[y^2 |x|^2 1(w_i.x > b_i)]`` of each neuron.
    kind
        ``"exact"`` up to `error`, ``"asymptotic"`` in many dimensions, or ``"estimate"``.
    reference
        Where the formula is from.
    num_samples
        The samples of an estimate.
    """

    value: Float[np.ndarray, "m d"]
    error: Float[np.ndarray, "m d"]
    second_moment: Float[np.ndarray, " m"]
    kind: Literal["exact", "asymptotic", "estimate"]
    reference: str
    num_samples: int | None = None

    @property
    def norm(self) -> Float[np.ndarray, " m"]:
        """The length of each gradient."""
        return np.linalg.norm(self.value, axis=1)

    @property
    def noise(self) -> Float[np.ndarray, " m"]:
        """The trace of the covariance of ``y x 1(w_i.x > b_i)``, a single sample's noise."""
        return np.maximum(self.second_moment - self.norm**2, 0.0)


def simplified_gradient(
    task: object,
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"] | float = 0.0,
    *,
    num_samples: int | None = None,
    key: PRNGKeyArray | None = None,
) -> Gradients:
    r"""Each neuron's simplified gradient, in closed form where the law of the data has one.

    .. math:: G(w, b) = E_{(x, y)}\big[y\, x\, 1(w \cdot x > b)\big]

    Where the network starts at 0, its first gradient with respect to w is ``l'(0) a G(w, b)``.
    The definition as recalled from shi2023provable; closed forms derived here, for

    - labels of the components of a mixture of Gaussians, whatever their covariances;
    - a function of at most three projections of a standard normal input;
    - a parity on the hypercube: exact for weights +-1 and in up to 14 dimensions, else asymptotic
      in the dimension (relative error of order 1/d), for up to 12 coordinates;
    - a structured sparse parity, asymptotic in the background units;
    - given samples, the average over them.

    Any other task with a ``sample`` method is sampled, as is every task by `sampled_gradient`.

    Parameters
    ----------
    task
        The joint law of (x, y).
    W
        Weights, one neuron a row.
    b
        Thresholds; **minus** the biases of a `TwoLayerNetwork`.
    num_samples, key
        Samples and their randomness, for laws without a closed form; of given samples, how many
        of the first are used.

    Raises
    ------
    ValueError
        If shapes don't fit together or are not finite, a law without a closed form comes without
        a number of samples or a key, or more samples are asked for than are given.

    Examples
    --------
    >>> from twolayer.targets import halfspace
    >>> task = Regression(Gaussian(2), halfspace(np.array([1.0, 0.0])))
    >>> found = simplified_gradient(task, np.array([[3.0, 4.0]]))
    >>> (found.value * np.sqrt(2 * np.pi)).round(9).tolist(), found.kind
    ([[1.0, 0.0]], 'exact')
    """
    W, b = neurons_of(task, W, b)
    if isinstance(task, Dataset):
        x, y = np.asarray(task.x), np.asarray(task.y)
        if num_samples is not None and not 1 <= num_samples <= len(x):
            message = f"Expected a number of samples from 1 to the {len(x)} given ones. "
            message += f"Received: {num_samples!r}."
            raise ValueError(message)
        return dataset_gradient(x[:num_samples], y[:num_samples], W, b)
    found = _closed_form(task, W, b)
    if found is not None:
        return found
    if num_samples is None or key is None:
        message = "Expected a number of samples and a key: this law has no closed form. "
        message += f"Received: num_samples={num_samples!r}{', no key' if key is None else ''}."
        raise ValueError(message)
    return sampled_gradient(task, W, b, num_samples=num_samples, key=key)


def sampled_gradient(
    task: Any,
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"] | float = 0.0,
    *,
    num_samples: int,
    key: PRNGKeyArray,
) -> Gradients:
    """The same from fresh samples, streamed: its memory does not grow with their number.

    About 128 blocks at least; the standard error is from their scatter, and 6 percent uncertain
    itself. Products in single precision, sums in double.

    Raises
    ------
    ValueError
        If shapes don't fit together or are not finite, or there are fewer than 32 samples.

    Examples
    --------
    >>> from twolayer.targets import halfspace
    >>> task = Regression(Gaussian(2), halfspace(np.array([1.0, 0.0])))
    >>> found = sampled_gradient(task, np.eye(2), num_samples=10_000, key=jax.random.key(0))
    >>> bool(np.all(abs(found.value - [[0.3989, 0], [0.3989, 0]]) < 5 * found.error))
    True
    """
    W, b = neurons_of(task, W, b)
    if isinstance(num_samples, bool) or not num_samples >= _LEAST_SAMPLES:
        message = f"Expected at least {_LEAST_SAMPLES} samples. Received: {num_samples!r}."
        raise ValueError(message)
    if getattr(getattr(task, "inputs", None), "balanced", False):
        # Blocks in exact proportion and in order are no independent samples.
        task = replace(task, inputs=replace(task.inputs, balanced=False))
    count = max(min(_BLOCKS, num_samples), -(-num_samples // _BLOCK))
    size = -(-num_samples // count)
    count = -(-num_samples // size)
    last = num_samples - (count - 1) * size

    def blocks():
        for i in range(count):
            x, y = _drawn(task, size, jax.random.fold_in(key, i))
            rows = size if i < count - 1 else last
            yield np.asarray(x)[:rows], np.asarray(y)[:rows]

    total, squares, second = _streamed(blocks(), W, b)
    # sum_i S_i^2 / n_i - S^2 / n, over sums of blocks, is c - 1 variances in the mean.
    variance = np.maximum(squares - total**2 / num_samples, 0.0) / (count - 1)
    error = np.sqrt(variance / num_samples)
    reference = "average over samples, standard error from its blocks"
    return Gradients(
        total / num_samples, error, second / num_samples, "estimate", reference, num_samples
    )


def dataset_gradient(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"] | float = 0.0,
) -> Gradients:
    """The exact gradient of the empirical law of these samples (products in single precision).

    As an estimate of the gradient of the law that they are from, its noise is
    ``Gradients.noise / n``.

    Raises
    ------
    ValueError
        If shapes don't fit together or a number is not finite.

    Examples
    --------
    >>> dataset_gradient(np.eye(2), np.array([1.0, -1.0]), np.array([[1.0, 1.0]])).value.tolist()
    [[0.5, -0.5]]
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.shape != x.shape[:1] or not x.size:
        message = "Expected a table of inputs and one label for each of its rows. "
        message += f"Received: shapes {x.shape} and {y.shape}."
        raise ValueError(message)
    W, b = neurons_of(x, W, b)
    n = len(x)
    size = min(n, _BLOCK)
    blocks = ((x[i : i + size], y[i : i + size]) for i in range(0, n, size))
    total, _, second = _streamed(blocks, W, b, errors=False)
    value, second = total / n, second / n
    if not np.all(np.isfinite(value)):
        message = (
            "Expected finite samples. Received: NaN or infinity among them; drop or fill them."
        )
        raise ValueError(message)
    reference = "average over the given samples"
    return Gradients(value, np.zeros_like(value), second, "exact", reference, n)


def neurons_of(
    task: Any, W: Float[np.ndarray, "m d"], b: Float[np.ndarray, " m"] | float
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]:
    """Weights and thresholds in double precision, checked against each other and the inputs.

    Raises
    ------
    ValueError
        If shapes don't fit together or a number is not finite.
    """
    W, b = np.asarray(W, np.float64), np.asarray(b, np.float64)
    if W.ndim != 2 or not W.size or b.shape not in ((), W.shape[:1]):
        message = "Expected weights [m, d] and one threshold, or one for each neuron. "
        message += f"Received: shapes {W.shape} and {b.shape}."
        raise ValueError(message)
    if not (np.all(np.isfinite(W)) and np.all(np.isfinite(b))):
        message = "Expected finite weights and thresholds. Received: NaN or infinity among them."
        raise ValueError(message)
    samples = getattr(task, "x", task)
    dim = getattr(getattr(task, "inputs", task), "dim", None)
    dim = samples.shape[1] if getattr(samples, "ndim", 0) == 2 else dim
    if dim is not None and dim != W.shape[1]:
        message = f"Expected weights for inputs of {dim} coordinates. Received: {W.shape[1]}."
        raise ValueError(message)
    return W, np.broadcast_to(b, W.shape[:1])


def _closed_form(task: object, W: np.ndarray, b: np.ndarray) -> Gradients | None:
    if isinstance(task, StructuredParity):
        found = closed.structured_parity_moments(task, W, b)
        reference = f"{_DERIVED}, central limit theorem over the background"
        return Gradients(*found, "asymptotic", reference)
    if isinstance(task, Classification):
        found = closed.mixture_moments(task.inputs, np.asarray(task.labels, np.float64), W, b)
        return Gradients(*found, "exact", _DERIVED)
    if isinstance(task, Regression) and isinstance(task.inputs, Hypercube):
        return _parity(task, W, b) if isinstance(task.target, Parity) else None
    if isinstance(task, Regression) and isinstance(task.inputs, Gaussian):
        return _projections(task, W, b)
    return None


def _parity(task: Regression, W: np.ndarray, b: np.ndarray) -> Gradients | None:
    assert isinstance(task.target, Parity)
    coordinates, d = task.target.coordinates, W.shape[1]
    power = 1 + float(task.noise_std) ** 2  # E y^2
    sizes = np.abs(W[:, :1])
    if np.all(np.abs(W) == sizes) and np.all(sizes > 0):
        value, error, second = closed.sign_parity_moments(coordinates, W, b)
        return Gradients(value, error, power * second, "exact", _DERIVED)
    order = [*coordinates, *(i for i in range(d) if i not in coordinates)]
    count = d if d <= _ENUMERABLE else len(coordinates)
    if count > max(_ENUMERABLE, closed.ENUMERABLE) or (d > count > closed.ENUMERABLE):
        return None
    patterns = corners(count)
    labels = np.prod(patterns[:, : len(coordinates)], axis=1)
    mass = np.full(len(patterns), 1 / len(patterns))
    moved, second = closed.background_moments(patterns, mass, labels, (W[:, order], b), 1.0)
    value = np.empty_like(moved)
    value[:, order] = moved
    exact = count == d
    reference = f"{_DERIVED}, {'corner by corner' if exact else 'central limit theorem'}"
    kind = "exact" if exact else "asymptotic"
    return Gradients(value, np.zeros_like(value), power * second, kind, reference)


def corners(dim: int) -> Float[np.ndarray, "c d"]:
    """All corners of the hypercube, one a row.

    Examples
    --------
    >>> corners(2).tolist()
    [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    """
    bits = (np.arange(2**dim)[:, None] >> np.arange(dim)[::-1]) & 1
    return 1.0 - 2.0 * bits


def _projections(task: Regression, W: np.ndarray, b: np.ndarray) -> Gradients | None:
    target, noise = task.target, float(task.noise_std)
    if isinstance(target, MultiIndex):
        directions, link = np.asarray(target.directions, np.float64), target.link
        if len(directions) == 1 and link is sign_product:
            value, error, second = closed.halfspace_moments(directions[0], W, b)
            return Gradients(value, error, (1 + noise**2) * second, "exact", _DERIVED)
    elif isinstance(target, SingleIndex):
        direction = np.asarray(target.direction, np.float64)
        length = float(np.linalg.norm(direction))
        if not length:
            return None
        directions, link = direction[None] / length, _Scaled(target.link, length)
    elif isinstance(target, Polynomial):
        directions, link = np.eye(max(target.dim, 1), W.shape[1]), target
    else:
        return None
    if len(directions) > 3 or len(directions) > W.shape[1]:
        return None
    found = closed.multi_index_moments(directions, link, W, b, noise_std=noise)
    return Gradients(*found, "exact", f"{_DERIVED}, quadrature over the projections")


class _Scaled:
    """A link of one variable as one of a vector with a single entry."""

    def __init__(self, link: Callable[[Any], Any], length: float):
        self._link, self._length = link, length

    def __call__(self, z: Any) -> Any:
        return self._link(self._length * z[0])


@eqx.filter_jit
def _drawn(task: Any, num_samples: int, key: PRNGKeyArray) -> Any:
    return task.sample(num_samples, key=key)


def _streamed(
    blocks: Any, W: np.ndarray, b: np.ndarray, *, errors: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over all rows of ``y x``, of its squared block sums over their rows, of ``y^2 |x|^2``.

    Only of rows that a neuron sees; two matrix products a block.
    """
    m, d = W.shape
    weights, thresholds = W.astype(np.float32), b.astype(np.float32)
    total, squares, second = np.zeros((m, d)), np.zeros((m, d)), np.zeros(m)
    columns = z = np.empty((0, 0), np.float32)
    for x, y in blocks:
        x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
        if columns.shape != (len(x), d + 1):
            columns, z = np.empty((len(x), d + 1), np.float32), np.empty((len(x), m), np.float32)
        np.multiply(x, y[:, None], out=columns[:, :d])
        columns[:, d] = np.einsum("nd,nd->n", columns[:, :d], columns[:, :d])
        np.matmul(x, weights.T, out=z)
        np.greater(z, thresholds, out=z)  # the indicator, in place
        part = z.T @ columns
        total += part[:, :d]
        second += part[:, d]
        if errors:
            squares += part[:, :d] ** 2 / np.float32(len(x))
    return total, squares, second
