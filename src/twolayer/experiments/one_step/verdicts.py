"""Verdicts on what figures claim: one error below another, falling errors, gaps of some size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from twolayer.outcomes import Finding, Trajectory, Verdict

_LARGE = 0.5  # a relative gap


def lower(
    name: str, statement: str, reference: str, errors: np.ndarray, others: np.ndarray, note: str
) -> Finding:
    """Whether `errors` have a lower mean than `others`, by the differences of their pairs.

    It agrees where the mean difference is beyond what chance yields at three standard
    deviations, disagrees where it is so in the other direction.

    Parameters
    ----------
    name, statement, reference, note
        Of the finding.
    errors, others
        An entry a trial; trials of one index share their randomness.
    """
    import numpy as np

    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.outcomes import Finding

    if not np.all(np.isfinite(errors) & np.isfinite(others)):
        return diverged(name, statement, reference)
    difference, error = (float(part) for part in mean_and_error(errors - others))
    margin = student_factor(len(errors)) * error
    verdict: Verdict = "undecided"
    if abs(difference) > margin:
        verdict = "agrees" if difference < 0 else "disagrees"
    predicted = f"below {np.mean(others):.3g}"
    return Finding(
        name, statement, predicted, float(np.mean(errors)), error, verdict, reference, note
    )


def falls(name: str, statement: str, reference: str, trajectory: Trajectory) -> Finding:
    """Whether the errors fall along the whole curve, and nowhere rise, by pairs of trials.

    It disagrees where a step from one point to the next is a rise beyond what chance yields,
    agrees where none is and the fall from the first to the last point is beyond it.
    """
    import numpy as np

    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error

    values = trajectory.value
    if not np.all(np.isfinite(values)):
        return diverged(name, statement, reference)
    steps, spread = mean_and_error(np.diff(values, axis=1))
    excess = steps - student_factor(values.shape[0]) * spread
    worst = int(np.argmax(excess))
    if excess[worst] > 0:
        start, end = trajectory.time[worst : worst + 2]
        note = f"it rises from {trajectory.grid_name} {start:.3g} to {end:.3g}"
        return lower(name, statement, reference, values[:, worst + 1], values[:, worst], note)
    note = f"from {trajectory.grid_name} {trajectory.time[0]:.3g} to {trajectory.time[-1]:.3g}"
    return lower(name, statement, reference, values[:, -1], values[:, 0], note)


def rises(name: str, statement: str, reference: str, trajectory: Trajectory) -> Finding:
    """Whether the errors rise along the whole curve: that they fall from its end to its start."""
    from dataclasses import replace

    reversed_curve = replace(
        trajectory, time=trajectory.time[::-1], value=trajectory.value[:, ::-1]
    )
    return falls(name, statement, reference, reversed_curve)


def within(
    name: str, statement: str, reference: str, gap: np.ndarray, tolerance: float, note: str
) -> Finding:
    """Whether a relative gap, an entry a trial, has a mean of at most `tolerance` in size.

    It disagrees where the mean exceeds the tolerance by more than chance yields at three standard
    deviations; where chance alone could make a gap of 0.5 it is undecided.
    """
    mean, error, margin = _mean_error_margin(gap)
    if not margin < float("inf"):
        return diverged(name, statement, reference)
    verdict: Verdict = "undecided" if margin > _LARGE else "agrees"
    if abs(mean) - margin > tolerance:
        verdict = "disagrees"
    predicted = f"within {tolerance:g}"
    return _finding(name, statement, predicted, mean, error, verdict, reference, note)


def beyond(
    name: str, statement: str, reference: str, gap: np.ndarray, tolerance: float, note: str
) -> Finding:
    """Whether a relative gap, an entry a trial, has a mean above `tolerance` in size.

    It agrees or disagrees where the mean differs from the tolerance by more than chance yields at
    three standard deviations.
    """
    mean, error, margin = _mean_error_margin(gap)
    if not margin < float("inf"):
        return diverged(name, statement, reference)
    verdict: Verdict = "undecided"
    if abs(abs(mean) - tolerance) > margin:
        verdict = "agrees" if abs(mean) > tolerance else "disagrees"
    predicted = f"beyond {tolerance:g}"
    return _finding(name, statement, predicted, mean, error, verdict, reference, note)


def _mean_error_margin(gap: np.ndarray) -> tuple[float, float, float]:
    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error

    mean, error = (float(part) for part in mean_and_error(gap))
    return mean, error, student_factor(len(gap)) * error


def _finding(*values: Any) -> Finding:
    from twolayer.outcomes import Finding

    return Finding(*values)


def diverged(name: str, statement: str, reference: str) -> Finding:
    """A finding without numbers: a trial left the finite numbers."""
    from twolayer.outcomes import Finding

    nothing = float("nan")
    return Finding(
        name, statement, nothing, nothing, nothing, "failed", reference, "a trial diverged"
    )
