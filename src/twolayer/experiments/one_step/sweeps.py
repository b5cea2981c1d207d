"""Sweeps of one parameter: errors of network and Hermite model at each of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twolayer.experiments.one_step.setting import (
    Problem,
    Setting,
    agreement,
    curves,
    model_errors,
    stage,
)
from twolayer.experiments.registry import Progress

if TYPE_CHECKING:
    import numpy as np

    from twolayer.dynamics.one_step import Errors
    from twolayer.outcomes import Finding, Prediction, Trajectory


@dataclass(frozen=True)
class Point:
    """One value of the parameter that is swept, and the problem there.

    Attributes
    ----------
    value
        Its place on the figure's axis.
    problem
        ``problem(draw=...)`` makes the problem.
    setting
        Sizes and scalings.
    width
        Neurons.
    degree
        Degree of the Hermite model.
    """

    value: float
    problem: Callable[..., Problem]
    setting: Setting
    width: int
    degree: int


@dataclass(frozen=True)
class Curve:
    """What one activation's sweep found.

    Attributes
    ----------
    activation
        Its name.
    trajectory, prediction
        The network's errors ``[trials, points]`` and the Hermite model's.
    gap
        The network's errors minus the model's on the same data, ``[trials, points]``.
    """

    activation: str
    trajectory: Trajectory
    prediction: Prediction
    gap: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """The network's errors ``[trials, points]``."""
        return self.trajectory.value

    def agreement(
        self, statement: str, tolerance: float, where: Sequence[bool] | None = None
    ) -> Finding:
        """Whether network and model agree at every point, or at those that are marked."""
        import numpy as np

        from twolayer.outcomes import Finding

        name = f"Hermite model, {self.activation}"
        marked = np.ones(self.gap.shape[1], bool) if where is None else np.asarray(where)
        if not np.any(marked):
            nothing, reference = float("nan"), self.prediction.reference
            note = "no point is judged"
            return Finding(name, statement, nothing, nothing, nothing, "undecided", reference, note)
        trajectory = replace(
            self.trajectory, time=self.trajectory.time[marked], value=self.errors[:, marked]
        )
        prediction = replace(
            self.prediction,
            grid=self.prediction.grid[marked],
            value=self.prediction.value[marked],
        )
        found = agreement(
            name, statement, trajectory, prediction, self.gap[:, marked], tolerance
        )  # fmt: skip
        if np.all(marked):
            return found
        others = np.mean(self.gap, axis=0)[~marked] / np.mean(self.errors, axis=0)[~marked]
        largest = others[np.argmax(np.abs(others))]
        return replace(found, note=f"{found.note}; not judged elsewhere: {100 * largest:.0f} %")


def sweep(
    points: Sequence[Point],
    grid_name: str,
    activations: Sequence[str],
    progress: Progress,
    *,
    redrawn: bool = False,
    reference: str = "demir2025asymptotic, Theorem 4",
) -> list[Curve]:
    """Errors at every point, a curve for each activation.

    Parameters
    ----------
    points
        Where, in increasing order.
    grid_name
        What the points are values of.
    activations
        Names.
    progress
        Called after each trial, a stage for each activation.
    redrawn
        Whether each trial has a problem and data of its own.
    reference
        What promises that the model's errors are the network's.
    """
    found = []
    for name in activations:
        errors = []
        for k, point in enumerate(points):
            hook = stage(progress, name, k, len(points))
            errors.append(_errors(point, name, hook, redrawn=redrawn))
        grid = [point.value for point in points]
        found.append(Curve(name, *curves(grid, grid_name, name, errors, reference=reference)))
    return found


def _errors(
    point: Point, activation: str, progress: Callable[[float, float], object], *, redrawn: bool
) -> tuple[Errors, Errors]:
    if not redrawn:
        problem = point.problem(draw=0)
        network, model = model_errors(
            problem, point.setting, activation, width=point.width, degree=point.degree,
            progress=progress,
        )  # fmt: skip
        return network, model
    one, rows = replace(point.setting, trials=1), []
    for draw in range(point.setting.trials):
        problem = point.problem(draw=draw)
        rows.append(
            model_errors(
                problem, one, activation, width=point.width, degree=point.degree, draw=draw
            )
        )
        progress(draw + 1, point.setting.trials)
    network, model = (joined(parts) for parts in zip(*rows, strict=True))
    return network, model


def joined(parts: Sequence[Errors]) -> Errors:
    """The trials of several runs as those of one."""
    import numpy as np

    return type(parts[0])(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def evenly(lowest: float, highest: float, points: int) -> list[float]:
    """So many equidistant values, both ends among them.

    Examples
    --------
    >>> evenly(-1, 1, 5)
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    step = (highest - lowest) / (points - 1)
    return [lowest + step * k for k in range(points - 1)] + [float(highest)]
