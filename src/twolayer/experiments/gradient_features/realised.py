"""An induced network found again among the neurons after the first step, and what it guarantees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from twolayer.experiments.gradient_features.induced import drawn
from twolayer.experiments.options import Stage, at_least, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.networks import TwoLayerNetwork
    from twolayer.outcomes import Verdict
    from twolayer.theory.gradient_features.realisation import Realisation

_DIM, _BLOCK = 60, 3
_DERIVED = "derived here"
_SHAPE = "derived here, with the three terms of shi2023provable, Theorem 3.12"
_BIAS, _STD = 1.0, 1.0


@experiment(
    paper="gradient_features",
    statement="After the first step the neurons stand in for those of an induced network: as many "
    "as the random output weights supply, with ever smaller weights; the guarantee that follows "
    "is vacuous at this size, and no test.",
    reference="derived here; guarantee in the form of shi2023provable, Theorem 3.12",
    quick={"quarters": "500,2000", "samples": 10_000, "seeds": 3},
)
def realisation_lemma(
    *,
    quarters: str = "500,2000,8000",
    samples: int = 20_000,
    gamma: float = 0.02,
    tolerance: float = 0.1,
    seeds: int = 4,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """A parity of three hidden units among sixty, from the best induced network to the trained one.

    The induced network without loss comes from the law of the units' sum. Its neurons are looked
    for among those of Algorithm 1 after one step on samples.

    Parameters
    ----------
    quarters
        Independent neurons m; networks have 4 m.
    samples
        Samples of the gradient step, and as many fresh ones that measure.
    gamma
        Opening of the cones around the feature.
    tolerance
        How far a kink may lie from its place, relative to its distance from the origin.
    seeds
        Networks of each size.
    seed
        Seed of all randomness.
    """
    sizes = whole_numbers("quarters", quarters)
    positive(gamma=gamma, tolerance=tolerance)
    at_least(1000, samples=samples)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed)
    if not gamma < 1 or not tolerance < 1:
        message = "Expected gamma and tolerance below 1. "
        message += f"Received: {gamma!r} and {tolerance!r}."
        raise ValueError(message)

    import numpy as np

    from twolayer.sparse_coding import StructuredParity
    from twolayer.theory.gradient_features.realisation import realise

    generator = np.random.default_rng([seed, _DIM])
    dictionary = np.linalg.qr(generator.standard_normal((_DIM, _DIM)))[0]
    task = StructuredParity(dictionary, 1, _BLOCK, 0.25, 0.1)  # type: ignore[arg-type]
    optimum = _without_loss(np.asarray(task.features, np.float64))
    x, y = drawn(task, 2 * samples, seed)
    stage = Stage(progress, "networks")
    rows, reports = [], []
    for k, quarter in enumerate(sizes):
        for s in range(seeds):
            first, stepped, rate = _one_step(quarter, x[:samples], y[:samples], [seed, s])
            found = realise(optimum, stepped, gamma=gamma, tolerance=tolerance)
            expected = _expected(task, optimum, quarter, (rate, gamma, tolerance), samples)
            gap = _largest_gap(found, optimum, x[samples:])
            rows.append((quarter, found, expected, gap))
            reports.append((first, stepped))
            stage(k * seeds + s + 1, len(sizes) * seeds)
    findings = [_within(quarter, rows) for quarter in sizes]
    findings += [_stand_ins(quarter, rows) for quarter in sizes]
    curve = _norms(optimum, sizes, rows)
    findings.append(_norm_finding(curve, rows))
    findings.append(_guarantee(optimum, reports[0][1], rows[0][1], (x, y), (gamma, tolerance)))
    before = realise(optimum, reports[-1][0], gamma=gamma, tolerance=tolerance)
    findings.append(
        Finding(
            "control: before the step",
            "Among the random neurons at the start there is no stand-in.",
            0.0,
            float(np.sum(before.hits)),
            0.0,
            "agrees" if not np.any(before.hits) else "disagrees",
            _DERIVED,
            f"of {4 * sizes[-1]} neurons",
        )
    )
    table = [
        [
            4 * quarter,
            found.hits.tolist(),
            expected.round(1).tolist(),
            round(found.output_norm, 4),
            round(found.distance, 4),
            round(gap, 4),
        ]
        for quarter, found, expected, gap in rows
    ]
    columns = "neurons, stand-ins, expected ones, norm of a~, distance bound, largest distance"
    return Result(
        predictions=curve[:1],
        trajectories=curve[1:],
        findings=tuple(findings),
        details={"columns": columns, "table": table, "gamma": gamma, "tolerance": tolerance},
    )


def _without_loss(features: np.ndarray) -> TwoLayerNetwork:
    """An induced network of least loss on the law of the sum of the block's units."""
    import numpy as np

    from twolayer.theory.gradient_features.induced_networks import (
        InducedNetworks,
        greedy_induced_networks,
        relu_network,
    )

    k, root = _BLOCK, math.sqrt(_BLOCK)
    sums = np.arange(-k, k + 1, 2.0)
    weights = np.asarray([math.comb(k, i) for i in range(k + 1)]) / 2 ** (k + 1)
    weights[[0, -1]] += 0.25  # the structured half: all 1, or all -1
    family = InducedNetworks(
        np.ones((2, 1)), np.asarray([1.0, -1.0]), (k + 0.5) / root, 4 * root, num_biases=4 * k + 2
    )
    labels = np.where((k - sums) % 4 == 0, 1.0, -1.0)
    path = greedy_induced_networks(
        family, sums[:, None] / root, labels, max_neurons=3 * (k + 1), weights=weights
    )
    line = path[-1].network
    return relu_network(
        np.asarray(line.a), np.asarray(line.W) * features, -np.asarray(line.b, np.float64)
    )


def _one_step(
    quarter: int, x: np.ndarray, y: np.ndarray, seed: list[int]
) -> tuple[TwoLayerNetwork, TwoLayerNetwork, float]:
    import jax
    import jax.numpy as jnp

    from twolayer.dynamics.gradient_features import (
        first_gradients,
        first_step,
        kink_learning_rate,
        symmetric_network,
    )

    key = jax.random.fold_in(jax.random.key(seed[0]), seed[1])
    network = symmetric_network(quarter, _DIM, bias=_BIAS, output_std=_STD, key=key)
    dtype = network.W.dtype
    gradients = first_gradients(network, jnp.asarray(x, dtype), jnp.asarray(y, dtype))
    rate = kink_learning_rate(network, gradients, kink=1.0, bias=_BIAS)
    return network, first_step(network, gradients, rate), float(rate)


def _expected(
    task: Any,
    optimum: TwoLayerNetwork,
    quarter: int,
    setting: tuple[float, float, float],
    samples: int,
) -> np.ndarray:
    """Expected stand-ins of each neuron, from closed-form gradients of independent draws."""
    import numpy as np

    from twolayer.theory.gradient_features.realisation import expected_hits
    from twolayer.theory.gradient_features.simplified_gradient import simplified_gradient

    rate, gamma, tolerance = setting
    W = np.random.default_rng(11).standard_normal((2000, _DIM))
    D = np.asarray(task.features, np.float64)[0]
    counts = []
    for w, b in zip(np.asarray(optimum.W), -np.asarray(optimum.b), strict=True):
        found = simplified_gradient(task, W, _BIAS * np.sign(b))
        exact = np.linalg.norm(found.value, axis=1)
        inside = np.abs(found.value @ D) > (1 - gamma) * exact
        noise = np.maximum(found.second_moment - exact**2, 0.0)
        lengths = np.sqrt(exact**2 + noise / samples)  # of the gradient of samples, in the mean
        if not np.any(inside):
            counts.append(0.0)
            continue
        share = float(np.mean(inside)) / 2  # half of the neurons have this sign of the bias
        kink = float(abs(b) / np.linalg.norm(w))
        counts.append(
            expected_hits(
                lengths[inside],
                width=4 * quarter,
                probability=share,
                kink=kink,
                bias=_BIAS,
                rate=rate,
                output_std=_STD,
                tolerance=tolerance,
            )
        )
    return np.asarray(counts)


def _largest_gap(found: Realisation, optimum: TwoLayerNetwork, x: np.ndarray) -> float:
    import numpy as np

    from twolayer.theory.gradient_features.induced_networks import values

    gap = np.abs(values(found.network, x[:4000]) - values(optimum, x[:4000]))
    return float(np.max(gap / np.linalg.norm(x[:4000], axis=1)))


def _within(quarter: int, rows: list[Any]) -> Finding:
    own = [row for row in rows if row[0] == quarter]
    worst = max(own, key=lambda row: row[3] / max(row[1].distance, 1e-300))
    holds = all(gap <= found.distance <= found.bound for _, found, _, gap in own)
    missing = _missing(own)
    verdict: Verdict = "agrees" if holds else "disagrees"
    return Finding(
        f"distance, m = {quarter}",
        "Built of the neurons after the step, the network differs from the induced one by no more "
        "than the lemma allows at any input.",
        worst[1].distance,
        worst[3],
        0.0,
        "undecided" if missing and holds else verdict,
        _DERIVED,
        f"largest difference over |x|; allowed from gamma and tolerance alone {worst[1].bound:.3g}"
        + missing,
    )


def _missing(rows: list[Any]) -> str:
    """What a note says where the lemma has nothing to say: a neuron without a stand-in."""
    networks = sum(not math.isfinite(found.bound) for _, found, _, _ in rows)
    return f"; {networks} of {len(rows)} networks lack stand-ins" if networks else ""


def _stand_ins(quarter: int, rows: list[Any]) -> Finding:
    import numpy as np

    own = [row for row in rows if row[0] == quarter]
    predicted = float(np.mean([np.sum(expected) for _, _, expected, _ in own]))
    measured = float(np.mean([np.sum(found.hits) for _, found, _, _ in own]))
    # binomial, and two for one: neurons of the optimum come in mirrored pairs, and so do stand-ins
    error = math.sqrt(2 * predicted / len(own))
    verdict: Verdict = "agrees" if abs(measured - predicted) <= 3 * error else "disagrees"
    return Finding(
        f"stand-ins, m = {quarter}",
        "The random output weights supply as many kinks in the right places as expected.",
        predicted,
        measured,
        error,
        verdict,
        _DERIVED,
        f"all neurons of the induced network together, mean of {len(own)} networks; gradients of "
        "the law in closed form, lengthened by the noise of the samples",
    )


def _norms(optimum: TwoLayerNetwork, sizes: list[int], rows: list[Any]) -> tuple[Any, ...]:
    import numpy as np

    squares = (np.asarray(optimum.a) * np.asarray(optimum.b) / _BIAS) ** 2
    grid = 4.0 * np.asarray(sizes)
    predicted = [
        np.mean([math.sqrt(np.sum(squares / row[2])) for row in rows if row[0] == quarter])
        for quarter in sizes
    ]
    measured = [[row[1].output_norm for row in rows if row[0] == quarter] for quarter in sizes]
    name = "norm of the output weights"
    return (
        Prediction(
            name, grid, np.asarray(predicted), "asymptotic", _DERIVED, grid_name="neurons"
        ),
        Trajectory(
            name, grid, np.asarray(measured).T, ("finished",) * len(measured[0]),
            grid_name="neurons",
        ),
    )  # fmt: skip


def _norm_finding(curve: tuple[Any, ...], rows: list[Any]) -> Finding:
    import numpy as np

    prediction, run = curve
    measured = np.mean(run.value, axis=0)
    # half of the relative deviation of the rarest stand-ins, which carry most of the norm, in
    # each of the networks; and the bias of one over a binomial number
    rarest = np.min([np.min(row[2]) for row in rows if 4 * row[0] == prediction.grid[-1]])
    error = float(prediction.value[-1] * math.sqrt(2 / rarest / len(run.value)) / 2)
    slack = float(prediction.value[-1] / rarest)
    slope = "no slope of one width"
    if len(measured) > 1 and np.all(measured > 0):
        fitted = np.polyfit(np.log(prediction.grid), np.log(measured), 1)[0]
        slope = f"slope in logarithms {fitted:.2f}"
    gap = abs(float(measured[-1] - prediction.value[-1]))
    verdict: Verdict = "agrees" if gap <= 3 * error + slack else "disagrees"
    missing = _missing([row for row in rows if 4 * row[0] == prediction.grid[-1]])
    return Finding(
        "norm of the output weights",
        "The more neurons, the smaller the weights that realise the same network: as m^(-1/2).",
        float(prediction.value[-1]),
        float(measured[-1]),
        error,
        "undecided" if missing else verdict,
        _DERIVED,
        f"at the largest width; {slope}{missing}",
    )


def _guarantee(
    optimum: TwoLayerNetwork,
    stepped: TwoLayerNetwork,
    found: Realisation,
    data: tuple[np.ndarray, np.ndarray],
    cone: tuple[float, float],
) -> Finding:
    """The main bound against the network that training the top layer gives."""
    import jax.numpy as jnp
    import numpy as np

    from twolayer.dynamics.gradient_features import train_top_layer
    from twolayer.losses import LogisticLoss
    from twolayer.theory.gradient_features.guarantee import FeatureConstants, main_bound
    from twolayer.theory.gradient_features.induced_networks import hinge_loss, values

    x, y = data
    half, dtype = len(x) // 2, stepped.W.dtype
    inside = np.asarray(found.network.a) != 0
    lengths = np.linalg.norm(np.asarray(stepped.W), axis=1)
    constants = FeatureConstants(
        cone[0],
        float(np.min(lengths, where=inside, initial=float(np.max(lengths)))),
        float(np.max(np.abs(np.asarray(optimum.a)))),
        float(np.mean(np.linalg.norm(x, axis=1))),
        float(np.mean(np.sum(x**2, axis=1))),
        tolerance=cone[1],
    )
    loss = float(hinge_loss(optimum, x[half:], y[half:]).mean)
    bound = main_bound(np.asarray([float(optimum.width)]), np.asarray([loss]), constants)
    trained = train_top_layer(
        stepped, jnp.asarray(x[:half][:4000], dtype), jnp.asarray(y[:half][:4000], dtype),
        LogisticLoss(), jnp.asarray(300),
    )  # fmt: skip
    wrong = float(np.mean(values(trained, x[half:]) * y[half:] <= 0))
    error = math.sqrt(max(wrong, 1 / half) / half)
    vacuous = not bound.assumptions[-1].holds
    # no error is above 1, and without stand-ins nothing is claimed
    says = float(bound.value[0]) < 1 and math.isfinite(found.bound)
    verdict: Verdict = "agrees" if wrong <= bound.value[0] + 3 * error else "disagrees"
    return Finding(
        "main bound",
        "The trained network's error is below OPT plus the cone term.",
        float(bound.value[0]),
        wrong,
        error,
        verdict if says else "undecided",
        _SHAPE,
        f"{'VACUOUS: above the error of a coin' if vacuous else 'not vacuous'}; OPT {loss:.2g}, "
        f"r = {optimum.width}; population gradient, no remainder{_missing([(0, found, 0, 0)])}",
    )
