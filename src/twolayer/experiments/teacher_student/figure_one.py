"""Figure 1 of the paper: students in the plane on their way to three teachers."""

from __future__ import annotations

from typing import Any

from twolayer.experiments.options import at_least, positive
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Trajectory
from twolayer.results import Result

# The paper prints neither teachers nor scales: these are ours.
_TEACHER_ANGLES = (0.2, 1.1, 2.3)
_TIMES = 161
_FIRST = 1e-3
_FRAMES = 54
_RESOLVED = 1e-9  # losses below this are computed without cancellation
_DECADES = 1.0
_SETTLED = 0.05  # a slope whose error, drift included, is no larger has settled


@experiment(
    paper="teacher_student",
    statement="Students that start close to the teachers turn to them while the loss falls like "
    "t^-3; at every time their far mass is bounded by the loss.",
    reference="zhou2021local, Figure 1; the certificate and the exponent derived here",
    quick={"width": 12},
)
def figure_one(
    *,
    width: int = 20,
    horizon: float = 1e6,
    large: float = 0.6,
    small: float = 0.05,
    nearness: float = 0.2,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Gradient flow of students in the plane from three starts.

    Parameters
    ----------
    width
        Number of students; the teachers are three.
    horizon
        Time up to which the flow runs.
    large
        Standard deviation of the students' coordinates in the start of large scale.
    small
        The same in the start of small scale.
    nearness
        Standard deviation of the angle, in radians, between a student and its teacher in the
        start close to the teachers.
    seed
        Seed of the starts.

    Raises
    ------
    ValueError
        If an option is out of range.
    """
    at_least(3, width=width)
    at_least(0, seed=seed)
    positive(horizon=horizon, large=large, small=small, nearness=nearness)
    if horizon < 1:
        message = f"Expected a horizon of at least 1. Received: {horizon!r}."
        raise ValueError(message)

    import numpy as np

    from twolayer.dynamics.teacher_student import flow
    from twolayer.pair_kernels import abs_pairs
    from twolayer.teacher_student import TeacherStudent

    teacher = _directions(np.asarray(_TEACHER_ANGLES))
    problem = TeacherStudent(teacher, pairs=abs_pairs, student="norm")
    generator = np.random.default_rng(seed)
    near = np.asarray(_TEACHER_ANGLES)[np.arange(width) % 3]
    angles = near + nearness * generator.normal(size=width)
    starts = {
        "large scale": large * generator.normal(size=(width, 2)),
        "small scale": small * generator.normal(size=(width, 2)),
        "near the teachers": np.sqrt(3 / width) * _directions(angles),
    }
    times = np.concatenate([[0.0], np.geomspace(_FIRST, horizon, _TIMES)])
    findings: list[Finding] = []
    trajectories, paths = [], {}
    for k, (name, start) in enumerate(starts.items()):
        progress("flow", k, len(starts))
        path = flow(problem, start, times=times, solver="stabilised", rtol=1e-6)
        losses = _losses(path, teacher)
        status = "finished" if path.finished else "diverged"
        trajectories.append(Trajectory(name, times, losses[None], (status,)))
        findings += _findings(name, path, losses, teacher)
        paths[name] = path.W[:: max(1, _TIMES // _FRAMES)]
    progress("flow", len(starts), len(starts))
    details: dict[str, Any] = {"paths": paths, "teacher": teacher}
    return Result(
        quantity="loss", trajectories=tuple(trajectories), findings=tuple(findings), details=details
    )


def _directions(angles: Any) -> Any:
    import numpy as np

    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _losses(path: Any, teacher: Any) -> Any:
    """The losses, those close to zero by the residual's parts, which do not cancel."""
    import numpy as np

    from twolayer.theory.local_convergence import decompose_residual

    small = np.flatnonzero(path.losses < _RESOLVED)
    losses = path.losses.copy()
    losses[small] = [decompose_residual(path.W[k], teacher).loss for k in small]
    return losses


def _findings(name: str, path: Any, losses: Any, teacher: Any) -> list[Finding]:
    import numpy as np

    from twolayer.theory.local_convergence import far_mass_certificate, fit_power, match_neurons

    if not path.finished:
        note = "the flow left the finite numbers"
        return [Finding(f"flow, {name}", "The flow reaches the horizon.", "reached", "not",
                        0.0, "failed", "derived here", note)]  # fmt: skip
    bounds = [far_mass_certificate(W, teacher).loss_bound for W in path.W]
    share = float(np.max(np.asarray(bounds) / losses))
    matching = match_neurons(path.W[-1], teacher)
    found = [
        Finding(
            f"far mass, {name}",
            "The loss that the far mass costs at least never exceeds the loss.",
            1.0,
            share,
            1e-9,
            "agrees" if share <= 1 + 1e-9 else "disagrees",
            "derived here (zhou2021local, Section C.4.4)",
            f"an upper bound; at the end sum |w|^2 angle^2 = {matching.spread:.1e}",
        )
    ]
    # The start's far mass must be more than the end's loss allows: the bound can fail.
    excess = bounds[0] / losses[-1]
    found.append(
        Finding(
            f"control of far mass, {name}",
            "The start's far mass is more than the final loss allows.",
            "above 1",
            float(excess),
            0.0,
            "agrees" if excess > 1 else "undecided",
            "derived here",
            "" if excess > 1 else "the final loss is still too large for this control",
        )
    )
    fit = fit_power(path.times[1:], losses[1:], decades=_DECADES)
    late = fit.error < _SETTLED
    within = abs(fit.slope + 3) <= 0.15
    found.append(
        Finding(
            f"slope, {name}",
            "Over the last decade of time the loss falls like t^-3.",
            -3.0,
            fit.slope,
            fit.error,
            ("agrees" if within else "disagrees") if late else "undecided",
            "derived here (xu2023over for one ReLU teacher)",
            f"loss {losses[-1]:.1e} at the end" + ("" if late else ": the slope still moves"),
        )
    )
    return found
