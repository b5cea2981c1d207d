"""Gradient flow in overlaps against gradient flow of the weights, and what overlaps forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.experiments.options import at_least, positive
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.experiments.teacher_student.committee import integrals_and_pairs, renamed
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

_KNOWN = ("erf", "relu", "square", "abs")
_SOLVERS = 1e-6  # both sides integrate to a relative error of 1e-8 or better a step
_ROUNDING = 2.220446049250313e-16


@experiment(
    paper="teacher_student",
    statement="Gradient flow closes in the overlaps of student and teacher, in any dimension; "
    "but overlaps forget angles below the square root of rounding.",
    reference="derived here",
    quick={"activations": "relu", "dim": 20},
)
def overlap_flow(
    *,
    activations: str = "erf,relu,abs",
    dim: int = 50,
    students: int = 3,
    horizon: float = 10.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """The risk of students in the full space against that of their overlaps alone.

    Parameters
    ----------
    activations
        Among erf, relu, square and abs, separated by commas.
    dim
        Input dimension of the weights; the overlaps do not know it.
    students
        Student neurons; the teacher has two, at an angle.
    horizon
        Training time, in units of the plain gradient.
    seed
        Seed of the weights.
    """
    names = [part.strip() for part in activations.split(",")]
    if not set(names) <= set(_KNOWN) or len(set(names)) < len(names):
        message = f"Expected activations among {', '.join(_KNOWN)}, each once. "
        message += f"Received: {activations!r}."
        raise ValueError(message)
    at_least(1, students=students)
    at_least(students + 2, dim=dim)
    at_least(0, seed=seed)
    positive(horizon=horizon)

    import numpy as np

    from twolayer.dynamics.teacher_student import flow
    from twolayer.teacher_student import TeacherStudent
    from twolayer.theory.order_parameters import Committee, committee_of, overlap_gradient_flow

    rng = np.random.default_rng(seed)
    teacher = rng.normal(size=(2, dim))
    teacher[1] += 0.8 * teacher[0]
    teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
    W = rng.normal(size=(students, dim)) / np.sqrt(dim)
    start = committee_of(W, teacher)
    apart = Committee(start.Q, start.R, np.eye(2))  # the control forgets the teachers' angle
    times = horizon * np.arange(9) / 8
    findings, predictions, trajectories = [], [], []
    for k, name in enumerate(names):
        progress("activations", k, len(names))
        integrals, pairs = integrals_and_pairs(name)
        solved = overlap_gradient_flow(start, integrals, times).risk
        path = flow(TeacherStudent(teacher, pairs=pairs), W, times=times)
        control = overlap_gradient_flow(apart, integrals, times).risk
        findings += _judged(name, solved, path.losses, control)
        predictions.append(renamed(solved, f"risk, {name}"))
        trajectories.append(
            Trajectory(
                f"risk, {name}", times, path.losses[None],
                ("finished" if path.finished else "diverged",),
            )
        )  # fmt: skip
    findings.append(_forgotten(rng, dim))
    return Result(
        findings=tuple(findings), predictions=tuple(predictions), trajectories=tuple(trajectories)
    )


def _judged(
    name: str, solved: Prediction, losses: np.ndarray, control: Prediction
) -> tuple[Finding, Finding]:
    """Overlaps against weights, and overlaps with a wrong teacher against weights."""
    import numpy as np

    size = float(np.max(losses))
    gap, off = (float(np.max(np.abs(p.value - losses))) / size for p in (solved, control))
    return (
        Finding(
            name,
            f"The risk of {name} neurons along gradient flow follows from their overlaps.",
            0.0,
            gap,
            _SOLVERS,
            "agrees" if gap <= _SOLVERS else "disagrees",
            "derived here",
            "largest gap over the initial risk; the error is that of both integrations",
        ),
        Finding(
            f"{name}, other teacher",
            f"Overlaps that forget the angle of the teachers miss the risk of {name} neurons.",
            "apart",
            "apart" if off > 100 * _SOLVERS else "not apart",
            _SOLVERS,
            "agrees" if off > 100 * _SOLVERS else "disagrees",
            "derived here",
            f"largest gap over the initial risk: {off:.2g}",
        ),
    )


def _forgotten(rng: np.random.Generator, dim: int) -> Finding:
    """The angle at which overlaps and weights part, over random pairs of neurons."""
    import numpy as np

    from twolayer.numerics.angles import angle

    angles = 10.0 ** -np.arange(3.0, 11.0, 0.25)
    lost = np.zeros(len(angles))
    trials = 24
    for _ in range(trials):
        frame = np.linalg.qr(rng.normal(size=(dim, 2)))[0].T
        for k, delta in enumerate(angles):
            u, v = frame[0], np.cos(delta) * frame[0] + np.sin(delta) * frame[1]
            told = np.arctan2(np.sqrt(max((u @ u) * (v @ v) - (u @ v) ** 2, 0.0)), u @ v)
            exact = float(angle(u[None], v[None], np)[0])
            lost[k] += abs(told - exact) > 0.5 * exact
    measured = float(angles[np.argmax(lost > trials / 2)])
    predicted = float(np.sqrt(_ROUNDING))
    good = predicted / 10 <= measured <= 10 * predicted
    return Finding(
        "resolution",
        "Overlaps lose the angle of two neurons below the square root of rounding, where the "
        "weights still hold it.",
        predicted,
        measured,
        predicted,
        "agrees" if good else "disagrees",
        "derived here",
        f"largest angle at which most of {trials} pairs are off by half; to be met within a "
        "decade, since rounding errors add up over the dimension",
    )
