r"""Log-Sobolev constants of laws on the line, bracketed by quadrature.

With m the median, p the density and M(x) the mass beyond x on its side of the median,

.. math:: B = \sup_x M(x) \log\Bigl(1 + \frac{e^2}{M(x)}\Bigr) \Bigl|\int_m^x \frac{dt}{p(t)}\Bigr|,
          \quad b = \sup_x M(x) \log\Bigl(1 + \frac1{2 M(x)}\Bigr) \Bigl|\int_m^x \frac{dt}{p(t)}
          \Bigr|

the best C in ``Ent(f^2) <= C int f'^2`` lies between the larger b of both sides and 4 times the
larger B (barthe2003sobolev), and ``rho = 2 / C``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_FLOOR = 1e-280  # masses below are left out: their products would leave the floats


@dataclass(frozen=True)
class LineBracket:
    """Bounds of the log-Sobolev constant of a law on the line.

    Attributes
    ----------
    lower, upper
        ``2 / (4 B)`` and ``2 / b``.
    median
        The median.
    """

    lower: float
    upper: float
    median: float


def barthe_roberto(
    points: Float[np.ndarray, " m"], log_density: Float[np.ndarray, " m"]
) -> LineBracket:
    r"""Bounds of the log-Sobolev constant of a law on the line from its density.

    The integrals are trapezoidal sums, so that the bounds hold up to an error of second order in
    the distance of the points (derived here); the points should reach far into both tails.

    Parameters
    ----------
    points
        Increasing points.
    log_density
        The logarithm of the density there, up to a constant.

    Raises
    ------
    ValueError
        If there are fewer than five points, they don't increase, or the values don't fit.

    Examples
    --------
    >>> x = np.linspace(-10, 10, 4001)
    >>> bracket = barthe_roberto(x, -(x**2) / 2)
    >>> bool(0.26 < bracket.lower < 1 < bracket.upper < 2.35)
    True
    """
    x = np.asarray(points, dtype=np.float64)
    log = np.asarray(log_density, dtype=np.float64)
    if x.ndim != 1 or x.shape != log.shape or x.size < 5 or not np.all(np.diff(x) > 0):
        message = "Expected at least 5 increasing points and as many values. "
        message += f"Received: shapes {x.shape} and {log.shape}."
        raise ValueError(message)
    if not np.all(np.isfinite(log)):
        message = "Expected finite values of the log-density. Received: others."
        raise ValueError(message)
    log = log - log.max()
    density = np.exp(log)
    below = _cumulative(x, density)
    total = below[-1]
    log, below = log - np.log(total), below / total
    median = float(np.interp(0.5, below, x))
    # the median becomes a point, so that each side begins at it
    x = np.insert(x, np.searchsorted(x, median, side="right"), median)
    log = np.interp(x, np.asarray(points, dtype=np.float64), log)
    middle = int(np.searchsorted(x, median))
    right = _side(x[middle:], log[middle:])
    left = _side(-x[middle::-1], log[middle::-1])
    largest, least = max(right[0], left[0]), max(right[1], left[1])
    return LineBracket(2 / (4 * largest), 2 / least, median)


def _side(x: np.ndarray, log: np.ndarray) -> tuple[float, float]:
    """``B`` and ``b`` on the side of the median where x increases."""
    density = np.exp(log)
    beyond = _cumulative(-x[::-1], density[::-1])[::-1]
    keep = (beyond > _FLOOR) & (density > _FLOOR)
    x, density, beyond = x[keep], density[keep], beyond[keep]
    reach = _cumulative(x, 1 / density)
    largest = beyond * np.log1p(np.exp(2) / beyond) * reach
    least = beyond * np.log1p(1 / (2 * beyond)) * reach
    return float(np.max(largest)), float(np.max(least))


def _cumulative(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The trapezoidal integral from the first point to each."""
    pieces = np.diff(x) * (values[1:] + values[:-1]) / 2
    return np.concatenate([[0.0], np.cumsum(pieces)])
