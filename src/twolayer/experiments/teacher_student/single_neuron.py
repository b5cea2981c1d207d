"""ReLU students of one ReLU neuron: one converges exponentially, more like t^-3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.experiments.options import Stage, at_least, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.experiments.teacher_student.late import judged, mean_and_error, padded_flow
from twolayer.outcomes import Finding, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

_SLOPE = 0.15  # a decade of time is no infinite time


@experiment(
    paper="teacher_student",
    statement="Students of a single ReLU neuron converge like t^-3 as soon as there are two, "
    "exponentially if there is one or all are equal.",
    reference="xu2023over, Theorems 7, 9 and 14",
    quick={"students": "1,2,5", "dim": 4, "seeds": 2},
)
def single_neuron(
    *,
    students: str = "1,2,5,10,20",
    dim: int = 10,
    initial_scale: float = 0.01,
    angle: float = 0.5,
    horizon: float = 1e5,
    seeds: int = 3,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Gradient flow of ReLU students from small random starts, and from special ones.

    Parameters
    ----------
    students
        How many students try to imitate the one neuron.
    dim
        Input dimension.
    initial_scale
        Standard deviation of every initial weight; the teacher has length 1. It must be small:
        where the students are too long together, some shrink to zero, where the flow ends.
    angle
        Initial angle to the teacher of the two students of the symmetric start.
    horizon
        How long to train, in units of gradient-flow time.
    seeds
        Random starts for each number of students; they give the error bars.
    seed
        Seed of all randomness.
    """
    numbers = whole_numbers("students", students)
    at_least(2, dim=dim, seeds=seeds)
    at_least(0, seed=seed)
    positive(initial_scale=initial_scale, angle=angle, horizon=horizon)
    if not (angle < 1.5 and horizon >= 1000):
        message = "Expected an angle below 1.5 and a horizon of at least 1000. Received: "
        message += f"{angle!r} and {horizon!r}."
        raise ValueError(message)

    import numpy as np

    rng = np.random.default_rng(seed)
    v = np.eye(dim)[0]
    times = np.concatenate([[0.0], np.geomspace(0.1, horizon, 48)])
    width = max(*numbers, 2)
    runs = {}
    for n in numbers:
        stage, paths = Stage(progress, f"{n} students"), []
        for k in range(seeds):
            stage(k, seeds)
            paths.append(_run(v, initial_scale * rng.normal(size=(n, dim)), times, width))
        runs[n] = paths
    losses = {n: np.stack([loss for _, loss in paths]) for n, paths in runs.items()}
    findings = [_rate_finding(n, times, value) for n, value in losses.items()]
    if any(n > 1 for n in numbers):
        findings += _theorem_findings(runs, v)
    equal = np.repeat(0.3 * (v + np.eye(dim)[1])[None], 2, axis=0)
    findings.append(_equal_finding(equal, v, times, _run(v, equal, times, width)[1]))
    pair = np.zeros((2, dim))
    pair[:, 0], pair[:, 1] = 0.5, 0.5 * np.tan(angle) * np.array([1.0, -1.0])
    curve, symmetric = _pair_findings(times, angle, _run(v, pair, times, width)[1])
    trajectories = tuple(
        Trajectory(
            f"loss, {n} students",
            times,
            value,
            tuple("finished" if np.all(np.isfinite(row)) else "diverged" for row in value),
            details={"dim": dim},
        )
        for n, value in losses.items()
    )
    return Result(predictions=(curve,), trajectories=trajectories, findings=(*findings, *symmetric))


def _run(v: np.ndarray, W: np.ndarray, times: np.ndarray, width: int):
    """The students along gradient flow, and their losses without cancellation."""
    import numpy as np

    from twolayer.theory.local_convergence import rectifier_loss

    path = padded_flow(v[None], W, times, width=width, kind="relu", rtol=1e-8)
    if not path.finished:
        return path.W, np.full(times.shape, np.nan)
    return path.W, np.array([rectifier_loss(w, v) for w in path.W])


def _rate_finding(n: int, times: np.ndarray, losses: np.ndarray) -> Finding:
    import numpy as np

    from twolayer.theory.local_convergence import fit_power

    if n == 1:
        rates = [_exponential(times, value) for value in losses]
        return judged(
            "rate, one student",
            "The loss of one student falls like exp(-t).",
            (1.0, *mean_and_error(rates)),
            "derived here: the Hessian at the teacher is I / 2",
            "negative control of the slopes; 2% is allowed",
            allowed=0.02,
        )
    finished = losses[np.all(np.isfinite(losses), axis=1)]
    fits = [fit_power(times[1:], value[1:]) for value in finished]
    slope, error = mean_and_error([fit.slope for fit in fits])
    late = float(np.mean(finished[:, -1]) * times[-1] ** 3) if len(finished) else float("nan")
    return judged(
        f"slope, {n} students",
        f"The loss of {n} students falls like t^-3.",
        (-3.0, slope, float(np.hypot(error, np.mean([f.error for f in fits]) if fits else 0.0))),
        "xu2023over, Theorems 9 and 14",
        f"last decade of time; L t^3 is {late:.3g} at its end; {len(finished)} of {len(losses)} "
        "runs, the rest ended where a student had shrunk to zero",
        allowed=_SLOPE,
    )


def _exponential(times: np.ndarray, losses: np.ndarray) -> float:
    """The rate between 1e-4 and 1e-12 of the first loss."""
    import numpy as np

    kept = (losses < 1e-4 * losses[0]) & (losses > 1e-12 * losses[0])
    if np.sum(kept) < 2:
        return float("nan")
    return -float(np.polyfit(times[kept], np.log(losses[kept]), 1)[0])


def _theorem_findings(runs: dict, v: np.ndarray) -> list[Finding]:
    """Theorem 7 along the late runs, and the assumption of Theorem 14 at their starts."""
    import numpy as np

    from twolayer.theory.local_convergence import (
        fit_power,
        rectifier_gradient,
        rectifier_gradient_ratio,
        slow_start,
        transverse_spread,
    )

    ratios, exponents, growth, starts = [], [], [], []
    for n, paths in runs.items():
        if n == 1:
            continue
        for W, losses in paths:
            starts.append(slow_start(W[0], v).holds)
            # further down the gradient is that of the integration's errors
            late = np.nonzero((losses < 1e-5) & (losses > 1e-12))[0]
            if len(late) < 10:
                continue
            slopes = np.array([np.linalg.norm(rectifier_gradient(W[k], v)) for k in late])
            exponents.append(-fit_power(1 / losses[late], slopes, decades=4).slope)
            ratios += [rectifier_gradient_ratio(W[k], v)[0] for k in late]
            spread = [transverse_spread(w, v) for w in W[-10:]]
            relative = spread / losses[-10:] ** (1 / 3)
            growth.append(relative[-1] / relative[0])
    return [
        judged(
            "gradient exponent",
            "The gradient is of order L^(2/3) along every run.",
            (2 / 3, *mean_and_error(exponents)),
            "xu2023over, Theorem 7",
            f"|grad L| n^(2/3) |v|^(1/3) / L^(2/3) lies in {min(ratios, default=0):.2f} ... "
            f"{max(ratios, default=0):.2f}; the theorem bounds it below by a constant it hides",
            allowed=0.02,
        ),
        judged(
            "loss and transverse spread",
            "At late times the loss is of the order of the cube of the spread Z.",
            (1.0, *mean_and_error(growth)),
            "xu2023over, the potential Z of Theorem 14",
            "by what factor Z / L^(1/3) changes over the last times; "
            f"all starts non-degenerate: {all(starts)}",
            allowed=0.1,
        ),
    ]


def _equal_finding(W: np.ndarray, v: np.ndarray, times: np.ndarray, losses: np.ndarray) -> Finding:
    """Equal students stay equal, and their sum is as fast as they are many."""
    from twolayer.theory.local_convergence import slow_start

    degenerate = slow_start(W, v)
    return judged(
        "rate, two equal students",
        "Equal students, a degenerate start, converge exponentially: like exp(-n t).",
        (float(len(W)), _exponential(times, losses), 0.0),
        "xu2023over, toy case 3; the rate derived here",
        f"negative control: the start counts as non-degenerate: {degenerate.holds}",
        allowed=0.02 * len(W),
    )


def _pair_findings(times: np.ndarray, angle: float, losses: np.ndarray):
    """Two symmetric students against their exact curve."""
    import numpy as np

    from twolayer.theory.local_convergence import fit_late_constant, rectifier_pair_flow

    exact, _ = rectifier_pair_flow(times, angle=angle)
    apart = float(np.max(np.abs(losses / exact.value - 1)))
    constant = np.pi**2 / 6
    late, error = fit_late_constant(times[1:], losses[1:], power=3)
    return exact, [
        judged(
            "curve, two symmetric students",
            "The loss of two symmetric students follows the exact curve of two numbers.",
            (0.0, apart, 0.0),
            "derived here",
            f"largest relative difference; the loss falls to {losses[-1]:.1e}",
            allowed=1e-3,
        ),
        judged(
            "constant, two symmetric students",
            "L t^3 of two symmetric students tends to pi^2 / 6.",
            (constant, late, error),
            "derived here, for toy case 1 of xu2023over",
            f"without a shift of time it is {losses[-1] * times[-1] ** 3:.5g} at the end",
            allowed=3e-3 * constant,
        ),
    ]
