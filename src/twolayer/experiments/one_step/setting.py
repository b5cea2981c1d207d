"""The learning problems of demir2025asymptotic, and errors of network and Hermite model on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twolayer.experiments.registry import Progress

if TYPE_CHECKING:
    import numpy as np

    from twolayer.dynamics.one_step import Errors
    from twolayer.outcomes import Finding, Prediction, Trajectory

NETWORK_GRID = "neurons for each sample"


@dataclass(frozen=True)
class Setting:
    """Sizes and scalings that the figures share.

    Attributes
    ----------
    dim, num_samples
        The paper's n and m.
    alpha, beta
        Weighting and strength: ``eta = n^(alpha beta)``, ``theta = n^(beta (1 - alpha))``.
    ridge
        The penalty of the read-out.
    trials
        Networks that are trained at each point.
    seed
        Seed of all randomness.
    """

    dim: int
    num_samples: int
    alpha: float
    beta: float
    ridge: float
    trials: int
    seed: int

    def check(self) -> None:
        """Raise unless every number is in its range, before anything heavy is loaded.

        Raises
        ------
        ValueError
            Naming the first that is not.
        """
        from twolayer.experiments.options import at_least, positive

        at_least(2, dim=self.dim, num_samples=self.num_samples, trials=self.trials)
        at_least(0, seed=self.seed)
        positive(ridge=self.ridge, learning_rate=self.learning_rate)

    @property
    def learning_rate(self) -> float:
        """The ``eta`` of the step on the first layer."""
        from twolayer.theory.one_step.regimes import learning_rate

        return learning_rate(self.dim, self.alpha, self.beta)

    @property
    def strength(self) -> float:
        """The ``theta`` of the data's spikes."""
        from twolayer.theory.one_step.regimes import data_strength

        return data_strength(self.dim, self.alpha, self.beta)


@dataclass(frozen=True)
class Problem:
    """A task with what the initialisation has to know of it.

    Attributes
    ----------
    task
        Draws labelled samples: a task of the library, or a pair of classes of images.
    trace
        The trace of each component's covariance.
    scale
        The ``b`` of the Hermite model: standard deviation of a neuron's input under the bulk of
        the data. By default the bulk is the identity part of the covariances.
    """

    task: Any
    trace: float
    scale: float | None = None


def mixture_problem(
    setting: Setting,
    *,
    aligned: bool = False,
    overlap: float | None = None,
    proportion: float = 0.5,
    classes: bool = False,
    draw: int = 0,
) -> Problem:
    """Two components with one spike each; labels by a ReLU of one direction, or by component.

    Parameters
    ----------
    setting
        Dimension, strength, seed.
    aligned
        Whether the labels' direction is that of the sum of the two spikes; else it is random.
    overlap
        The inner product of the two spikes; by default both are random.
    proportion
        The first component's share.
    classes
        Whether the labels are 1 and -1 for the components.
    draw
        Which draw of the random directions.
    """
    import numpy as np

    generator = np.random.default_rng([setting.seed, draw])
    first, second, direction = unit_vectors(generator, 3, setting.dim)
    if overlap is not None:
        second = second - (second @ first) * first
        second /= np.linalg.norm(second)
        second = overlap * first + np.sqrt(max(1 - overlap**2, 0.0)) * second
    if aligned:
        direction = (first + second) / np.linalg.norm(first + second)
    strengths = np.full((2, 1), setting.strength)
    return spiked_problem(first[None], second[None], strengths, direction, proportion, classes)


def spiked_problem(
    first: np.ndarray,
    second: np.ndarray,
    strengths: np.ndarray,
    direction: np.ndarray,
    proportion: float,
    classes: bool,
) -> Problem:
    """The problem with these spikes; `direction` is a unit vector, scaled by assumption A.5."""
    import numpy as np

    from twolayer.activations import relu
    from twolayer.inputs import spiked_mixture
    from twolayer.targets import SingleIndex
    from twolayer.tasks import Classification, Regression

    inputs = spiked_mixture(first, second, strengths, proportion=proportion)  # type: ignore[arg-type]
    trace = float(np.asarray(inputs.traces)[0])
    if classes:
        return Problem(Classification(inputs, np.array([1.0, -1.0])), trace)  # type: ignore[arg-type]
    # |Sigma| of the mixture, from its few spikes alone.
    spikes = np.concatenate([
        np.sqrt(proportion * strengths[0])[:, None] * first,
        np.sqrt((1 - proportion) * strengths[1])[:, None] * second,
    ])
    norm = 1 + np.linalg.eigvalsh(spikes @ spikes.T)[-1]
    return Problem(Regression(inputs, SingleIndex(direction / np.sqrt(norm), relu)), trace)


def unit_vectors(generator: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """Independent uniform directions, one a row."""
    import numpy as np

    vectors = generator.standard_normal((count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def model_errors(
    problem: Problem,
    setting: Setting,
    activation: str,
    *,
    width: int,
    degree: int | tuple[int, ...] | None,
    draw: int = 0,
    same_data: bool = True,
    progress: Callable[[float, float], object] | None = None,
) -> tuple[Errors, ...]:
    """Errors of the network after one step, then of its Hermite model of each degree given.

    Single precision: its rounding is far below the spread of the trials. The same randomness
    for every problem, width and activation: differences between them are differences of pairs.

    Parameters
    ----------
    problem, setting, activation, width
        What is trained on what.
    degree
        Degree of the Hermite model, or several, or ``None`` for the network alone.
    draw
        Which draw of networks and data.
    same_data
        Whether all trials see the same samples.
    progress
        Called after each trial.
    """
    import jax
    import numpy as np

    from twolayer.activations import activation_of
    from twolayer.activations.hermite_equivalent import HermiteEquivalent
    from twolayer.dynamics import in_single_precision
    from twolayer.dynamics.one_step import OneStep, train_one_step
    from twolayer.dynamics.readout import Ridge
    from twolayer.networks import one_step_network

    function = activation_of(activation)
    scale = problem.scale or float(np.sqrt(setting.dim / problem.trace))
    degrees = () if degree is None else (degree,) if isinstance(degree, int) else degree
    equivalents = [HermiteEquivalent.of(function, part, scale=scale) for part in degrees]
    initial = partial(one_step_network, width, setting.dim, function, trace=problem.trace)
    return train_one_step(
        OneStep(
            setting.learning_rate,  # type: ignore[arg-type]
            Ridge(setting.ridge),  # type: ignore[arg-type]
            setting.num_samples,
            5 * setting.num_samples,
        ),
        in_single_precision(initial),
        problem.task,
        equivalents=equivalents,
        trials=setting.trials,
        key=jax.random.fold_in(jax.random.key(setting.seed), draw),
        same_data=same_data,
        progress=progress,
    )


def curves(
    grid: Sequence[float],
    grid_name: str,
    activation: str,
    errors: Sequence[tuple[Errors, Errors]],
    *,
    of: str = "generalization",
    reference: str = "demir2025asymptotic, Theorem 4",
) -> tuple[Trajectory, Prediction, np.ndarray]:
    """The network's curve, the Hermite model's, and their paired gap ``[trials, grid]``."""
    import numpy as np

    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.outcomes import Prediction

    network = np.stack([getattr(pair[0], of) for pair in errors], axis=1)
    model = np.stack([getattr(pair[1], of) for pair in errors], axis=1)
    mean, error = mean_and_error(model)
    return (
        measured(activation, grid, network, grid_name),
        Prediction(
            activation, np.asarray(grid, np.float64), mean, "asymptotic", reference,
            grid_name=grid_name, error=error,
        ),
        network - model,
    )  # fmt: skip


def measured(
    name: str, grid: Sequence[float], values: np.ndarray, grid_name: str = ""
) -> Trajectory:
    """A curve of ``values[trials, points]``; a trial that is not finite throughout diverged."""
    import numpy as np

    from twolayer.outcomes import Status, Trajectory

    status: tuple[Status, ...] = tuple(
        "finished" if good else "diverged" for good in np.all(np.isfinite(values), axis=1).tolist()
    )
    return Trajectory(name, np.asarray(grid, np.float64), values, status, grid_name=grid_name)


def agreement(
    name: str,
    statement: str,
    trajectory: Trajectory,
    prediction: Prediction,
    gap: np.ndarray,
    tolerance: float,
) -> Finding:
    """Whether network and model agree at every point, by their gap on the same data.

    The gap may be `tolerance` of the error, which finite size adds, plus its own margin of three
    standard errors; where that margin exceeds half of the error nothing can be told.
    """
    import numpy as np

    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.outcomes import Finding

    if not np.all(np.isfinite(gap)):
        return Finding(
            name, statement, float("nan"), float("nan"), float("nan"), "failed",
            prediction.reference, "a trial diverged",
        )  # fmt: skip
    mean, error = mean_and_error(gap)
    size = np.mean(trajectory.value, axis=0)
    margin = student_factor(gap.shape[0]) * error
    worst = int(np.argmax((np.abs(mean) - margin) / size))
    verdict = "agrees"
    if abs(mean[worst]) > margin[worst] + tolerance * size[worst]:
        verdict = "disagrees"
    elif np.any(margin > size / 2):
        verdict = "undecided"
    place = f"{trajectory.grid_name} {trajectory.time[worst]:.3g}"
    return Finding(
        name, statement, float(prediction.value[worst]), float(size[worst]), float(error[worst]),
        verdict, prediction.reference,
        f"largest gap, {100 * mean[worst] / size[worst]:.1f} % at {place}; {tolerance:.0%} allowed",
    )  # fmt: skip


def stage(progress: Progress, name: str, done: int, total: int) -> Callable[[float, float], object]:
    """A hook for one of `total` equal parts of a stage, of which `done` are done."""

    def hook(part: float, whole: float) -> None:
        progress(name, int(1000 * (done + part / max(whole, 1))), 1000 * total)

    return hook
