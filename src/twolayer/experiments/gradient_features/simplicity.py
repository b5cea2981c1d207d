"""Simple networks first: OPT over the number of neurons, and how training competes with it."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

from twolayer.experiments.gradient_features.induced import drawn
from twolayer.experiments.options import Stage, at_least, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.theory.gradient_features.induced_networks import InducedOptimum

_DIM = 100
_STRUCTURED, _BACKGROUND = 0.25, 0.1  # p_A and p_o
_ROUNDING = 1e-5  # of a network's values where dictionaries are in single precision
_DERIVED = "derived here"
_BIAS, _KINK, _STD = 1.0, 1.0, 100.0
_FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)  # by which a comparison may be stretched
_CONES = ((0.05, 0.1), (0.05, 0.2), (0.05, 0.4), (0.1, 0.8))


@experiment(
    paper="gradient_features",
    statement="Networks of few neurons already reach part of the loss, and training keeps up with "
    "the best number of neurons for the time it had: a few at first, more later.",
    reference="simplicity bias of shi2023provable as recalled; curves and bounds derived here",
    quick={"blocks": "3,5", "quarter": 100, "samples": 1500, "steps": "10,100,1000", "seeds": 2},
)
def simplicity_bias(
    *,
    blocks: str = "3,5,7",
    quarter: int = 300,
    samples: int = 4000,
    steps: str = "10,30,100,300,1000,3000",
    seeds: int = 3,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """The least loss of r neurons on structured parities, and the top layer's training.

    The law of the block's sum gives the path of losses over r exactly; the same networks are
    measured on samples of all hundred units. Then the output weights are trained by accelerated
    gradient descent, whose loss after T steps is at most
    ``min_r L(f_r) + 2 beta |a_r - a_1|^2 / (T + 1)^2`` with the networks of r neurons realised by
    the trained ones.

    Parameters
    ----------
    blocks
        Odd numbers of relevant units.
    quarter
        Independent neurons m of the trained network, which has 4 m.
    samples
        Training samples, and as many to measure losses.
    steps
        Training times T, from short to long; the last block is trained.
    seeds
        Trained networks.
    seed
        Seed of all randomness.
    """
    sizes, times = whole_numbers("blocks", blocks), whole_numbers("steps", steps)
    if not all(k % 2 and k <= 15 for k in sizes) or times != sorted(set(times)):
        message = "Expected odd blocks of at most 15 units and growing steps. "
        message += f"Received: {blocks!r} and {steps!r}."
        raise ValueError(message)
    at_least(20, quarter=quarter)
    at_least(500, samples=samples)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed)

    findings, predictions, trajectories = [], [], []
    stage = Stage(progress, "blocks")
    for j, k in enumerate(sizes):
        task, features = _task(k, seed)
        path = _path(k)
        curve, finding = _path_finding(k, path, features, drawn(task, 2 * samples, seed))
        predictions.append(curve[0])
        trajectories.append(curve[1])
        findings.append(finding)
        stage(j + 1, len(sizes) + 1)
    findings.append(_growth(sizes, predictions))
    k = sizes[min(1, len(sizes) - 1)]
    task, features = _task(k, seed)
    curve, more = _training(
        _embedded(_path(k), features), drawn(task, 2 * samples, seed), (quarter, times, seeds, seed)
    )
    stage(len(sizes) + 1, len(sizes) + 1)
    return Result(
        quantity="loss",
        predictions=(*predictions, curve[0]),
        trajectories=(*trajectories, curve[1]),
        findings=(*findings, *more),
    )


def _task(k: int, seed: int) -> tuple[Any, np.ndarray]:
    import numpy as np

    from twolayer.sparse_coding import StructuredParity

    generator = np.random.default_rng([seed, k])
    dictionary = np.linalg.qr(generator.standard_normal((_DIM, _DIM)))[0]
    task = StructuredParity(dictionary, 1, k, _STRUCTURED, _BACKGROUND)  # type: ignore[arg-type]
    return task, np.asarray(task.features, np.float64)


@cache
def _path(k: int) -> list[InducedOptimum]:
    """Greedy networks of 1, 2, ... neurons on the exact law of the sum of the k units."""
    import numpy as np

    from twolayer.theory.gradient_features.induced_networks import (
        InducedNetworks,
        greedy_induced_networks,
    )

    root = math.sqrt(k)
    sums = np.arange(-k, k + 1, 2.0)
    weights = np.asarray([math.comb(k, i) for i in range(k + 1)]) / 2**k * (1 - 2 * _STRUCTURED)
    weights[[0, -1]] += _STRUCTURED
    labels = np.where((k - sums) % 4 == 0, 1.0, -1.0)
    family = InducedNetworks(
        np.ones((2, 1)), np.asarray([1.0, -1.0]), (k + 0.5) / root, 4 * root, num_biases=2 * k + 1
    )
    return greedy_induced_networks(
        family, sums[:, None] / root, labels, max_neurons=3 * (k + 1), weights=weights,
        trials=len(family.neurons[1]),
    )  # fmt: skip


def _embedded(path: list[InducedOptimum], features: np.ndarray) -> list[Any]:
    """The networks on the line as networks along the feature."""
    import numpy as np

    from twolayer.theory.gradient_features.induced_networks import relu_network

    return [
        relu_network(
            np.asarray(step.network.a),
            np.asarray(step.network.W) * features,
            -np.asarray(step.network.b, np.float64),
        )
        for step in path
    ]


def _path_finding(
    k: int, path: list[InducedOptimum], features: np.ndarray, data: tuple[np.ndarray, np.ndarray]
) -> tuple[tuple[Prediction, Trajectory], Finding]:
    """The exact losses of 1, 2, ... neurons against those on samples."""
    import numpy as np

    from twolayer.theory.gradient_features.induced_networks import hinge_loss

    r = np.arange(1.0, len(path) + 1)
    predicted = np.asarray([step.loss for step in path])
    measured, error = np.asarray([hinge_loss(f, *data) for f in _embedded(path, features)]).T
    name = f"hinge loss of r neurons, parity of {k}"
    curve = (
        Prediction(name, r, predicted, "exact", _DERIVED, grid_name="number of neurons"),
        Trajectory(
            name, r, measured[None], ("finished",), error[None], grid_name="number of neurons"
        ),
    )
    worst = int(np.argmax(np.abs(measured - predicted) - 3 * error - _ROUNDING))
    holds = abs(measured[worst] - predicted[worst]) <= 3 * error[worst] + _ROUNDING
    finding = Finding(
        f"path of losses, parity of {k}",
        "Each number of neurons of the feature reaches the loss that the law of the sum of the "
        "units gives, and none is left at the end.",
        float(predicted[worst]),
        float(measured[worst]),
        float(error[worst]),
        "agrees" if holds and predicted[-1] < 1e-9 else "disagrees",
        _DERIVED,
        f"shown: r = {worst + 1}; losses "
        + ", ".join(f"{value:.3f}" for value in predicted)
        + f"; the construction has {3 * (k + 1)} neurons",
    )
    return curve, finding


def _growth(sizes: list[int], predictions: list[Prediction]) -> Finding:
    """More units, more neurons: k + 1 levels of alternating sign, k zeros, at most one a piece."""
    needed = [len(prediction.grid) for prediction in predictions]
    holds = all(k - 1 <= r <= 3 * (k + 1) for k, r in zip(sizes, needed, strict=True))
    return Finding(
        "neurons that a parity needs",
        "A parity of k units needs at least k - 1 neurons: its k + 1 levels alternate in sign, "
        "and between two kinks there is one zero at most.",
        ", ".join(f"{k - 1} to {3 * (k + 1)}" for k in sizes),
        ", ".join(map(str, needed)),
        0.0,
        "agrees" if holds and needed == sorted(needed) else "disagrees",
        _DERIVED,
        "upper ends: the construction",
    )


def _training(
    comparisons: list[Any],
    data: tuple[np.ndarray, np.ndarray],
    setting: tuple[int, list[int], int, int],
) -> tuple[tuple[Prediction, Trajectory], list[Finding]]:
    """The top layer's loss over time, below the envelope of all numbers of neurons."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from twolayer.dynamics.gradient_features import (
        first_gradients,
        first_step,
        kink_learning_rate,
        symmetric_network,
        train_top_layer,
    )
    from twolayer.losses import LogisticLoss

    quarter, times, seeds, seed = setting
    x, y = data
    half = len(x) // 2
    bounds, losses, best, free = [], [], [], []
    for s in range(seeds):
        key = jax.random.fold_in(jax.random.key(seed), s)
        start = symmetric_network(quarter, _DIM, bias=_BIAS, output_std=_STD, key=key)
        dtype = start.W.dtype
        gradients = first_gradients(
            start, jnp.asarray(x[:half], dtype), jnp.asarray(y[:half], dtype)
        )
        rate = kink_learning_rate(start, gradients, kink=_KINK, bias=_BIAS)
        stepped = first_step(start, gradients, rate)
        bound, numbers, least = _envelope(comparisons, stepped, (x[half:], y[half:]), times)
        free.append(least)
        bounds.append(bound)
        best.append(numbers)
        samples = jnp.asarray(x[half:], dtype), jnp.asarray(y[half:], dtype)
        curve = []
        for steps in times:
            trained = train_top_layer(stepped, *samples, LogisticLoss(), jnp.asarray(steps))
            curve.append(_logistic(trained, x[half:], y[half:]))
        losses.append(curve)
    measured, bounds = np.asarray(losses), np.asarray(bounds)
    name = "training loss of the top layer"
    prediction = Prediction(
        name, np.asarray(times, float), np.max(bounds, axis=0), "upper", _DERIVED, grid_name="steps"
    )
    run = Trajectory(
        name, np.asarray(times, float), measured, ("finished",) * seeds, grid_name="steps"
    )
    k = int(np.argmax(np.max(measured - bounds, axis=0)))
    holds = bool(np.all(measured <= bounds * (1 + 1e-3)))
    first, last = min(row[0] for row in best), max(row[-1] for row in best)
    grows = all(row[-1] > row[0] for row in best)
    return (prediction, run), [
        Finding(
            "training against all numbers of neurons",
            "At each time the training loss is below the best of all realised networks, each with "
            "the price of getting there.",
            float(bounds[0, k]),
            float(measured[0, k]),
            0.0,
            "agrees" if holds else "disagrees",
            _DERIVED,
            f"at T = {times[k]}, where the two are nearest; single precision allows 0.1 %",
        ),
        Finding(
            "the longer, the more neurons",
            "The network that sets the bound after long training has more neurons than the one "
            "that sets it after short training.",
            "growing",
            f"from {first} to {last} neurons",
            0.0,
            "agrees" if grows else "disagrees",
            _DERIVED,
            f"T = {', '.join(map(str, times))}: " + "; ".join(str(row) for row in best),
        ),
        Finding(
            "control: without the price",
            "The least loss of all realised networks, whatever it takes to get there, is no bound "
            "at the shortest time.",
            float(free[0]),
            float(measured[0, 0]),
            0.0,
            "agrees" if np.all(measured[:, 0] > 1.05 * np.asarray(free)) else "disagrees",
            _DERIVED,
            f"T = {times[0]}; agreement means that this wrong bound is refuted",
        ),
    ]


def _envelope(
    comparisons: list[Any], stepped: Any, data: tuple[np.ndarray, np.ndarray], times: list[int]
) -> tuple[list[float], list[int], float]:
    """``min_r L(f_r) + 2 beta |a_r - a_1|^2 / (T + 1)^2`` at each T, its r; ``min_r L(f_r)``."""
    import numpy as np

    from twolayer.theory.gradient_features.guarantee import top_layer_bound
    from twolayer.theory.gradient_features.realisation import realise

    x, y = data
    W, b = np.asarray(stepped.W, np.float64), np.asarray(stepped.b, np.float64)
    features, start = np.maximum(x @ W.T + b, 0.0), np.asarray(stepped.a, np.float64)
    unit = np.full(len(start), len(start) ** -0.5)
    price = top_layer_bound(features, 0 * unit, unit, steps=1).optimisation  # of distance 1
    options = [(0, 1.0, price * float(start @ start))]  # the loss of no network at all, as r = 0
    for r, network in enumerate(comparisons, 1):
        for gamma, tolerance in _CONES:
            found = realise(network, stepped, gamma=gamma, tolerance=tolerance)
            if found.bound < math.inf:
                break
        else:
            continue
        for factor in _FACTORS:
            a = factor * np.asarray(found.network.a, np.float64)
            loss = float(np.mean(np.logaddexp(0.0, -y * (features @ a)))) / math.log(2)
            options.append((r, loss, price * float(np.sum((a - start) ** 2))))
    bounds, numbers = [], []
    for steps in times:
        # of plain descent beta |a - a_1|^2 / (2 T); of the accelerated one four times that over T
        values = [loss + 4 * cost / (steps + 1) ** 2 for _, loss, cost in options]
        bounds.append(min(values))
        numbers.append(options[int(np.argmin(values))][0])
    return bounds, numbers, min(loss for _, loss, _ in options)


def _logistic(network: Any, x: np.ndarray, y: np.ndarray) -> float:
    """The mean of logistic / log 2."""
    import numpy as np

    from twolayer.theory.gradient_features.induced_networks import values

    return float(np.mean(np.logaddexp(0.0, -y * values(network, x)))) / math.log(2)
