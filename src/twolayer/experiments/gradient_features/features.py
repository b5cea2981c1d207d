"""Which features the first gradient finds, law by law, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.experiments.options import Stage, at_least
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, PhaseDiagram
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.experiments.gradient_features.laws import Law
    from twolayer.outcomes import Verdict

_DERIVED = "derived here"
_CONFIDENCE = 0.9973  # three standard deviations
_BLOCKS = 128  # behind each standard error
_RARE = 0.001  # a probability that counts as none
_FEW = (0.0005, 0.005)  # a few in a thousand
_CENTRED = 0.99  # the cosine of a mean with its feature in the net, well inside the cone's 0.95
_RULE = 0.002  # relative error of the rule behind the probability of XOR's features


@experiment(
    paper="gradient_features",
    statement="The gradient at the start points along few directions that the law of the data "
    "names, each with the probability that its geometry gives.",
    reference="feature sets of shi2023provable as recalled; probabilities derived here",
    quick={"draws": 4000, "neurons": 40, "samples": 16_384},
)
def gradient_feature_sets(
    *,
    draws: int = 20_000,
    neurons: int = 100,
    samples: int = 65_536,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Gradient features of mixtures, parities, and functions of few projections.

    For each law: the closed form of the gradient against plain averages over samples, and how
    often gradients of independently drawn neurons fall into the cones of the features.

    Parameters
    ----------
    draws
        Independent neurons (w, b) from which probabilities are counted.
    neurons
        Neurons whose gradients are also averaged over samples, to check the closed forms.
    samples
        Samples in those averages.
    seed
        Seed of all randomness.
    """
    at_least(1000, draws=draws)
    at_least(2, neurons=neurons)
    at_least(1000, samples=samples)
    at_least(0, seed=seed)

    from twolayer.experiments.gradient_features import laws
    from twolayer.theory.gradient_features.simplified_gradient import simplified_gradient

    cases: list[Law] = [
        laws.clusters(seed), laws.xor(seed), laws.one_block(seed), laws.three_blocks(seed, 0.0),
        laws.three_blocks(seed, 8.0), laws.uniform_parity(), laws.linear(seed),
        laws.multi_index(seed),
    ]  # fmt: skip
    judges = (
        _clusters, _xor, _one_block, _sum_of_blocks, _single_blocks, _uniform_parity, _linear,
        _multi_index,
    )  # fmt: skip
    findings, diagrams, table = [], [], []
    stage = Stage(progress, "laws")
    for k, (law, judge) in enumerate(zip(cases, judges, strict=True)):
        findings.append(_closed_form(law, neurons, samples, seed))
        W, b = law.neurons(draws, [seed, k])
        found = simplified_gradient(law.task, W, b)
        findings += judge(law, found.value, b)
        table.append(_row(law, found.value, b))
        if law.name == "XOR":
            diagrams.append(_over_gamma_and_norm(law, found.value, b))
        stage(k + 1, len(cases))
    columns = "law, neurons, thresholds, gamma, B_G, features in the net, sum of their p"
    details = {"columns": columns, "table": table, "draws": draws}
    return Result(findings=tuple(findings), diagrams=tuple(diagrams), details=details)


def _closed_form(law: Law, neurons: int, samples: int, seed: int) -> Finding:
    """The closed form against the average over samples, entry by entry."""
    import jax
    import numpy as np
    from scipy.special import stdtrit

    from twolayer.theory.gradient_features.simplified_gradient import (
        sampled_gradient,
        simplified_gradient,
    )

    W, b = law.neurons(neurons, [seed, 1000])
    closed = simplified_gradient(law.task, W, b)
    sampled = sampled_gradient(law.task, W, b, num_samples=samples, key=jax.random.key(seed))
    # A rare event may bring or lack a few samples of the longest there are.
    slack = closed.error + 3 * np.sqrt(np.max(closed.second_moment)) / samples
    if closed.kind == "asymptotic":
        slack = slack + closed.norm[:, None] / law.dim  # of relative order 1/d
    gap = np.abs(sampled.value - closed.value) - slack
    worst = float(np.max(gap / np.maximum(sampled.error, 1e-12)))
    # What the largest of so many entries passes by chance as rarely as one does three deviations.
    largest = float(stdtrit(_BLOCKS - 1, 1 - (1 - _CONFIDENCE) / 2 / np.size(gap)))
    verdict: Verdict = "agrees" if worst <= largest else "disagrees"
    return Finding(
        f"closed form, {law.name}",
        f"The {closed.kind} gradient of the law '{law.name}' is the average over samples, each "
        "entry within its standard error.",
        f"at most {largest:.1f} standard errors",
        worst,
        0.0,
        verdict,
        _DERIVED,
        f"the largest of {np.size(gap)} entries, {sampled.num_samples} samples",
    )


def _clusters(law: Law, gradients: np.ndarray, b: np.ndarray) -> list[Finding]:
    import numpy as np

    from twolayer.theory.gradient_features.feature_sets import feature_set
    from twolayer.theory.gradient_features.hit_probabilities import exclusive_hit_probability

    low, high = exclusive_hit_probability(1.4, 0.3, 1.0, len(law.features))
    net = feature_set(
        gradients, b, gamma=law.gamma, least_norm=law.least_norm, least_probability=low / 2,
        confidence=_CONFIDENCE,
    )  # fmt: skip
    own = net.directions[net.signs == 1]
    nearest = np.max(np.abs(law.features @ own.T), axis=1, initial=0.0)
    return [
        probability(
            "clusters, thresholds above 0",
            "A neuron whose threshold one cluster alone passes has a gradient along its mean.",
            (low, high), _hits(law, gradients, b, 1), len(law.features),
        ),
        probability(
            "clusters, thresholds below 0",
            "No neuron whose threshold lets most clusters pass points along the mean of one.",
            (0.0, _RARE), _hits(law, gradients, b, -1), len(law.features),
        ),
        Finding(
            "clusters, net", "The net of features found from gradients alone holds every mean.",
            f"cosines of at least {_CENTRED:g}", float(nearest.min()), 0.0,
            "agrees" if nearest.min() >= _CENTRED else "disagrees", _DERIVED,
            f"{len(own)} features with thresholds above 0",
        ),
    ]  # fmt: skip


def _xor(law: Law, gradients: np.ndarray, b: np.ndarray) -> list[Finding]:
    from dataclasses import replace

    from twolayer.experiments.gradient_features.laws import XOR_SIZE
    from twolayer.theory.gradient_features.hit_probabilities import xor_hit_probability

    found = []
    for least in (law.least_norm, 0.0):
        p = xor_hit_probability(law.dim, XOR_SIZE, 1.0, gamma=law.gamma, least_norm=least)
        hits = _hits(replace(law, least_norm=least), gradients, b, 1)
        hits = (hits[0] + _hits(replace(law, least_norm=least), gradients, b, -1)[0], hits[1])
        found.append(
            probability(
                f"XOR, B_G = {least:g}",
                "Each mean of an XOR mixture is a feature, for either sign of the threshold.",
                (p * (1 - _RULE), p * (1 + _RULE)), hits, 4,
            )
        )  # fmt: skip
    return found


def _one_block(law: Law, gradients: np.ndarray, b: np.ndarray) -> list[Finding]:
    return [
        probability(
            f"structured parity, sign {sign:+d}",
            "Every gradient points along the sum of the relevant units.",
            (0.5, 0.5), _hits(law, gradients, b, sign), 1,
        )
        for sign in (1, -1)
    ]  # fmt: skip


def _sum_of_blocks(law: Law, gradients: np.ndarray, b: np.ndarray) -> list[Finding]:
    from dataclasses import replace

    import numpy as np

    total = replace(law, features=np.sum(law.features, axis=0, keepdims=True) / np.sqrt(3))
    return [
        probability(
            "three blocks, their sum at b = 0",
            "Without a threshold every gradient points along the sum of all blocks.",
            (0.5, 0.5), _hits(total, gradients, b, 1), 1,
        ),
        probability(
            "three blocks, each at b = 0", "Without a threshold no block is a feature by itself.",
            (0.0, _RARE), _hits(law, gradients, b, 1), 3,
        ),
    ]  # fmt: skip


def _single_blocks(law: Law, gradients: np.ndarray, b: np.ndarray) -> list[Finding]:
    """With a large threshold single blocks are features, though rare ones."""
    from dataclasses import replace

    from twolayer.theory.gradient_features.feature_sets import clopper_pearson

    single = [
        _hits(replace(law, features=feature[None]), gradients, b, 1)[0] for feature in law.features
    ]
    hits, draws = _hits(law, gradients, b, 1)
    lower, upper = (float(end) / 3 for end in clopper_pearson(hits, draws, _CONFIDENCE))
    verdict: Verdict = "disagrees" if upper < _FEW[0] or lower > _FEW[1] else "undecided"
    if verdict != "disagrees" and min(single) > 0 and lower >= _FEW[0] / 3:
        verdict = "agrees"
    return [
        Finding(
            f"three blocks, each at b = {law.threshold:g}",
            "With a large threshold each block is a feature by itself, of a few in a thousand "
            "neurons.",
            f"{_FEW[0]:g} to {_FEW[1]:g}", hits / draws / 3, (upper - lower) / 6, verdict, _DERIVED,
            f"between {lower:.2g} and {upper:.2g}, {' + '.join(map(str, single))} of {draws} draws "
            "in three cones",
        )
    ]  # fmt: skip


def _uniform_parity(law: Law, gradients: np.ndarray, b: np.ndarray) -> list[Finding]:
    return [
        probability(
            "uniform parity",
            "Neurons with signs as weights have their own signs on the relevant coordinates as "
            "feature, 2^-k of them each.",
            (0.25, 0.25), _hits(law, gradients, b, 1), 2,
        )
    ]  # fmt: skip


def _linear(law: Law, gradients: np.ndarray, b: np.ndarray) -> list[Finding]:
    return [
        probability(
            "linear", "Every gradient is the direction of the labels, of length 0.3989.",
            (0.5, 0.5), _hits(law, gradients, b, 1), 1,
        )
    ]  # fmt: skip


def _multi_index(law: Law, gradients: np.ndarray, b: np.ndarray) -> list[Finding]:
    import numpy as np

    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.theory.gradient_features.hit_probabilities import planar_hit_probability

    p, slack = planar_hit_probability(law.gamma), 1 / law.dim
    inside = np.linalg.norm(gradients @ law.features.T, axis=1)
    outside = 1 - inside / np.linalg.norm(gradients, axis=1)
    mean, error = (float(part) for part in mean_and_error(outside))
    predicted = 1 / (8 * law.dim)
    off = abs(mean - predicted)
    verdict: Verdict = "agrees" if off <= 3 * error + 5 * predicted / law.dim else "disagrees"
    return [
        probability(
            "multi-index",
            "Gradients point evenly into the plane of the two projections: either is a feature.",
            (p * (1 - slack), p * (1 + slack)), _hits(law, gradients, b, 1), 2,
        ),
        Finding(
            "multi-index, plane",
            "What gradients have outside the plane of the projections shrinks as one over the "
            "dimension.",
            predicted, mean, error, verdict, _DERIVED,
            "one minus the cosine with the plane, 1 / (8 d) up to a relative 5 / d",
        ),
    ]  # fmt: skip


def probability(
    name: str,
    statement: str,
    predicted: tuple[float, float],
    counted: tuple[int, int],
    features: int,
) -> Finding:
    """Whether a probability lies in the predicted range, by its Clopper-Pearson interval.

    Parameters
    ----------
    name, statement
        Of the finding.
    predicted
        The lowest and the highest value of the probability of each feature.
    counted
        Hits, and independent draws.
    features
        How many features, which exclude each other, the hits are of.
    """
    from twolayer.theory.gradient_features.feature_sets import clopper_pearson

    hits, draws = counted
    lower, upper = (float(end) / features for end in clopper_pearson(hits, draws, _CONFIDENCE))
    low, high = predicted
    verdict: Verdict = "agrees" if lower <= high and upper >= low else "disagrees"
    if verdict == "agrees" and upper - lower > max(high, 2 * _RARE):
        verdict = "undecided"
    return Finding(
        name, statement, low if low == high else f"{low:.4g} to {high:.4g}",
        hits / draws / features, (upper - lower) / 6, verdict, _DERIVED,
        f"interval {lower:.4g} to {upper:.4g} from {draws} draws",
    )  # fmt: skip


def _hits(law: Law, gradients: np.ndarray, b: np.ndarray, sign: int) -> tuple[int, int]:
    """Hits of any of the law's features, and draws that had that sign's chance.

    Thresholds that are 0 take either sign in turn.
    """
    from twolayer.theory.gradient_features.feature_sets import hit_probability

    shares = [
        float(
            hit_probability(
                feature, sign, gradients, b, gamma=law.gamma, least_norm=law.least_norm
            ).value
        )
        for feature in law.features
    ]
    return round(sum(shares) * len(b)), len(b)


def _row(law: Law, gradients: np.ndarray, b: np.ndarray) -> list[float | int | str]:
    """One line of the table of feature sets."""
    from twolayer.theory.gradient_features.feature_sets import feature_set

    net = feature_set(
        gradients, b, gamma=law.gamma, least_norm=law.least_norm, least_probability=0.01
    )
    return [
        law.name, len(b), law.threshold, law.gamma, law.least_norm, len(net),
        float(net.probability.sum()),
    ]  # fmt: skip


def _over_gamma_and_norm(law: Law, gradients: np.ndarray, b: np.ndarray) -> PhaseDiagram:
    """The probability of one feature over the cone's reach and the least length."""
    import numpy as np

    from twolayer.theory.gradient_features.feature_sets import hit_probability

    gamma, least = np.geomspace(0.005, 0.5, 13), np.linspace(0, 0.3, 13)
    found = hit_probability(
        law.features[0], 1, gradients, b, gamma=gamma[:, None], least_norm=least[None]
    )
    return PhaseDiagram(
        "p of one mean of XOR", gamma, least, "gamma", "B_G", found.value,
        (found.upper - found.lower) / 4,
    )  # fmt: skip
