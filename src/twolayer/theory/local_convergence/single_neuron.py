r"""ReLU students of one ReLU neuron: the setting of xu2023over.

Student ``sum_i relu(w_i.x)``, teacher ``relu(v.x)``, loss ``E (difference)^2 / 2`` over standard
normal x. As soon as there are two students, gradient descent converges like ``t^-3``.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import angle, sine_gap, unit
from twolayer.outcomes import Assumption


def rectifier_loss(W: Float[np.ndarray, "n d"], v: Float[np.ndarray, " d"]) -> float:
    r"""The population loss, accurate near zero.

    .. math:: L = \tfrac14 \bigl\|\textstyle\sum_i w_i - v\bigr\|^2
              + \tfrac1{2\pi} \Bigl[\sum_{i<j} s(\theta_{ij}) \|w_i\| \|w_j\|
              - \sum_i s(\theta_i) \|w_i\| \|v\|\Bigr], \qquad s(t) = \sin t - t \cos t

    (xu2023over, equation 23): near v all terms are small.

    Examples
    --------
    >>> v = np.array([1.0, 0.0])
    >>> rectifier_loss(np.array([[0.5, 0.0], [0.5, 0.0]]), v)
    0.0
    """
    students, v = _checked(W, v)
    norms, length = np.linalg.norm(students, axis=1), np.linalg.norm(v)
    pairs = sine_gap(angle(students[:, None], students[None])) * norms[:, None] * norms[None]
    alone = sine_gap(angle(students, v[None])) @ norms * length
    linear = np.sum((np.sum(students, axis=0) - v) ** 2)
    return float(linear / 4 + (np.sum(np.triu(pairs, 1)) - alone) / (2 * np.pi))


def rectifier_gradient(
    W: Float[np.ndarray, "n d"], v: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "n d"]:
    r"""Its gradient (xu2023over, equation 4); a zero student has that of ``wb = 0``.

    .. math:: \nabla_i L = \tfrac12 (\textstyle\sum_j w_j - v) + \tfrac1{2\pi} \Bigl[
              \bigl(\sum_{j \ne i} \|w_j\| \sin\theta_{ij} - \|v\| \sin\theta_i\bigr) \bar w_i
              - \sum_{j \ne i} \theta_{ij} w_j + \theta_i v\Bigr]

    Examples
    --------
    >>> rectifier_gradient(np.array([[2.0, 0.0]]), np.array([1.0, 0.0]))
    array([[0.5, 0. ]])
    """
    students, v = _checked(W, v)
    norms = np.linalg.norm(students, axis=1)
    theta = angle(students[:, None], students[None])
    np.fill_diagonal(theta, 0.0)
    own = angle(students, v[None])
    along = np.sin(theta) @ norms - np.linalg.norm(v) * np.sin(own)
    turning = along[:, None] * unit(students) - theta @ students + own[:, None] * v
    return (np.sum(students, axis=0) - v) / 2 + turning / (2 * np.pi)


def transverse_parts(
    W: Float[np.ndarray, "n d"], v: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "n d"]:
    """``z_i = w_i - (w_i.vb) vb``: what must vanish for the loss to vanish.

    Examples
    --------
    >>> transverse_parts(np.array([[2.0, 1.0]]), np.array([3.0, 0.0]))
    array([[0., 1.]])
    """
    students, v = _checked(W, v)
    direction = unit(v)
    return students - (students @ direction)[:, None] * direction[None]


def transverse_spread(W: Float[np.ndarray, "n d"], v: Float[np.ndarray, " d"]) -> float:
    """The potential ``Z = sum_{i<j} |z_i - z_j|``, at least of order 1/t (xu2023over, Theorem 14).

    Examples
    --------
    >>> transverse_spread(np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([1.0, 0.0]))
    2.0
    """
    z = transverse_parts(W, v)
    return float(np.sum(np.linalg.norm(z[:, None] - z[None], axis=2)) / 2)


def slow_start(W: Float[np.ndarray, "n d"], v: Float[np.ndarray, " d"]) -> Assumption:
    """Whether a start is non-degenerate: Theorem 14 of xu2023over then forbids more than ``t^-3``.

    All ``z_i`` must be nonzero and not all parallel to each other in one direction. One student,
    students parallel to v, and equal students converge exponentially instead.

    Examples
    --------
    >>> v = np.array([1.0, 0.0])
    >>> slow_start(np.array([[1.0, 0.1], [1.0, -0.1]]), v).holds
    True
    >>> slow_start(np.array([[1.0, 0.1], [1.0, 0.1]]), v).holds
    False
    """
    z = transverse_parts(W, v)
    scale = np.linalg.norm(np.asarray(W, dtype=np.float64), axis=1)
    least = float(np.min(np.linalg.norm(z, axis=1) / np.where(scale > 0, scale, 1.0)))
    widest = float(np.max(angle(z[:, None], z[None]))) if least > 0 else 0.0
    margin = min(least, widest)
    return Assumption(
        "non-degenerate start, Theorem 14",
        len(z) > 1 and margin > 1e-12,
        margin,
        "margin: the least angle to v or the widest between transverse parts",
    )


def rectifier_gradient_ratio(
    W: Float[np.ndarray, "n d"], v: Float[np.ndarray, " d"]
) -> tuple[float, tuple[Assumption, ...]]:
    r"""``|grad L| n^{2/3} |v|^{1/3} / L^{2/3}``, which Theorem 7 of xu2023over bounds below.

    Its hidden constant is universal: the ratio stays away from 0 where the assumptions hold, and
    exponent 2/3 improves on the 1 of zhou2021local.

    Raises
    ------
    ValueError
        If the loss is zero.

    Examples
    --------
    >>> W = np.array([[0.5, 1e-3], [0.5, -1e-3]])
    >>> ratio, assumptions = rectifier_gradient_ratio(W, np.array([1.0, 0.0]))
    >>> bool(0.1 < ratio < 10)
    True
    """
    students, v = _checked(W, v)
    n, length = len(students), float(np.linalg.norm(v))
    value = rectifier_loss(students, v)
    if not value > 0:
        message = f"Expected students of positive loss. Received: loss {value!r}."
        raise ValueError(message)
    slope = float(np.linalg.norm(rectifier_gradient(students, v)))
    shares = np.linalg.norm(students, axis=1) * n / length
    assumptions = (
        Assumption(
            "|v| / (4 n) <= |w_i| <= 4 |v| / n",
            bool(np.all((shares >= 0.25) & (shares <= 4))),
            float(min(np.min(shares) - 0.25, 4 - np.max(shares))),
        ),
        Assumption(
            "loss at most of order |v|^2 / n^14",
            value <= length**2 / n**14,
            math.log10(length**2 / n**14) - math.log10(value),
            "margin in decades, the hidden constant taken as 1",
        ),
    )
    return slope * n ** (2 / 3) * length ** (1 / 3) / value ** (2 / 3), assumptions


def log10_initial_scale(num_students: int, dim: int, *, norm: float = 1.0) -> float:
    r"""log10 of the initialisation scale that Theorem 9 of xu2023over asks for.

    .. math:: \sigma = n^{-4226} d^{-1/2} \|v\|

    with its hidden constant taken as 1: out of reach for two students already, though ``t^-3`` is
    seen from sigma = 0.1.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> round(log10_initial_scale(2, 10))
    -1273
    """
    if not (num_students >= 1 and dim >= 1 and norm > 0):
        message = "Expected positive numbers. Received: "
        message += f"{num_students!r}, {dim!r}, {norm!r}."
        raise ValueError(message)
    return -4226 * math.log10(num_students) - math.log10(dim) / 2 + math.log10(norm)


def _checked(W: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    students, target = np.asarray(W, dtype=np.float64), np.asarray(v, dtype=np.float64)
    fits = students.ndim == 2 and target.shape == students.shape[1:] and students.size > 0
    if not fits or not (np.all(np.isfinite(students)) and np.all(np.isfinite(target))):
        message = "Expected finite students [n, d] and one teacher [d]. Received: shapes "
        message += f"{students.shape} and {target.shape}, or not finite."
        raise ValueError(message)
    if not np.any(target):
        message = "Expected a teacher different from zero. Received: zero."
        raise ValueError(message)
    return students, target
