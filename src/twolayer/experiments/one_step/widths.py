"""Errors against the width: Figures 1a and 6 of demir2025asymptotic."""

from __future__ import annotations

from twolayer.experiments.one_step.setting import (
    NETWORK_GRID,
    Setting,
    agreement,
    curves,
    mixture_problem,
    model_errors,
    stage,
)
from twolayer.experiments.options import activations_of, at_least, numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.results import Result

_RATIOS = "0.1,0.3,0.4,0.5,0.7,0.9,1,1.1,1.5,2,3,4,5"


def _run(
    of: str, ratios: str, activations: str, degree: int, setting: Setting, progress: Progress
) -> Result:
    """Network and Hermite model at every ratio of neurons to samples."""
    setting.check()
    at_least(0, degree=degree)
    grid = numbers("ratios", ratios, 1e-3, 100.0)
    names = activations_of(activations)
    problem = mixture_problem(setting)
    trajectories, predictions, findings = [], [], []
    for name in names:
        errors = []
        for j, ratio in enumerate(grid):
            hook = stage(progress, name, j, len(grid))
            width = max(1, round(ratio * setting.num_samples))
            errors.append(
                model_errors(problem, setting, name, width=width, degree=degree, progress=hook)
            )
        trajectory, prediction, gap = curves(grid, NETWORK_GRID, name, errors, of=of)
        trajectories.append(trajectory)
        predictions.append(prediction)
        statement = f"The {of} error of a {name} network after one step is that of its Hermite "
        statement += f"model of degree {degree} at every width."
        findings.append(agreement(f"{of}, {name}", statement, trajectory, prediction, gap, 0.06))
    return Result(
        quantity=f"{of} error",
        predictions=tuple(predictions),
        trajectories=tuple(trajectories),
        findings=tuple(findings),
    )


@experiment(
    paper="one_step",
    statement="At every width, the network after one gradient step generalizes like its Hermite "
    "model of finite degree.",
    reference="demir2025asymptotic, Theorem 4 and Figure 1a",
    quick={
        "dim": 256,
        "num_samples": 256,
        "ratios": "1,3",
        "trials": 6,
        "activations": "relu,tanh",
    },
)
def hermite_model_widths(
    *,
    ratios: str = _RATIOS,
    activations: str = "relu,tanh,sigmoid",
    alpha: float = 0.5,
    beta: float = 0.74,
    degree: int = 3,
    dim: int = 1000,
    num_samples: int = 1000,
    ridge: float = 1e-4,
    trials: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Generalization error of network and Hermite model against neurons for each sample.

    Labels are ``ReLU(xi . x)`` with a random direction xi; two components, one spike each.

    Parameters
    ----------
    ratios
        Neurons for each sample.
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
    ridge
        Penalty of the read-out.
    trials
        Networks at each point.
    seed
        Seed of all randomness.
    """
    setting = Setting(dim, num_samples, alpha, beta, ridge, trials, seed)
    return _run("generalization", ratios, activations, degree, setting, progress)


@experiment(
    paper="one_step",
    statement="At every width, the training error with its penalty is that of the Hermite model.",
    reference="demir2025asymptotic, Theorem 4 and Figure 6",
    quick={
        "dim": 256,
        "num_samples": 256,
        "ratios": "1,3",
        "trials": 6,
        "activations": "relu,tanh",
    },
)
def hermite_model_training(
    *,
    ratios: str = _RATIOS,
    activations: str = "relu,tanh,sigmoid",
    alpha: float = 0.5,
    beta: float = 0.74,
    degree: int = 3,
    dim: int = 1000,
    num_samples: int = 1000,
    ridge: float = 1e-4,
    trials: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Training error, penalty included, of network and Hermite model against the width.

    Parameters
    ----------
    ratios
        Neurons for each sample.
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
    ridge
        Penalty of the read-out.
    trials
        Networks at each point.
    seed
        Seed of all randomness.
    """
    setting = Setting(dim, num_samples, alpha, beta, ridge, trials, seed)
    return _run("training", ratios, activations, degree, setting, progress)
