r"""A saddle near zero loss: all students on the bisector of two close teachers.

Its loss bounds from above every threshold eps_0 below which stationary points are global minima.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import sine_gap


@dataclass(frozen=True)
class MergeSaddle:
    """A stationary point with positive loss.

    Attributes
    ----------
    students
        All on the bisector, ``[m, 2]``.
    teacher
        Two neurons of equal norm, ``[2, 2]``.
    loss
        Its loss.
    """

    students: Float[np.ndarray, "m 2"]
    teacher: Float[np.ndarray, "2 2"]
    loss: float


def merge_loss(separation: float, *, norm: float = 1.0) -> float:
    r"""The loss of the merge saddle of two teachers at an angle Delta.

    .. math:: \frac{L^*}{\|w^*\|^2} = \tfrac2\pi s(\Delta) - \tfrac8\pi \cos\tfrac\Delta2
              s(\tfrac\Delta2) - \tfrac8{\pi^2} s(\tfrac\Delta2)^2 = \frac{\Delta^3}{3\pi} + \dots,
              \qquad s(t) = \sin t - t \cos t

    (derived here). So eps_0 of zhou2021local is below it, for every pair of teachers.

    Raises
    ------
    ValueError
        If the angle is not in (0, pi/2], or the norm is not positive.

    Examples
    --------
    >>> round(merge_loss(1e-3) / (1e-9 / (3 * np.pi)), 2)
    1.0
    """
    _check(separation, norm)
    half = separation / 2
    flat = sine_gap(separation) - 4 * np.cos(half) * sine_gap(half)
    return float(norm**2 * (2 / np.pi * flat - 8 / np.pi**2 * sine_gap(half) ** 2))


def merge_saddle(separation: float, *, num_students: int = 2, norm: float = 1.0) -> MergeSaddle:
    r"""The saddle itself: ``sum_j |w_j|^2 = 2 |w*| k(Delta/2)``, shared equally.

    ``k(t) = (2/pi) (sin t + (pi/2 - t) cos t)``. The gradient vanishes: by symmetry its direction
    is the bisector's, and the mass is the best one.

    Raises
    ------
    ValueError
        If the angle is not in (0, pi/2], the norm is not positive, or there are fewer than two
        students.

    Examples
    --------
    >>> merge_saddle(0.3, num_students=3).students.shape
    (3, 2)
    """
    _check(separation, norm)
    if num_students < 2:
        message = f"Expected at least two students. Received: {num_students}."
        raise ValueError(message)
    half = separation / 2
    kernel = np.cos(half) + 2 / np.pi * sine_gap(half)
    size = np.sqrt(2 * norm * kernel / num_students)
    students = np.zeros((num_students, 2))
    students[:, 0] = size
    directions = np.array([[np.cos(half), np.sin(half)], [np.cos(half), -np.sin(half)]])
    return MergeSaddle(students, norm * directions, merge_loss(separation, norm=norm))


def _check(separation: float, norm: float) -> None:
    if not 0 < separation <= np.pi / 2:
        message = f"Expected an angle in (0, pi/2], up to sign. Received: {separation!r}."
        raise ValueError(message)
    if not 0 < norm < np.inf:
        message = f"Expected a positive norm. Received: {norm!r}."
        raise ValueError(message)
