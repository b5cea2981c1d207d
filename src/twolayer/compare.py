"""A prediction held against what training did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from twolayer.numerics.montecarlo import mean_and_error
from twolayer.outcomes import Comparison, Convergence, Prediction, Trajectory, Verdict

_TAIL = 0.00135  # a gap that chance exceeds this rarely, on one side, is a disagreement (3 sigma)
_LEAST = 1e-6  # smallest relative error of a gap: seeds that agree to rounding are no certainty


def compare(
    prediction: Prediction,
    trajectory: Trajectory,
    *,
    tolerance: float | Float[np.ndarray, " t"] = 0.0,
) -> Comparison:
    """Hold the mean over seeds against a predicted curve, at the trajectory's times.

    With gap ``g`` (measured minus predicted), standard error ``e`` over n seeds, numerical error
    ``q`` of the prediction and tolerance ``b``, the margin is ``m = t e + q + b``, where t is the
    quantile of Student's distribution with n - 1 degrees of freedom that belongs to three
    standard deviations. An exact or asymptotic prediction agrees if ``|g| <= m`` at every time, a
    lower bound if ``g >= -m``, an upper bound if ``g <= m``. Where the margin exceeds both half
    of the predicted range and half of the largest measured value the data can't tell, and the
    verdict is ``"undecided"``, not ``"agrees"``.

    Parameters
    ----------
    prediction
        Its grid must cover the trajectory's times; values between grid points are interpolated.
    trajectory
        One curve for each seed.
    tolerance
        Deviation that the theory itself allows: the finite-size correction of a limit, say.

    Raises
    ------
    ValueError
        If the trajectory reaches beyond the predicted times.

    Examples
    --------
    >>> t = np.arange(3.0)
    >>> predicted = Prediction("loss", t, 1 - t / 4, "exact", "derived here")
    >>> losses = 1 - t / 4 + 0.01 * np.array([[1], [-1], [0]])
    >>> measured = Trajectory("loss", t, losses, ("finished",) * 3)
    >>> compare(predicted, measured).verdict
    'agrees'
    """
    _check_covered(prediction, trajectory)
    times = np.asarray(trajectory.time, dtype=np.float64)
    shape = times.shape
    allowed = np.broadcast_to(np.asarray(tolerance, dtype=np.float64), shape)
    finished = [k for k, status in enumerate(trajectory.status) if status == "finished"]
    if not finished or prediction.status != "finished":
        what = "the predicted flow" if prediction.status != "finished" else "every seed"
        nothing = np.full(shape, np.nan)
        reason = f"{what} ended before the last time"
        return Comparison(prediction.name, times, nothing, nothing, allowed, "failed", reason)
    measured, error = mean_and_error(np.asarray(trajectory.value)[finished])
    predicted = np.interp(times, prediction.grid, prediction.value)
    gap = measured - predicted
    numerical = np.zeros(shape)
    if prediction.error is not None:
        numerical = np.interp(times, prediction.grid, prediction.error)
    margin = student_factor(len(finished)) * error + numerical + allowed
    verdict, reason = _judge(prediction, times, gap, margin, measured)
    lost = len(trajectory.status) - len(finished)
    if lost:
        reason += f"; {lost} of {len(trajectory.status)} seeds did not finish and are left out"
    return Comparison(prediction.name, times, gap, error, allowed, verdict, reason)


def compare_sizes(
    prediction: Prediction,
    trajectories: Sequence[Trajectory],
    sizes: Sequence[float],
    *,
    rate: float = 0.5,
) -> Convergence:
    """Whether the gap to a limit falls with the size as ``size^-rate`` or faster.

    The gap of one seed is the root mean square over time of measured minus predicted. Its mean
    over seeds is fitted by a power of the size; with slope ``-r`` and standard error ``e`` the
    theory agrees if ``r >= rate - 2 e`` and ``r >= 2 e`` (the gap shrinks beyond doubt),
    disagrees if ``r < rate - 2 e``, and is undecided otherwise.

    Parameters
    ----------
    prediction
        The limit curve.
    trajectories
        One for each size.
    sizes
        What grows: the width, say, with the dimension in proportion.
    rate
        The slowest decay that the theory allows.

    Raises
    ------
    ValueError
        With fewer than two sizes, or if a trajectory reaches beyond the predicted times.
    """
    if len(trajectories) < 2 or len(sizes) != len(trajectories):
        message = (
            "Expected at least two trajectories and one size for each. "
            f"Received: {len(trajectories)} trajectories and {len(sizes)} sizes."
        )
        raise ValueError(message)

    def nothing(verdict: Verdict, reason: str) -> Convergence:
        return Convergence(
            prediction.name, np.asarray(sizes, float), np.array([]), np.array([]), np.nan,
            np.inf, rate, verdict, reason,
        )  # fmt: skip

    if prediction.status != "finished":
        return nothing("failed", "the predicted flow ended before the last time")
    gaps, errors = [], []
    for trajectory in trajectories:
        _check_covered(prediction, trajectory)
        predicted = np.interp(trajectory.time, prediction.grid, prediction.value)
        value = np.asarray(trajectory.value)[
            [k for k, status in enumerate(trajectory.status) if status == "finished"]
        ]
        if value.shape[0] < 2:
            return nothing("failed", "fewer than two seeds of one size finished")
        gap = mean_and_error(np.sqrt(np.mean((value - predicted[None, :]) ** 2, axis=1)))
        gaps.append(float(gap.mean))
        errors.append(float(gap.error))
    if not any(gaps):
        return nothing("undecided", "training is the limit at every size: no gap is left to shrink")
    slope, error = _fitted_power(np.asarray(sizes, float), np.asarray(gaps), np.asarray(errors))
    verdict: Verdict = "agrees"
    if slope < rate - 2 * error:
        verdict = "disagrees"
    elif slope < 2 * error:
        verdict = "undecided"
    reason = f"the gap falls like size^-{slope:.2f} +- {error:.2f}; at least {rate:g} is expected"
    return Convergence(
        prediction.name, np.asarray(sizes, float), np.asarray(gaps), np.asarray(errors), slope,
        error, rate, verdict, reason,
    )  # fmt: skip


def _check_covered(prediction: Prediction, trajectory: Trajectory) -> None:
    last, covered = float(np.max(trajectory.time)), float(np.max(prediction.grid))
    if prediction.status == "finished" and last > covered * (1 + 1e-6):
        message = (
            f"Expected a prediction up to {prediction.grid_name} {last:g}. "
            f"Received: one up to {covered:g}. Did you perhaps predict at fewer times?"
        )
        raise ValueError(message)


def _judge(prediction, times, gap, margin, measured) -> tuple[Verdict, str]:
    excess = {"lower": -gap, "upper": gap}.get(prediction.kind, np.abs(gap)) - margin

    def figures(k: int) -> str:
        place = f"{prediction.grid_name} {times[k]:.4g}"
        return f"gap {gap[k]:.3g} against a margin of {margin[k]:.2g} at {place}"

    worst = int(np.argmax(excess))
    if excess[worst] > 0:
        return "disagrees", figures(worst)
    scale = max(np.ptp(measured - gap), float(np.max(np.abs(measured)))) / 2
    if not np.all(margin <= scale):
        widest = int(np.argmax(margin))
        return "undecided", f"the error is too large to tell: {figures(widest)}"
    return "agrees", f"largest: {figures(worst)}"


def student_factor(num_samples: int) -> float:
    """How many standard errors of a mean of so many samples amount to three of a known one.

    Examples
    --------
    >>> [round(student_factor(n), 1) for n in (3, 6, 1000)]
    [19.2, 5.5, 3.0]
    """
    from scipy.special import stdtrit

    return float(stdtrit(num_samples - 1, 1 - _TAIL)) if num_samples > 1 else np.inf


def _fitted_power(sizes, gaps, errors) -> tuple[float, float]:
    """Slope r of ``gap ~ size^-r`` by weighted least squares in logarithms, with its error."""
    x, y = np.log(sizes), np.log(np.maximum(gaps, np.finfo(float).tiny))
    weight = 1 / np.maximum(errors / np.maximum(gaps, np.finfo(float).tiny), _LEAST) ** 2
    centre = np.sum(weight * x) / np.sum(weight)
    spread = np.sum(weight * (x - centre) ** 2)
    return -float(np.sum(weight * (x - centre) * y) / spread), float(1 / np.sqrt(spread))
