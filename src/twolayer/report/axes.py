"""What figures of every kind share: colours, labels, and when an axis is logarithmic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from twolayer.numerics.montecarlo import mean_and_error
from twolayer.outcomes import Trajectory
from twolayer.results import Result

# Okabe and Ito's palette: distinct for colour-blind readers and in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
DASHES = {"exact": "-", "asymptotic": "-", "upper": "--", "lower": "--"}
DECADES = 1000  # the range of logarithmic colours
FEW = 12  # points have bars: a band between them would claim what was not measured
_LONG = 1000  # places that span as much are shown on a logarithmic axis
_WIDE = 1e4  # values that span more than this are shown on a logarithmic axis


def colours(result: Result) -> dict[str, str]:
    """The colour of each curve: a prediction and a training run of one name share theirs."""
    names = [curve.name for curve in (*result.trajectories, *result.predictions)]
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(dict.fromkeys(names))}


def value_label(result: Result) -> str:
    """What the curves of a result show: what it says, their common name, or how their names begin.

    Curves of training runs that are named after their cases show losses.

    Examples
    --------
    >>> from twolayer.outcomes import Prediction
    >>> def named(name):
    ...     return Prediction(name, np.zeros(1), np.zeros(1), "exact", "derived here")
    >>> value_label(Result(predictions=(named("J - J*, case 1"), named("J - J*, case 2"))))
    'J - J*'
    >>> value_label(Result(predictions=(named("loss"),)))
    'loss'
    """
    if result.quantity:
        return result.quantity
    names = {curve.name for curve in (*result.predictions, *result.trajectories)}
    trained = any("dynamics" in trajectory.details for trajectory in result.trajectories)
    beginnings = {name.split(", ")[0] for name in names}
    losses = (beginnings & {"loss", "risk"} or {"loss"}) if trained else set()
    for found in (losses, names, beginnings):
        if len(found) == 1:
            return found.pop()
    return ""


def is_long(grids: Iterable[Any]) -> bool:
    """Whether the places of curves need a logarithmic axis.

    Examples
    --------
    >>> is_long([np.array([0.0, 1.0, 1000.0])]), is_long([np.array([1.0, 10.0])])
    (True, False)
    """
    found = np.concatenate([np.zeros(0), *(np.ravel(np.asarray(grid, float)) for grid in grids)])
    positive = found[np.isfinite(found) & (found > 0)]
    return bool(positive.size) and float(positive.max()) >= _LONG * float(positive.min())


def is_wide(values: Iterable[Any]) -> bool:
    """Whether positive values span so many powers of ten that only their logarithm shows them.

    Values at or below zero are rounding if they are that small against the largest; larger ones
    forbid a logarithmic axis.

    Examples
    --------
    >>> is_wide([np.array([1.0, 1e-5])]), is_wide([np.array([1.0, 1e-5, -0.1])])
    (True, False)
    """
    arrays = [np.ravel(np.asarray(value, dtype=np.float64)) for value in values]
    found = np.concatenate([np.zeros(0), *arrays])
    found = found[np.isfinite(found)]
    positive = found[found > 0]
    if not positive.size:
        return False
    largest = float(positive.max())
    return largest > _WIDE * float(positive.min()) and float(found.min()) > -largest / _WIDE


def over_seeds(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray | None]:
    """The mean over the seeds that finished and its standard error; NaN where none did.

    A single seed has the error of its own observations, if that is known.
    """
    finished = [k for k, status in enumerate(trajectory.status) if status == "finished"]
    if not finished:
        return np.full(np.shape(trajectory.time), np.nan), None
    mean, error = mean_and_error(np.asarray(trajectory.value, dtype=np.float64)[finished])
    if len(finished) > 1:
        return np.asarray(mean), np.asarray(error)
    own = trajectory.error
    return np.asarray(mean), None if own is None else np.asarray(own)[finished[0]]


def two_errors(
    value: np.ndarray, error: np.ndarray, *, positive: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Two standard errors to both sides.

    A logarithmic axis, where all is `positive`, can't show what is below 0: there the band ends
    at a tenth of the value.

    Examples
    --------
    >>> low, high = two_errors(np.array([1.0]), np.array([0.75]), positive=True)
    >>> float(low[0]), float(high[0])
    (0.1, 2.5)
    """
    low, high = value - 2 * error, value + 2 * error
    return (np.maximum(low, np.abs(value) / 10) if positive else low), high
