"""The two initialisation algorithms: how close to the teacher they start, and where that leads."""

from __future__ import annotations

from typing import Any

from twolayer.experiments.options import at_least, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Verdict
from twolayer.results import Result

_TEACHER_ANGLES = (0.2, 1.1, 2.3)
_RATE = 0.1
_SMALL = 1e-6
_MOST_STEPS = 40_000
# In the plane a function of the fitted form has at most so many neurons of positive weight: the
# least-squares optimum keeps about two for each of the three teachers.
_KEPT = 16


@experiment(
    paper="teacher_student",
    statement="Random directions with the best non-negative weights start as close to the teacher "
    "as their nearest neurons allow, and gradient descent goes on from there.",
    reference="zhou2021local, Theorem 6, Lemma E.1",
    quick={"widths": "5,20,80", "runs": 8},
)
def random_start(
    *,
    widths: str = "5,10,20,40,80",
    runs: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Algorithm 1 in the plane, with three teachers.

    Parameters
    ----------
    widths
        Numbers of students.
    runs
        Starts of each width.
    seed
        Seed of the starts.

    Raises
    ------
    ValueError
        If an option is out of range.
    """
    sizes = whole_numbers("widths", widths)
    at_least(3, narrowest_width=min(sizes), runs=runs)
    at_least(0, seed=seed)

    import jax
    import numpy as np

    from twolayer.dynamics.teacher_student import descend, scaled_to_fit
    from twolayer.numerics.angles import angle, supplement
    from twolayer.pair_kernels import abs_pairs
    from twolayer.teacher_student import TeacherStudent

    turns = np.asarray(_TEACHER_ANGLES)
    teacher = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    problem = TeacherStudent(teacher, pairs=abs_pairs, student="norm")
    risk = jax.jit(jax.vmap(problem))
    generator = np.random.default_rng(seed)
    # Zero students change nothing and stay zero: only the others are kept, in one shape.
    starts = np.zeros((len(sizes), runs, _KEPT, 2))
    unfitted = np.zeros((len(sizes), runs, max(sizes), 2))
    nearest = np.zeros((len(sizes), runs))
    for k, size in enumerate(sizes):
        progress("starts", k, len(sizes))
        for run in range(runs):
            directions = generator.normal(size=(size, 2))
            lengths = np.linalg.norm(directions, axis=1, keepdims=True)
            unfitted[k, run, :size] = directions / lengths * np.sqrt(3 / size)
            start = scaled_to_fit(problem, directions)
            start = start[np.any(start != 0, axis=1)]
            if len(start) > _KEPT:
                message = f"Expected at most {_KEPT} students of positive weight. "
                message += f"Received: {len(start)}."
                raise ValueError(message)
            starts[k, run, : len(start)] = start
            apart = angle(teacher[:, None], directions[None])
            apart = np.minimum(apart, supplement(teacher[:, None], directions[None]))
            nearest[k, run] = np.sum(2 * np.sin(apart.min(axis=1) / 2)) ** 2 / 2
    losses = np.stack([np.asarray(risk(group)) for group in starts])
    control = np.stack([np.asarray(risk(group)) for group in unfitted])
    flat = starts.reshape(-1, _KEPT, 2)
    progress("descent", 0, 1)
    ended = descend(problem, flat, learning_rate=_RATE, gradient_norm=1e-5, max_steps=_MOST_STEPS)
    progress("descent", 1, 1)
    findings = [_covered(losses / nearest), *_falling(sizes, losses, control)]
    enough = np.sum(np.any(starts != 0, axis=3), axis=2) >= len(teacher)
    findings += _reached(sizes, enough, ended.losses.reshape(losses.shape) < _SMALL)
    return Result(findings=tuple(findings), details={"losses": losses, "bounds": nearest})


@experiment(
    paper="teacher_student",
    statement="The subspace of the teachers shows in the weighted second moment of samples, with "
    "an error of 1 / sqrt(samples); starts drawn in it beat random ones in high dimension.",
    reference="zhou2021local, Theorem 6, Lemmas E.2-E.3",
    quick={"runs": 8, "samples": "2000,32000"},
)
def subspace_start(
    *,
    dim: int = 12,
    width: int = 60,
    samples: str = "2000,8000,32000,128000",
    runs: int = 10,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Algorithm 2 against Algorithm 1, with three orthonormal teachers.

    Parameters
    ----------
    dim
        Input dimension.
    width
        Number of students.
    samples
        Numbers of samples from which the subspace is found.
    runs
        Starts for each number of samples.
    seed
        Seed of samples and starts.
    """
    sizes = whole_numbers("samples", samples)
    at_least(4, dim=dim)
    at_least(3, width=width, runs=runs)
    at_least(dim, fewest_samples=min(sizes))
    at_least(0, seed=seed)

    import jax
    import numpy as np

    from twolayer.dynamics.teacher_student import (
        random_initialisation,
        scaled_to_fit,
        teacher_subspace,
    )
    from twolayer.numerics.precision import in_float64
    from twolayer.pair_kernels import abs_pairs
    from twolayer.teacher_student import TeacherStudent

    problem = TeacherStudent(np.eye(3, dim), pairs=abs_pairs, student="norm")
    risk = in_float64(jax.jit(lambda W: problem(W)))
    generator = np.random.default_rng(seed)
    keys = jax.random.split(jax.random.key(seed), runs)
    sines, losses = np.zeros((len(sizes), runs)), np.zeros((len(sizes), runs))
    for k, size in enumerate(sizes):
        progress("subspaces", k, len(sizes))
        for run, key in enumerate(keys):
            basis = teacher_subspace(problem, size, key=key)
            # the sine of the largest angle between a teacher and the subspace found
            sines[k, run] = np.linalg.norm(np.eye(dim, 3) - basis @ basis[:3].T, 2)
            directions = generator.normal(size=(width, 3)) @ basis.T
            losses[k, run] = risk(scaled_to_fit(problem, directions))
    random = [float(risk(random_initialisation(problem, width, key=key))) for key in keys]
    progress("subspaces", len(sizes), len(sizes))
    findings = _rate(sizes, sines) + _better(losses[-1], np.asarray(random), sizes[-1])
    return Result(
        findings=tuple(findings), details={"losses": losses, "random": random, "sines": sines}
    )


def _rate(sizes: list[int], sines: Any) -> list[Finding]:
    """How the error of the subspace falls with the samples."""
    if len(sizes) < 2:
        return []
    slope, error, margin = _slope(sizes, sines)
    return [
        Finding(
            "subspace",
            "The sine of the angle between teachers and subspace falls like samples^-1/2.",
            -0.5,
            slope,
            error,
            _rate_verdict(slope, margin),
            "zhou2021local, Lemma E.3",
            "0.05 is allowed for the terms of higher order",
        )
    ]


def _rate_verdict(slope: float, margin: float) -> Verdict:
    if abs(slope + 0.5) > margin + 0.05:
        return "disagrees"
    return "agrees" if margin < 0.25 else "undecided"


def _better(inside: Any, outside: Any, size: int) -> list[Finding]:
    gain, error, margin = _gain(inside, outside)
    return [
        Finding(
            "subspace against random",
            f"With {size} samples the start in the subspace has the smaller loss.",
            "above 0",
            gain,
            error,
            "agrees" if gain > margin else "disagrees" if gain < 0 else "undecided",
            "zhou2021local, Theorem 6",
            "in powers of ten, over the same runs",
        )
    ]


def _gain(smaller: Any, larger: Any) -> tuple[float, float, float]:
    """Mean difference in powers of ten, its error and what it may be off by."""
    import numpy as np

    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error

    gain = mean_and_error(np.log10(larger) - np.log10(smaller))
    return float(gain.mean), float(gain.error), student_factor(len(smaller)) * float(gain.error)


def _slope(sizes: list[int], values: Any) -> tuple[float, float, float]:
    """Mean over runs of each run's slope in logarithms, its error and what it may be off by."""
    import numpy as np

    from twolayer.compare import student_factor

    x = np.log(np.asarray(sizes, float))
    x = x - x.mean()
    slopes = (x @ np.log(values)) / (x @ x)
    error = float(slopes.std(ddof=1) / np.sqrt(len(slopes)))
    return float(slopes.mean()), error, student_factor(len(slopes)) * error


def _covered(ratio: Any) -> Finding:
    import numpy as np

    worst = float(ratio.max())
    return Finding(
        "covering",
        "Every start's loss is at most (sum_i |w*_i| 2 sin(gamma_i / 2))^2 / 2, gamma_i being the "
        "angle from teacher i to the nearest student.",
        1.0,
        worst,
        1e-9,
        "agrees" if worst <= 1 + 1e-9 else "disagrees",
        "derived here: Lemma E.1 of zhou2021local with its constant",
        f"an upper bound; median of loss over bound {np.median(ratio):.2g}",
    )


def _falling(sizes: list[int], losses: Any, control: Any) -> list[Finding]:
    """The loss falls with the square of the covering angle, hence of 1 / width in the plane."""
    if len(sizes) < 2:
        return []
    slope, error, margin = _slope(sizes, losses)
    verdict = "agrees" if slope + margin < -1 else "disagrees" if slope - margin > -1 else None
    gain, gain_error, gain_margin = _gain(losses[-1], control[-1])
    return [
        Finding(
            "decay with width",
            "In the plane the loss of the start falls at least as fast as 1 / width.",
            -1.0,
            slope,
            error,
            verdict or "undecided",
            "zhou2021local, Theorem 6",
            "an upper bound of the slope; the covering angle itself suggests -2 up to logarithms",
        ),
        Finding(
            "control: equal weights",
            "The most students with equal weights along the same directions have a larger loss.",
            "above 1",
            gain,
            gain_error,
            "agrees" if gain - gain_margin > 1 else "undecided",
            "derived here",
            "in powers of ten, over the same runs: it is the fit that brings them close",
        ),
    ]


def _reached(sizes: list[int], enough: Any, reached: Any) -> list[Finding]:
    """Which runs reach zero loss: those whose start kept as many students as there are teachers."""
    findings = []
    for size, kept, arrived in zip(sizes, enough, reached, strict=True):
        exceptions = int((kept != arrived).sum())
        findings.append(
            Finding(
                f"descent, m = {size}",
                f"Descent reaches a loss of {_SMALL:g} from each start in which the fit kept at "
                "least as many students as there are teachers, and from no other.",
                float(kept.mean()),
                float(arrived.mean()),
                0.0,
                "agrees" if exceptions == 0 else "disagrees",
                "zhou2021local, Theorem 6",
                f"{len(kept)} runs, {exceptions} of them exceptions",
            )
        )
    return findings
