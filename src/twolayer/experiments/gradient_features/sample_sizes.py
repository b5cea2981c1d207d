"""How many samples the first gradient needs before it shows the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.compare import compare
from twolayer.experiments.options import Stage, at_least, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.experiments.gradient_features.laws import Law
    from twolayer.theory.gradient_features.feature_sets import FeatureSet

_ALLOWED = 0.03  # what the law leaves out: noise along the gradient, and uneven noise
_LEAST = 0.01  # the p of the feature sets


@experiment(
    paper="gradient_features",
    statement="The gradient of n samples turns towards that of their law as a formula in n says; "
    "shuffled labels have no gradient features.",
    reference="derived here",
    quick={"sizes": "5000,20000", "seeds": 6, "draws": 1000, "shuffled": 10_000},
)
def gradient_sample_size(
    *,
    sizes: str = "5000,20000,60000",
    neurons: int = 64,
    seeds: int = 6,
    draws: int = 4000,
    shuffled: int = 40_000,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """The cosine of sampled gradients with exact ones, and the control with shuffled labels.

    The parity of two of 101 signs and the sign of a product of two of 60 Gaussian coordinates;
    the control is an XOR mixture in 30 dimensions.

    Parameters
    ----------
    sizes
        Numbers of samples n, separated by commas.
    neurons
        Neurons over whose gradients the cosine is averaged.
    seeds
        Independent sets of samples.
    draws
        Neurons from which the feature sets of the control are counted.
    shuffled
        Samples of the control.
    seed
        Seed of all randomness.
    """
    grid = sorted(set(whole_numbers("sizes", sizes)))
    at_least(2, neurons=neurons, seeds=seeds)
    at_least(500, draws=draws)
    at_least(1000, shuffled=shuffled)
    at_least(0, seed=seed)

    from twolayer.experiments.gradient_features import laws

    predictions, trajectories, comparisons, findings = [], [], [], []
    for law in (laws.uniform_parity(), laws.multi_index(seed)):
        stage = Stage(progress, law.name)
        prediction, blind, measured = _cosines(law, grid, (neurons, seeds, seed), stage)
        predictions.append(prediction)
        trajectories.append(measured)
        comparison = compare(prediction, measured, tolerance=_ALLOWED)
        comparisons.append(comparison)
        findings.append(
            Finding(
                f"cosine law, {law.name}",
                f"Gradients of n samples of the law '{law.name}' have the predicted cosine with "
                "those of the law.",
                float(prediction.value[-1]),
                float(measured.value.mean(axis=0)[-1]),
                float(comparison.error[-1]),
                comparison.verdict,
                "derived here",
                f"{comparison.reason}; {_ALLOWED:g} is allowed for what the law leaves out",
            )
        )
        wrong = compare(blind, measured, tolerance=_ALLOWED)
        findings.append(
            Finding(
                f"control of the cosine law, {law.name}",
                "With the noise of all samples, rather than of those that a neuron sees, the law "
                "would miss.",
                "disagrees",
                wrong.verdict,
                0.0,
                "agrees" if wrong.verdict == "disagrees" else "disagrees",
                "derived here",
                wrong.reason,
            )
        )
    findings += _shuffled(laws.xor(seed, dim=30), draws, shuffled, seed)
    return Result(
        quantity="cosine with the gradient of the law",
        predictions=tuple(predictions),
        trajectories=tuple(trajectories),
        comparisons=tuple(comparisons),
        findings=tuple(findings),
    )


def _cosines(
    law: Law, sizes: list[int], counts: tuple[int, int, int], progress: Stage
) -> tuple[Prediction, Prediction, Trajectory]:
    """The predicted mean cosine, the one that counts too much noise, and the measured one."""
    import jax
    import numpy as np

    from twolayer.theory.gradient_features.finite_sample import expected_cosine
    from twolayer.theory.gradient_features.simplified_gradient import (
        sampled_gradient,
        simplified_gradient,
    )

    neurons, seeds, seed = counts
    W, b = law.neurons(neurons, [seed, 2000])
    exact = simplified_gradient(law.task, W, b)
    n = np.asarray(sizes, float)
    law_of_n, blind = (
        np.mean(expected_cosine(exact.norm[:, None], noise[:, None], n), axis=0)
        for noise in (exact.noise, np.full(neurons, float(law.dim)))
    )
    value = np.empty((seeds, len(sizes)))
    for s in range(seeds):
        for k, size in enumerate(sizes):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), s), size)
            found = sampled_gradient(law.task, W, b, num_samples=size, key=key).value
            inner = np.sum(found * exact.value, axis=1)
            value[s, k] = np.mean(inner / np.linalg.norm(found, axis=1) / exact.norm)
        progress(s + 1, seeds)
    details: dict[str, float | int | str] = {"dim": law.dim, "neurons": neurons}
    measured = Trajectory(
        law.name, n, value, ("finished",) * seeds, details=details, grid_name="samples"
    )
    first, second = (
        Prediction(law.name, n, curve, "asymptotic", "derived here", grid_name="samples")
        for curve in (law_of_n, blind)
    )
    return first, second, measured


def _shuffled(law: Law, draws: int, samples: int, seed: int) -> list[Finding]:
    """Feature sets of one sample as it is, and with its labels shuffled."""
    import jax
    import numpy as np

    from twolayer.theory.gradient_features.simplified_gradient import dataset_gradient

    x, y = (np.asarray(part) for part in law.task.sample(samples, key=jax.random.key(seed + 1)))
    W, b = law.neurons(draws, [seed, 3000])
    shuffled = np.random.default_rng(seed).permutation(y)
    found = []
    for labels, empty in ((y, False), (shuffled, True)):
        gradients = dataset_gradient(x, labels, W, b).value
        net = _net(gradients, b, law.gamma)
        right = (len(net) == 0) == empty
        found.append(
            Finding(
                "shuffled labels" if empty else "labels as they are",
                "With shuffled labels no direction is a gradient feature."
                if empty
                else "With its labels the same sample has gradient features.",
                "no features" if empty else "features",
                f"{len(net)} features" if len(net) else "no features",
                0.0,
                "agrees" if right else "disagrees",
                "derived here",
                f"p of at least {_LEAST:g} at {100 * net.confidence:.2f} percent confidence, "
                f"gamma = {law.gamma:g}, any length; {net.num_candidates} candidates, "
                f"{net.num_draws} draws counted",
            )
        )
    return found


def _net(gradients: np.ndarray, b: np.ndarray, gamma: float) -> FeatureSet:
    from twolayer.theory.gradient_features.feature_sets import feature_set

    return feature_set(
        gradients, b, gamma=gamma, least_norm=0.0, least_probability=_LEAST, confidence=0.9973
    )
