"""One step on isotropic inputs with single-index labels: errors measured, and held against theory.

The scalings are those of ba2022high, in which a learning rate of order 1 changes the errors:
weights ``N(0, 1/d)``, the step ``learning rate * sqrt(width)`` times ours, ``ridge * width`` fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from twolayer.activations import Activation
    from twolayer.dynamics.one_step import Errors, OneStep
    from twolayer.networks import TwoLayerNetwork
    from twolayer.outcomes import Finding, Prediction, Status, Trajectory, Verdict
    from twolayer.tasks import Regression
    from twolayer.theory.one_step.errors import ErrorCurves

_CENTRED = "centred "
_BIAS = 4.0  # over the dimension: relative gap of a finite size that is granted to a limit
_BLOCK = 1000  # of test samples
# what theory calls a curve, and the part of `Errors` that measures it
CURVES = {"test": "generalization", "train": "residual", "objective": "training"}
ERROR_NAMES = {
    "test": "test error",
    "train": "training error",
    "objective": "penalised training error",
}


@dataclass(frozen=True)
class Case:
    """Sizes in proportion to the dimension, noise, ridge, trials.

    Attributes
    ----------
    dim
        Input dimension.
    width_ratio, sample_ratio, step_ratio
        Neurons, samples of the read-out and samples of the step, for each dimension.
    scaled_ridge
        The penalty of the read-out times the width.
    noise_std
        Standard deviation of the label noise.
    trials
        Networks at each point, each with data of its own.
    seed
        Seed of all randomness.
    """

    dim: int
    width_ratio: float
    sample_ratio: float
    step_ratio: float
    scaled_ridge: float
    noise_std: float
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

        at_least(2, dim=self.dim, trials=self.trials)
        at_least(0, seed=self.seed)
        positive(
            width_ratio=self.width_ratio,
            sample_ratio=self.sample_ratio,
            step_ratio=self.step_ratio,
            scaled_ridge=self.scaled_ridge,
        )
        if not 0 <= self.noise_std < 1e9:
            message = f"Expected noise_std from 0 on. Received: {self.noise_std!r}."
            raise ValueError(message)

    @property
    def width(self) -> int:
        """Neurons."""
        return _size(self.width_ratio, self.dim)

    @property
    def num_samples(self) -> int:
        """Samples of the read-out."""
        return _size(self.sample_ratio, self.dim)

    @property
    def num_step_samples(self) -> int:
        """Samples of the step."""
        return _size(self.step_ratio, self.dim)

    def task(self, link: str) -> Regression:
        """Labels that depend on the first coordinate of an isotropic input."""
        import numpy as np

        from twolayer.inputs import Gaussian
        from twolayer.targets import SingleIndex
        from twolayer.tasks import Regression

        target = SingleIndex(np.eye(1, self.dim)[0], function_of(link))  # type: ignore[arg-type]
        return Regression(Gaussian(self.dim), target, self.noise_std)  # type: ignore[arg-type]

    def initial(self, activation: str, *, constant: bool = False) -> Callable[..., TwoLayerNetwork]:
        """What draws an untrained network, in single precision.

        By default with Gaussian output weights; else all of them are 1 / sqrt(width).
        """
        from twolayer.dynamics import in_single_precision
        from twolayer.networks import one_step_network

        function = function_of(activation)
        draw = partial(one_step_network, self.width, self.dim, function, trace=float(self.dim))
        return in_single_precision(partial(_constant_readout, draw) if constant else draw)

    def algorithm(self, learning_rate: float) -> OneStep:
        """Step and read-out; no step for a learning rate of 0."""
        from twolayer.dynamics.one_step import OneStep
        from twolayer.dynamics.readout import Ridge

        return OneStep(
            learning_rate,  # type: ignore[arg-type]
            Ridge(self.scaled_ridge / self.width),  # type: ignore[arg-type]
            self.num_samples,
            _BLOCK * -(-5 * self.num_samples // _BLOCK),  # blocks of one size compile once
            1 if learning_rate else 0,
            self.num_step_samples if learning_rate else None,
        )


def trained(
    case: Case,
    activation: str,
    link: str,
    learning_rate: float = 0.0,
    *,
    constant: bool = False,
    progress: Callable[[float, float], object] | None = None,
) -> Errors:
    """Errors of networks after the step, a trial an entry; by default of untrained features.

    The same randomness for every learning rate: differences between them are those of pairs.

    Parameters
    ----------
    case, activation, link
        What is trained on what.
    learning_rate
        Of order 1: it is multiplied by ``sqrt(width)``, or with constant output weights by the
        width, as the papers do.
    constant
        Whether all output weights are 1 / sqrt(width).
    progress
        Called after each trial.
    """
    import jax

    from twolayer.dynamics.one_step import train_one_step

    return train_one_step(
        case.algorithm(learning_rate * case.width ** (1.0 if constant else 0.5)),
        case.initial(activation, constant=constant),
        case.task(link),
        trials=case.trials,
        key=jax.random.key(case.seed),
        progress=progress,
    )[0]


def trajectories(
    name: str, grid_name: str, grid: Sequence[float], errors: Sequence[Errors]
) -> dict[str, Trajectory]:
    """The measured test, train and objective curves, one `Errors` a point of the grid."""
    import numpy as np

    found = {}
    for curve, part in CURVES.items():
        values = np.stack([np.asarray(getattr(point, part)) for point in errors], axis=1)
        found[curve] = trajectory(f"{curve}, {name}", grid_name, grid, values)
    return found


def trajectory(name: str, grid_name: str, grid: Sequence[float], values: np.ndarray) -> Trajectory:
    """Measured values ``[trials, points]`` as a trajectory."""
    import numpy as np

    from twolayer.outcomes import Trajectory

    status: tuple[Status, ...] = tuple(
        "finished" if np.all(np.isfinite(row)) else "diverged" for row in values
    )
    places = np.asarray(grid, dtype=np.float64)
    return Trajectory(name, places, values, status, grid_name=grid_name)


def prediction(
    name: str, grid_name: str, grid: Sequence[float], parts: Sequence[Prediction]
) -> Prediction:
    """Predictions at single points, or one along the whole grid, as one curve of that name."""
    from dataclasses import replace

    import numpy as np

    values = np.concatenate([part.value for part in parts])
    places = np.asarray(grid, dtype=np.float64)
    return replace(parts[0], name=name, grid=places, value=values, grid_name=grid_name)


def predictions(
    name: str, grid_name: str, grid: Sequence[float], parts: Sequence[ErrorCurves]
) -> dict[str, Prediction]:
    """The predicted test, train and objective curves, named as the `trajectories` are."""
    return {
        curve: prediction(
            f"{curve}, {name}", grid_name, grid, [getattr(part, curve) for part in parts]
        )
        for curve in CURVES
    }


def held(
    statement: str,
    predicted: Prediction,
    measured: Trajectory,
    *,
    bias: float,
    reference: str | None = None,
) -> Finding:
    """Whether the measured curve is the predicted one, told by its worst point.

    The gap may be three standard errors plus `bias` of the predicted value.
    """
    import numpy as np

    from twolayer.compare import compare, student_factor
    from twolayer.outcomes import Finding

    expected = np.interp(measured.time, predicted.grid, predicted.value)
    allowed = bias * np.abs(expected)
    found = compare(predicted, measured, tolerance=allowed)
    finished = sum(status == "finished" for status in measured.status)
    excess = np.abs(found.gap) - student_factor(finished) * found.error - allowed
    worst = int(np.argmax(np.nan_to_num(excess)))
    return Finding(
        predicted.name,
        statement,
        float(expected[worst]),
        float(expected[worst] + found.gap[worst]),
        float(found.error[worst]),
        found.verdict,
        reference or predicted.reference,
        f"{found.reason}; of it {bias:.2g} of the value for the finite size",
    )


def told_apart(
    name: str, statement: str, wrong: Prediction, measured: Trajectory, *, bias: float
) -> Finding:
    """A negative control: whether the measurement refuses a prediction that must not hold.

    Judged at the last point of the grid, with the margin that `held` grants.
    """
    from dataclasses import replace

    last = replace(wrong, grid=wrong.grid[-1:], value=wrong.value[-1:])
    end = replace(measured, time=measured.time[-1:], value=measured.value[:, -1:])
    found = held(statement, last, end, bias=bias)
    turned: dict[Verdict, Verdict] = {"agrees": "disagrees", "disagrees": "agrees"}
    return replace(
        found,
        name=name,
        predicted=f"not {wrong.value[-1]:.4g}",
        verdict=turned.get(found.verdict, found.verdict),
        note=found.note,
    )


def finer(grid: Sequence[float], points: int = 25) -> list[float]:
    """The grid with equidistant points between its ends, for the line of a prediction.

    Examples
    --------
    >>> finer([0.0, 3.0], 4)
    [0.0, 1.0, 2.0, 3.0]
    """
    step = (grid[-1] - grid[0]) / (points - 1)
    return sorted({*grid, *(grid[0] + step * k for k in range(1, points - 1))})


def finite_size(dim: int) -> float:
    """The relative gap to a limit that is granted to inputs of this dimension.

    Examples
    --------
    >>> finite_size(200)
    0.02
    """
    return _BIAS / dim


@cache  # one object a name: programs that were compiled for it are found again
def function_of(name: str) -> Activation:
    """The activation or link of that name, less its Gaussian mean after the word "centred".

    Raises
    ------
    ValueError
        If there is none.
    """
    from twolayer.activations import activation_of
    from twolayer.theory.one_step.coefficients import centred

    inner = name.strip().removeprefix(_CENTRED)
    return activation_of(inner) if inner == name.strip() else centred(inner)


def check_functions(*names: str) -> None:
    """Raise unless all are names of activations or links, before anything heavy is loaded.

    Raises
    ------
    ValueError
        If one is unknown.

    Examples
    --------
    >>> check_functions("tanh", "centred softplus", "x + x^3")
    """
    from twolayer.activations.facts import facts_of

    for name in names:
        facts_of(name.strip().removeprefix(_CENTRED))


def _constant_readout(draw: Callable[..., TwoLayerNetwork], *, key) -> TwoLayerNetwork:
    """The network that is drawn, with equal output weights of squared length 1 in all."""
    import equinox as eqx
    import jax.numpy as jnp

    network = draw(key=key)
    weights = jnp.full_like(network.a, network.width**-0.5)
    return eqx.tree_at(lambda leaf: leaf.a, network, weights)


def _size(ratio: float, dim: int) -> int:
    return max(1, round(ratio * dim))
