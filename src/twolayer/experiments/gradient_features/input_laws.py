"""The same labels on other inputs: features come from the law of the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.experiments.options import Stage, at_least
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.outcomes import Verdict

_GAMMA = 0.05
_DIM, _THRESHOLD = 40, 0.7  # of the plane's laws, for weights of length 1
_CENTRE, _SPREAD = 2.0, 0.2  # of the clusters' coordinates
_ANGLES = 12  # directions of the plane, over half a turn
_CONFIDENCE = 0.9973
_CODE = (100, 50, 5)  # dimension, hidden units, relevant ones
_LEAST = 0.01  # the p of the feature sets


@experiment(
    paper="gradient_features",
    statement="Gradient features depend on the law of the inputs, not only on the labels: clusters "
    "single out directions, and without structure there are none.",
    reference="derived here; structure removed as in shi2022theoretical",
    quick={"draws": 3000, "samples": 8192},
)
def gradient_input_laws(
    *,
    draws: int = 10_000,
    samples: int = 40_000,
    neurons: int = 200,
    seeds: int = 8,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """The sign of a product on a Gaussian and on clusters; a coded parity with and without a code.

    First, ``y = sign(x_1 x_2)`` for standard normal inputs and for four tight clusters on the
    diagonals, with the same neurons: how often gradients point in each direction of the plane.
    Second, the parity of five of fifty hidden units, which the inputs give away half of the time,
    or never.

    Parameters
    ----------
    draws
        Independent neurons from which probabilities in the plane are counted.
    samples
        Samples behind each gradient that has no closed form.
    neurons
        Neurons for the coded parity.
    seeds
        Independent sets of samples and neurons for the coded parity.
    seed
        Seed of all randomness.
    """
    at_least(500, draws=draws)
    at_least(1000, samples=samples)
    at_least(100, neurons=neurons)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed)

    curves, prediction, findings = _plane(draws, samples, seed, Stage(progress, "plane"))
    coded = _coded(samples, (neurons, seeds, seed), Stage(progress, "coded parity"))
    return Result(
        quantity="probability of a direction",
        trajectories=curves,
        predictions=(prediction,),
        findings=(*findings, *coded),
    )


def _plane(
    draws: int, samples: int, seed: int, progress: Stage
) -> tuple[tuple[Trajectory, ...], Prediction, list[Finding]]:
    """How often gradients point along directions of the plane of ``sign(x_1 x_2)``."""
    import jax
    import numpy as np

    from twolayer.inputs import Gaussian, isotropic_mixture
    from twolayer.targets import MultiIndex, sign_product
    from twolayer.tasks import Regression
    from twolayer.theory.gradient_features.hit_probabilities import planar_hit_probability
    from twolayer.theory.gradient_features.simplified_gradient import (
        sampled_gradient,
        simplified_gradient,
    )

    target = MultiIndex(np.eye(_DIM)[:2], sign_product)  # type: ignore[arg-type]
    corners = np.zeros((4, _DIM))
    corners[:, :2] = [[1, 1], [-1, -1], [1, -1], [-1, 1]]
    generator = np.random.default_rng([seed, 0])
    W = generator.standard_normal((draws, _DIM)) / np.sqrt(_DIM)
    b = _THRESHOLD * generator.choice([-1.0, 1.0], draws)
    angles = np.pi * np.arange(_ANGLES) / _ANGLES
    length = _CENTRE * np.sqrt(2) / 4  # of the gradient that one whole cluster gives
    tight = Regression(isotropic_mixture(_CENTRE * corners, _SPREAD), target)
    gradients = {
        "Gaussian inputs": simplified_gradient(Regression(Gaussian(_DIM), target), W, b).value,
        "clusters": sampled_gradient(
            tight, W, b, num_samples=samples, key=jax.random.key(seed)
        ).value,
    }
    progress(1, 2)
    counted = {
        name: _counted(values, angles, length / 2 if name == "clusters" else 0.0)
        for name, values in gradients.items()
    }
    progress(2, 2)
    curves = tuple(
        Trajectory(
            name, angles, hits[None] / draws / 2, ("finished",), grid_name="angle in the plane"
        )
        for name, hits in counted.items()
    )
    flat = planar_hit_probability(_GAMMA)
    prediction = Prediction(
        "Gaussian inputs", angles, np.full(_ANGLES, flat), "asymptotic", "derived here",
        grid_name="angle in the plane",
    )  # fmt: skip
    diagonal = np.isclose(np.abs(np.cos(2 * angles)), 0)
    axis = np.isclose(np.abs(np.cos(2 * angles)), 1)
    clusters = counted["clusters"]
    slack = 2 / _DIM
    single, both = _passing()
    findings = [
        _range(
            "Gaussian inputs", "Every direction of the plane is equally much a feature of the "
            "product of two Gaussian coordinates.",
            (flat * (1 - slack), flat * (1 + slack)), counted["Gaussian inputs"], draws,
        ),
        _range(
            "clusters, diagonals", "The same labels on clusters have the directions of the "
            "clusters as features.",
            single, clusters[diagonal], draws,
        ),
        _range(
            "clusters, axes", "The directions in between are features of the few neurons that two "
            "clusters pass at once.",
            both, clusters[axis], draws,
        ),
    ]  # fmt: skip
    return curves, prediction, findings


def _passing() -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of the probability that one pair of clusters passes the threshold, or both do.

    A projection ``w.mu`` is normal, opposite clusters have opposite ones, and half of them are
    counted for each sign of the threshold. A cluster of which less than half passes may still
    tilt the gradient: the other pair's threshold is lowered by none to one standard deviation.
    """
    import numpy as np
    from scipy.special import ndtr

    spread = _CENTRE * np.sqrt(2 / _DIM)
    low, high = (2 * ndtr(-(_THRESHOLD - c * _SPREAD) / spread) for c in (0, 1))
    half = float(low) / 2
    return (half * float(1 - high), half * float(1 - low)), (half * float(low), half * float(high))


def _counted(gradients: np.ndarray, angles: np.ndarray, least_norm: float) -> np.ndarray:
    """Gradients in the cone of each direction of the plane, whatever the sign of the threshold."""
    import numpy as np

    norms = np.linalg.norm(gradients, axis=1)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    inner = np.abs(gradients[:, :2] @ circle.T)
    # a gradient of 0, of a neuron that sees nothing, is in no cone
    inside = (inner > (1 - _GAMMA) * norms[:, None]) & (norms >= least_norm)[:, None]
    return np.sum(inside, axis=0)


def _range(
    name: str, statement: str, predicted: tuple[float, float], hits: np.ndarray, draws: int
) -> Finding:
    """Whether all directions' probabilities lie in a range, by joint intervals.

    Half of all hits are counted for each sign of the threshold.
    """
    import numpy as np

    from twolayer.theory.gradient_features.feature_sets import clopper_pearson

    lower, upper = clopper_pearson(hits, draws, 1 - (1 - _CONFIDENCE) / len(hits))
    lower, upper = lower / 2, upper / 2
    low, high = predicted
    verdict: Verdict = "agrees" if np.all((lower <= high) & (upper >= low)) else "disagrees"
    if verdict == "agrees" and np.max(upper - lower) > 2 * high:
        verdict = "undecided"
    note = f"from {np.min(hits) / draws / 2:.4f} to {np.max(hits) / draws / 2:.4f} over "
    note += f"{len(hits)} directions"
    return Finding(
        name, statement, f"{low:.4g} to {high:.4g}", float(np.mean(hits) / draws / 2),
        float(np.max(upper - lower)) / 6, verdict, "derived here", note,
    )  # fmt: skip


def _coded(samples: int, counts: tuple[int, int, int], progress: Stage) -> list[Finding]:
    """Cosines with the feature of a coded parity, and feature sets, with and without structure."""
    import jax
    import numpy as np
    from scipy.special import gammaln

    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.sparse_coding import CodedParity
    from twolayer.theory.gradient_features.feature_sets import feature_set
    from twolayer.theory.gradient_features.simplified_gradient import sampled_gradient

    neurons, seeds, seed = counts
    dim, hidden, relevant = _CODE
    generator = np.random.default_rng([seed, 1])
    dictionary = np.linalg.qr(generator.standard_normal((dim, hidden)))[0]
    # The mean cosine of a fixed direction with one that is uniform in the hidden units' span.
    chance = float(np.exp(gammaln(hidden / 2) - gammaln((hidden + 1) / 2)) / np.sqrt(np.pi))
    findings = []
    for share in (0.5, 0.0):
        task = CodedParity(dictionary, relevant, structured=share)
        cosines, sets = np.empty(seeds), []
        for s in range(seeds):
            key = jax.random.fold_in(jax.random.key(seed), s)
            W = generator.standard_normal((neurons, dim))
            found = sampled_gradient(task, W, num_samples=samples, key=key)
            cosines[s] = np.mean(np.abs(found.value @ np.asarray(task.feature)) / found.norm)
            sets.append(
                len(
                    feature_set(
                        found.value, np.zeros(neurons), gamma=_GAMMA, least_norm=0.0,
                        least_probability=_LEAST, confidence=_CONFIDENCE,
                    )
                )
            )  # fmt: skip
            progress(s + 1 + (0 if share else seeds), 2 * seeds)
        mean, error = (float(part) for part in mean_and_error(cosines))
        margin = student_factor(seeds) * error
        if share:
            right, predicted = mean - margin >= 1 - _GAMMA, f"at least {1 - _GAMMA:g}"
            name, nets = "structure", all(sets)
            statement = "Inputs that give the relevant units away turn gradients to their sum."
        else:
            right, predicted = abs(mean - chance) <= margin, chance
            name, nets = "structure removed", not any(sets)
            statement = "Without that structure gradients point anywhere: the cosine is chance's."
        verdict: Verdict = "agrees" if right else "disagrees"
        if not share and margin > 0.5:
            verdict = "undecided"
        findings += [
            Finding(name, statement, predicted, mean, error, verdict, "derived here"),
            Finding(
                f"feature sets, {name}",
                "There are gradient features with the structure."
                if share
                else "There is no gradient feature without the structure.",
                "features" if share else "no features",
                f"{min(sets)} to {max(sets)} features",
                0.0,
                "agrees" if nets else "disagrees",
                "derived here",
                f"p of at least {_LEAST:g}, gamma = {_GAMMA:g}, {seeds} seeds",
            ),
        ]
    return findings
