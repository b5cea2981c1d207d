"""What the experiments on late training share: flows of padded students, and verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.outcomes import Finding, Verdict

if TYPE_CHECKING:
    import numpy as np

    from twolayer.dynamics.teacher_student import StudentPath


def padded_flow(
    teacher: np.ndarray,
    W: np.ndarray,
    times: np.ndarray,
    *,
    width: int,
    kind: str = "absolute value",
    rtol: float = 1e-9,
) -> StudentPath:
    """Gradient flow of a student, in double precision, over long times.

    Neurons of output weight 0, which neither move nor count, fill it up to `width`: students of
    all widths run in one compiled program.
    """
    import numpy as np

    from twolayer.numerics.precision import in_float64

    filled = np.ones((width, W.shape[1]))
    filled[: len(W)] = W
    path = in_float64(_flow)(teacher, filled, np.arange(width) < len(W), times, kind, rtol)
    return path._replace(W=path.W[:, : len(W)])


def _flow(teacher, W, counted, times, kind, rtol):
    from twolayer.dynamics.teacher_student import flow
    from twolayer.pair_kernels import abs_pairs, relu_pairs
    from twolayer.teacher_student import TeacherStudent

    if kind == "absolute value":
        problem = TeacherStudent(teacher, pairs=abs_pairs, student="norm")
    else:
        problem = TeacherStudent(teacher, pairs=relu_pairs)
    return flow(problem, W, counted.astype(float), times=times, solver="implicit", rtol=rtol)


def judged(
    name: str,
    statement: str,
    numbers: tuple[float, float, float],
    reference: str,
    note: str = "",
    *,
    allowed: float = 0.0,
) -> Finding:
    """A finding on ``(predicted, measured, error)``.

    It agrees within what is allowed, or within three errors where nothing is. Further off, but
    within three errors, the data can't tell; nor can they where three errors exceed both what is
    allowed and a tenth of what is predicted.
    """
    predicted, measured, error = numbers
    gap = abs(measured - predicted)
    verdict: Verdict = "disagrees"
    if gap <= max(3 * error, allowed):
        within = gap <= (allowed or 3 * error)
        told = 3 * error <= max(allowed, abs(predicted) / 10)
        verdict = "agrees" if within and told else "undecided"
    if not abs(measured) < float("inf"):
        verdict = "failed"
    return Finding(name, statement, predicted, measured, error, verdict, reference, note)


def bounded(
    name: str, statement: str, numbers: tuple[float, float, float], reference: str, note: str = ""
) -> Finding:
    """A finding on ``(bound, measured, error)`` that agrees where the bound holds from below."""
    bound, measured, error = numbers
    verdict: Verdict = "agrees" if measured >= bound - error else "disagrees"
    if not abs(measured) < float("inf"):
        verdict = "failed"
    return Finding(name, statement, bound, measured, error, verdict, reference, note)


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """The mean over runs and its standard error; NaN without runs."""
    import numpy as np

    if not values:
        return float("nan"), 0.0
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(error)


def late_slope(
    grid: np.ndarray, values: np.ndarray, *, decades: float = 1.0
) -> tuple[float, float]:
    """The slope of the last decades in logarithms and its error; NaN for a run that ended early."""
    import numpy as np

    from twolayer.theory.local_convergence import fit_power

    if not (np.all(np.isfinite(values)) and len(values)):
        return float("nan"), 0.0
    fit = fit_power(grid, values, decades=decades)
    return fit.slope, fit.error
