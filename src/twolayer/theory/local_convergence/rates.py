"""Rates of decay fitted to curves, with error bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class PowerFit:
    """A power law ``value = constant * grid^slope`` fitted in logarithms.

    Attributes
    ----------
    slope
        The exponent.
    error
        Its error: the scatter's standard error, and by how much the slope at the end of the window
        differs from the fitted one, added in squares. A smooth curve has little scatter, but its
        slope may still be moving.
    log_constant
        The logarithm of the constant.
    num_points
        How many points were fitted.
    """

    slope: float
    error: float
    log_constant: float
    num_points: int


def fit_power(
    grid: Float[np.ndarray, " t"], value: Float[np.ndarray, " t"], *, decades: float = 1.0
) -> PowerFit:
    """Fit the last decades of a curve by a power of its grid.

    Parameters
    ----------
    grid
        Positive abscissae: times, or losses.
    value
        Positive values.
    decades
        How many decades of the grid are fitted, counted from its largest point.

    Raises
    ------
    ValueError
        If fewer than four points lie in the window, or a number is not positive.

    Examples
    --------
    >>> t = np.geomspace(1, 1e3, 30)
    >>> fit = fit_power(t, 5 / t**3)
    >>> round(fit.slope, 9), fit.error < 1e-9
    (-3.0, True)
    """
    x, y = np.asarray(grid, dtype=np.float64), np.asarray(value, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or not (np.all(x > 0) and np.all(y > 0)):
        least = (np.min(x, initial=np.inf), np.min(y, initial=np.inf))
        message = "Expected positive numbers, as many values as grid points. Received: "
        message += f"shapes {x.shape} and {y.shape}, least {least[0]:.3g} and {least[1]:.3g}."
        raise ValueError(message)
    kept = x >= np.max(x, initial=0.0) * 10.0**-decades * (1 - 1e-12)
    if len(np.unique(x[kept])) < 4:
        message = f"Expected at least four points in the last {decades:g} decades. "
        message += f"Received: {len(np.unique(x[kept]))}."
        raise ValueError(message)
    x, y = np.log(x[kept]), np.log(y[kept])
    slope, level, scatter = _line(x, y)
    order = np.argsort(x)
    halves = [(x[part], y[part]) for part in np.array_split(order, 2)]
    early, late = (_line(*half)[0] for half in halves)
    # The halves' centres are half the window apart, and so is its end from its centre: where the
    # slope moves steadily, it ends off the fitted one by late - early. Scatter moves them too.
    noise = scatter**2 * _spread(x) * sum(1 / _spread(part) for part, _ in halves)
    drift = max((late - early) ** 2 - noise, 0.0)
    return PowerFit(slope, float(np.sqrt(scatter**2 + drift)), level, len(x))


def fit_late_constant(
    time: Float[np.ndarray, " t"],
    loss: Float[np.ndarray, " t"],
    *,
    power: float,
    decades: float = 1.0,
) -> tuple[float, float]:
    r"""K and its error in ``L ~ K / (t + t_0)^power``, at late times.

    ``L^{-1/power}`` is then linear in t; the fitted shift ``t_0`` takes up the leading correction,
    which makes the plain ``L t^power`` converge slowly. The error is half the difference between
    the two halves of the window.

    Parameters
    ----------
    time, loss
        The curve.
    power
        The exponent, fixed.
    decades
        How many decades of time are fitted, counted from the last.

    Raises
    ------
    ValueError
        If fewer than four points lie in the window, or a loss is not positive.

    Examples
    --------
    >>> t = np.geomspace(1, 1e3, 30)
    >>> [round(number, 6) for number in fit_late_constant(t, 5 / (t + 7) ** 3, power=3)]
    [5.0, 0.0]
    """
    t, losses = np.asarray(time, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    if t.shape != losses.shape or t.ndim != 1 or not np.all(losses > 0):
        message = "Expected positive losses, one for each time. Received: "
        message += (
            f"shapes {t.shape} and {losses.shape}, least {np.min(losses, initial=np.inf):.3g}."
        )
        raise ValueError(message)
    y = losses ** (-1 / power)
    kept = np.nonzero(t >= np.max(t) * 10.0**-decades * (1 - 1e-12))[0]
    if len(kept) < 4:
        message = f"Expected at least four times in the last {decades:g} decades. "
        message += f"Received: {len(kept)}."
        raise ValueError(message)
    middle = len(kept) // 2
    constants = [
        float(_line(t[part], y[part])[0] ** -power) for part in (kept, kept[:middle], kept[middle:])
    ]
    return constants[2], abs(constants[2] - constants[1]) / 2


def _spread(x: np.ndarray) -> float:
    return float(np.sum((x - np.mean(x)) ** 2))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Slope, level and the slope's standard error of a least-squares line."""
    centre = x - np.mean(x)
    spread = _spread(x)
    slope = float(np.sum(centre * y) / spread)
    level = float(np.mean(y) - slope * np.mean(x))
    rest = y - level - slope * x
    freedom = max(len(x) - 2, 1)
    return slope, level, float(np.sqrt(np.sum(rest**2) / freedom / spread))
