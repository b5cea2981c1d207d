"""Errors against weighting and strength: Figures 1b, 1c and 5 of demir2025asymptotic."""

from __future__ import annotations

from functools import partial

from twolayer.experiments.one_step.setting import Setting, mixture_problem
from twolayer.experiments.one_step.sweeps import Point, evenly, sweep
from twolayer.experiments.one_step.verdicts import falls, rises
from twolayer.experiments.options import activations_of, at_least
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.results import Result
from twolayer.theory.one_step.regimes import paper_degree

_TOLERANCE = 0.06  # of the error: what finite size adds


@experiment(
    paper="one_step",
    statement="However the strength is shared between data and step, the network generalizes "
    "like its Hermite model; the more of it the data have, the better.",
    reference="demir2025asymptotic, Theorem 4 and Figure 1b",
    quick={
        "points": 3, "dim": 256, "num_samples": 256, "width": 256, "activations": "relu,tanh",
        "trials": 6,
    },
)  # fmt: skip
def hermite_model_weighting(
    *,
    points: int = 20,
    activations: str = "relu,tanh,sigmoid",
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
    """Generalization error of network and Hermite model against the weighting alpha.

    Labels are ``ReLU(xi . x)`` with a random direction xi; two components, one spike each.

    Parameters
    ----------
    points
        Equidistant values of alpha from 0 to 1.
    activations
        Names separated by commas.
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
    at_least(2, points=points)
    at_least(1, width=width)
    at_least(0, degree=degree)
    grid = []
    for alpha in evenly(0, 1, points):
        setting = Setting(dim, num_samples, alpha, beta, ridge, trials, seed)
        setting.check()
        grid.append(Point(alpha, partial(mixture_problem, setting), setting, width, degree))
    names = activations_of(activations)
    found = sweep(grid, "weighting alpha", names, progress)
    findings = []
    for curve in found:
        statement = f"The generalization error of a {curve.activation} network after one step is "
        statement += f"that of its Hermite model of degree {degree} at every weighting."
        findings.append(curve.agreement(statement, _TOLERANCE))
        statement = f"At strength {beta:g}, the error of a {curve.activation} network falls as "
        statement += "weight moves from the step to the data."
        name, figure = f"weight on the data, {curve.activation}", "demir2025asymptotic, Figure 1b"
        findings.append(rises(name, statement, figure, curve.trajectory))
    return Result(
        quantity="generalization error",
        predictions=tuple(curve.prediction for curve in found),
        trajectories=tuple(curve.trajectory for curve in found),
        findings=tuple(findings),
    )


@experiment(
    paper="one_step",
    statement="At every strength the network generalizes like its Hermite model of the degree "
    "that the strength asks for; the stronger, the better.",
    reference="demir2025asymptotic, Theorem 4 and Figures 1c, 5a, 5b, 5c",
    quick={
        "points": 3, "highest_degree": 3, "dim": 256, "num_samples": 256, "width": 256,
        "activations": "relu,tanh", "trials": 6,
    },
)  # fmt: skip
def hermite_model_strength(
    *,
    points: int = 10,
    activations: str = "relu,tanh,sigmoid",
    alpha: float = 0.5,
    highest_degree: int = 4,
    dim: int = 1000,
    num_samples: int = 1000,
    width: int = 1000,
    ridge: float = 1e-4,
    trials: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Generalization error of network and Hermite model against the strength beta.

    Figure 1c (and 5b) has alpha 1/2, Figure 5a 0 and Figure 5c 1, where the data keep spikes of
    strength 1. Labels are ``ReLU(xi . x)`` with a random direction xi.

    Parameters
    ----------
    points
        Equidistant values of beta from 0 to 1.
    activations
        Names separated by commas.
    alpha
        Weighting: the share of the exponent in the learning rate.
    highest_degree
        The Hermite model has the degree of Theorem 4, but no more than this.
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
    at_least(2, points=points)
    at_least(1, width=width, highest_degree=highest_degree)
    grid, covered = [], []
    for beta in evenly(0, 1, points):
        setting = Setting(dim, num_samples, alpha, beta, ridge, trials, seed)
        setting.check()
        degree = limited_degree(beta, highest_degree)
        grid.append(Point(beta, partial(mixture_problem, setting), setting, width, degree))
        covered.append(degree == paper_degree(beta).degree)
    names = activations_of(activations)
    found = sweep(grid, "strength beta", names, progress)
    findings = []
    for curve in found:
        statement = f"The generalization error of a {curve.activation} network after one step is "
        statement += "that of its Hermite model of degree ceil(beta/(1 - beta)) <= "
        statement += f"{highest_degree} at every strength for which this is a degree."
        findings.append(curve.agreement(statement, _TOLERANCE, covered))
        statement = f"At weighting {alpha:g}, the error of a {curve.activation} network falls "
        statement += "with the strength."
        name, figure = f"strength, {curve.activation}", "demir2025asymptotic, Figures 1c and 5"
        findings.append(falls(name, statement, figure, curve.trajectory))
    return Result(
        quantity="generalization error",
        predictions=tuple(curve.prediction for curve in found),
        trajectories=tuple(curve.trajectory for curve in found),
        findings=tuple(findings),
    )


def limited_degree(beta: float, highest: int) -> int:
    """The degree of Theorem 4, ``ceil(beta / (1 - beta))`` and at least 1, but at most `highest`.

    Examples
    --------
    >>> [limited_degree(beta, 4) for beta in (0.0, 0.6, 0.74, 1.0)]
    [1, 2, 3, 4]
    """
    degree = paper_degree(beta).degree
    return highest if degree is None else min(highest, degree)
