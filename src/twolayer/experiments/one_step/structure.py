"""Errors against the structure of the data: Figure 2 of demir2025asymptotic."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twolayer.experiments.one_step.setting import (
    Problem,
    Setting,
    mixture_problem,
    spiked_problem,
    unit_vectors,
)
from twolayer.experiments.one_step.sweeps import Curve, Point, evenly, sweep
from twolayer.experiments.one_step.verdicts import lower
from twolayer.experiments.options import activations_of, at_least, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.outcomes import Finding

_TOLERANCE = 0.06  # of the error: what finite size adds
_FIGURE = "demir2025asymptotic, Figure 2"


@experiment(
    paper="one_step",
    statement="Spikes of the two components that point along one line lower the error, and the "
    "Hermite model follows.",
    reference="demir2025asymptotic, Theorem 4 and Figure 2",
    quick={
        "points": 3, "dim": 256, "num_samples": 256, "width": 256, "activations": "relu,tanh",
        "trials": 8,
    },
)  # fmt: skip
def spike_alignment(
    *,
    points: int = 20,
    activations: str = "relu,tanh,sigmoid",
    alpha: float = 0.5,
    beta: float = 0.74,
    degree: int = 3,
    dim: int = 1000,
    num_samples: int = 1000,
    width: int = 1000,
    ridge: float = 1e-4,
    trials: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Generalization error against the inner product of the two components' spikes.

    Labels are ``ReLU(xi . x)`` with a random direction xi; each trial draws its own.

    Parameters
    ----------
    points
        Equidistant inner products from -1 to 1.
    activations
        Names separated by commas.
    alpha
        Weighting: the share of the exponent in the learning rate.
    beta
        Strength: ``learning rate * |covariance| ~ dim^beta``.
    degree
        Degree of the Hermite model.
    dim
        Input dimension.
    num_samples
        Samples for the step, and again for the read-out.
    width
        Neurons.
    ridge
        Penalty of the read-out.
    trials
        Problems and networks at each point.
    seed
        Seed of all randomness.
    """
    at_least(3, points=points)
    at_least(1, width=width)
    at_least(0, degree=degree)
    setting = Setting(dim, num_samples, alpha, beta, ridge, trials, seed)
    setting.check()
    grid = [
        Point(overlap, partial(mixture_problem, setting, overlap=overlap), setting, width, degree)
        for overlap in evenly(-1, 1, points)
    ]
    names = activations_of(activations)
    found = sweep(grid, "inner product of the spikes", names, progress, redrawn=True)
    middle = points // 2  # 0 itself if the number of points is odd
    findings = []
    for curve in found:
        findings.append(_agreement(curve, degree, "alignment"))
        statement = "Spikes along one line lower the error of a "
        statement += f"{curve.activation} network."
        note = f"at 1, where the data have the law of -1, against {grid[middle].value:.3g}"
        errors = curve.errors
        name = f"aligned, {curve.activation}"
        findings.append(lower(name, statement, _FIGURE, errors[:, -1], errors[:, middle], note))
    return _result(found, findings)


@experiment(
    paper="one_step",
    statement="Telling two components apart is hardest where neither is rare, and the Hermite "
    "model follows.",
    reference="demir2025asymptotic, Theorem 4 and Figure 2",
    quick={
        "points": 3, "dim": 256, "num_samples": 256, "width": 256, "activations": "relu,tanh",
        "trials": 8,
    },
)  # fmt: skip
def mixture_proportion(
    *,
    points: int = 10,
    activations: str = "relu,tanh,sigmoid",
    alpha: float = 0.5,
    beta: float = 0.74,
    degree: int = 3,
    dim: int = 1000,
    num_samples: int = 1000,
    width: int = 1000,
    ridge: float = 1e-4,
    trials: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Generalization error against the first component's share; labels name the component.

    Parameters
    ----------
    points
        Equidistant shares from 0 to 1.
    activations
        Names separated by commas.
    alpha
        Weighting: the share of the exponent in the learning rate.
    beta
        Strength: ``learning rate * |covariance| ~ dim^beta``.
    degree
        Degree of the Hermite model.
    dim
        Input dimension.
    num_samples
        Samples for the step, and again for the read-out.
    width
        Neurons.
    ridge
        Penalty of the read-out.
    trials
        Networks at each point.
    seed
        Seed of all randomness.
    """
    at_least(3, points=points)
    at_least(1, width=width)
    at_least(0, degree=degree)
    setting = Setting(dim, num_samples, alpha, beta, ridge, trials, seed)
    setting.check()
    problem = partial(mixture_problem, setting, classes=True)
    grid = [
        Point(share, partial(problem, proportion=share), setting, width, degree)
        for share in evenly(0, 1, points)
    ]
    names = activations_of(activations)
    found = sweep(grid, "share of the first component", names, progress)
    findings = []
    for curve in found:
        findings.append(_agreement(curve, degree, "share"))
        findings += _hardest_in_the_middle(curve)
    return _result(found, findings)


def _hardest_in_the_middle(curve: Curve) -> list[Finding]:
    """Equal shares against one component alone; an odd network fits no constant label."""
    import numpy as np

    from twolayer.activations.facts import facts_of
    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.outcomes import Finding

    middle, errors = len(curve.trajectory.time) // 2, curve.errors
    findings = []
    for end, share in ((0, "0"), (-1, "1")):
        name = f"share {share}, {curve.activation}"
        if facts_of(curve.activation).even_degree >= 0:
            statement = f"A {curve.activation} network errs less where one component is alone "
            statement += "than where both have equal shares."
            note = f"against the share {curve.trajectory.time[middle]:.3g}"
            findings.append(
                lower(name, statement, _FIGURE, errors[:, end], errors[:, middle], note)
            )
            continue
        statement = "An odd network cannot fit the label of a component that is alone: half the "
        statement += "mean square of 1 - f is half of 1 + E f^2."
        mean, error = (float(part) for part in mean_and_error(errors[:, end]))
        short = 0.5 - mean > student_factor(errors.shape[0]) * error
        verdict = "disagrees" if short or not np.isfinite(mean) else "agrees"
        findings.append(
            Finding(name, statement, "at least 0.5", mean, error, verdict, "derived here")
        )
    return findings


@experiment(
    paper="one_step",
    statement="More spikes of random strengths lower the error, and the Hermite model follows.",
    reference="demir2025asymptotic, Theorem 4 and Figure 2",
    quick={
        "ranks": "1,10", "dim": 256, "num_samples": 256, "width": 256, "activations": "relu",
        "trials": 16,
    },
)  # fmt: skip
def spike_rank(
    *,
    ranks: str = "1,2,3,4,5,6,7,8,9,10",
    activations: str = "relu,tanh,sigmoid",
    alpha: float = 0.5,
    beta: float = 0.74,
    degree: int = 3,
    dim: int = 1000,
    num_samples: int = 1000,
    width: int = 1000,
    ridge: float = 1e-4,
    trials: int = 100,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Generalization error against the number of spikes in each component.

    Strengths are ``dim^(beta (1 - alpha)) U[0, 1]``, the second component's scaled to the first
    one's trace; each trial draws its own. Labels are ``ReLU(xi . x)`` with a random direction xi.

    Parameters
    ----------
    ranks
        Spikes in each component, increasing.
    activations
        Names separated by commas.
    alpha
        Weighting: the share of the exponent in the learning rate.
    beta
        Strength: ``learning rate * |covariance| ~ dim^beta``.
    degree
        Degree of the Hermite model.
    dim
        Input dimension.
    num_samples
        Samples for the step, and again for the read-out.
    width
        Neurons.
    ridge
        Penalty of the read-out.
    trials
        Problems and networks at each point.
    seed
        Seed of all randomness.
    """
    at_least(1, width=width)
    at_least(0, degree=degree)
    setting = Setting(dim, num_samples, alpha, beta, ridge, trials, seed)
    setting.check()
    counts = whole_numbers("ranks", ranks)
    if counts != sorted(set(counts)) or len(counts) < 2 or counts[-1] > dim:
        message = f"Expected ranks as at least two increasing numbers up to the dimension {dim}. "
        message += f"Received: {ranks!r}."
        raise ValueError(message)
    names = activations_of(activations)
    grid = [
        Point(rank, partial(rank_problem, setting, rank, counts[-1]), setting, width, degree)
        for rank in counts
    ]
    found = sweep(grid, "spikes in each component", names, progress, redrawn=True)
    findings = []
    for curve in found:
        findings.append(_agreement(curve, degree, "rank"))
        statement = f"The error of a {curve.activation} network is lower with {counts[-1]} spikes "
        statement += f"of random strengths in each component than with {counts[0]}."
        name = f"more spikes, {curve.activation}"
        errors = curve.errors
        findings.append(lower(name, statement, _FIGURE, errors[:, -1], errors[:, 0], ""))
    return _result(found, findings)


def rank_problem(setting: Setting, rank: int, highest: int, draw: int) -> Problem:
    """Components with `rank` spikes each, strengths random, traces equal.

    Parameters
    ----------
    setting
        Dimension, strength, seed.
    rank
        The number of spikes.
    highest
        The largest rank of the sweep: directions beyond `rank` get strength 0, so that all ranks
        share compiled programs and, within a draw, directions and strengths.
    draw
        Which draw.
    """
    import numpy as np

    generator = np.random.default_rng([setting.seed, draw])
    direction = unit_vectors(generator, 1, setting.dim)[0]
    first, second = (_orthonormal(generator, highest, setting.dim) for _ in range(2))
    strengths = setting.strength * generator.uniform(size=(2, highest))
    strengths[:, rank:] = 0
    strengths[1] *= strengths[0].sum() / strengths[1].sum()
    return spiked_problem(first, second, strengths, direction, proportion=0.5, classes=False)


def _orthonormal(generator: np.random.Generator, count: int, dim: int) -> np.ndarray:
    import numpy as np

    return np.linalg.qr(generator.standard_normal((dim, count)))[0].T


def _agreement(curve: Curve, degree: int, parameter: str) -> Finding:
    statement = f"The generalization error of a {curve.activation} network after one step is that "
    statement += f"of its Hermite model of degree {degree} at every {parameter}."
    return curve.agreement(statement, _TOLERANCE)


def _result(found: list[Curve], findings: list[Finding]) -> Result:
    return Result(
        quantity="generalization error",
        predictions=tuple(curve.prediction for curve in found),
        trajectories=tuple(curve.trajectory for curve in found),
        findings=tuple(findings),
    )
