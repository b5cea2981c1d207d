"""Importance sampling of a neuron's input weights, in any dimension, with diagnoses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from twolayer.theory.langevin.averages import curvatures
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, features, loss_slopes

PRIOR_SHARE = 0.2
_KERNEL_VARIANCE = 0.36  # of the reference's
_CHUNK = 1024


@dataclass(frozen=True)
class Proposal:
    r"""A defensive mixture of the reference and of kernels around a cloud of points.

    .. math:: q = 0.2\, N(0, \sigma^2 I) + 0.8\, \frac1N \sum_j N(c_j, 0.36\, \sigma^2 I),
              \qquad \sigma^2 = \tau / \lambda_w

    The first share bounds every weight by five times the tilt, whatever the cloud.

    Attributes
    ----------
    cloud
        The centres.
    variance
        The variance of the reference.
    """

    cloud: Float[np.ndarray, "N p"]
    variance: float

    def sample(self, num_nodes: int, rng: np.random.Generator) -> Float[np.ndarray, "q p"]:
        """Independent draws."""
        dim = self.cloud.shape[1]
        centres = self.cloud[rng.integers(len(self.cloud), size=num_nodes)]
        noise = rng.normal(size=(num_nodes, dim)) * math.sqrt(self.variance)
        defensive = rng.uniform(size=(num_nodes, 1)) < PRIOR_SHARE
        return np.where(defensive, noise, centres + math.sqrt(_KERNEL_VARIANCE) * noise)

    def log_ratio(self, w: Float[np.ndarray, "q p"]) -> Float[np.ndarray, " q"]:
        """``log(gamma / q)``: at most log 5."""
        squares = np.sum(w**2, axis=1)
        distances = squares[:, None] + np.sum(self.cloud**2, axis=1) - 2 * w @ self.cloud.T
        exponent = -distances / (2 * _KERNEL_VARIANCE * self.variance)
        top = exponent.max(axis=1)
        kernels = top + np.log(np.mean(np.exp(exponent - top[:, None]), axis=1))
        kernels += squares / (2 * self.variance) - w.shape[1] / 2 * math.log(_KERNEL_VARIANCE)
        return -np.logaddexp(math.log(PRIOR_SHARE), math.log(1 - PRIOR_SHARE) + kernels)


def chunks(
    proposal: Proposal, num_nodes: int, seed: np.random.SeedSequence
) -> Iterator[tuple[slice, Float[np.ndarray, "q p"]]]:
    """The same draws each time, a thousand at once, and which they are."""
    starts = range(0, num_nodes, _CHUNK)
    for start, child in zip(starts, np.random.SeedSequence(
        seed.entropy, spawn_key=(*seed.spawn_key, 0)
    ).spawn(len(starts)), strict=True):  # fmt: skip
        count = min(_CHUNK, num_nodes - start)
        yield slice(start, start + count), proposal.sample(count, np.random.default_rng(child))


def defensive_mixture(gibbs: ProximalGibbs, cloud: Float[np.ndarray, "N p"]) -> Proposal:
    """The proposal around a cloud, mirrored where w and -w have the same density.

    They have if the feature is odd or even and the output weight can have either sign.
    """
    facts = gibbs.problem.activation.facts
    if gibbs.problem.output != "fixed" and -1 in {facts.even_degree, facts.odd_degree}:
        cloud = np.concatenate([cloud, -cloud])
    return Proposal(cloud, float(gibbs.problem.temperature) / float(gibbs.problem.input_decay))


class SampledUnits(NamedTuple):
    """Independent units, nodes or runs, that estimate averages under a proximal Gibbs law.

    Attributes
    ----------
    outputs
        The estimate f of the outputs from all of them.
    log_weights
        Of each unit; the mean weight estimates the partition function.
    linear
        ``sum_i (l'(f_i) - r_i) (phi_i - f_i) / n``: what the unit's own outputs phi would add to
        the gap in first order.
    noise
        ``sum_i l''(f_i) (phi_i - f_i)^2 / n``.
    sizes
        The norm of phi.
    """

    outputs: Float[np.ndarray, "n k"]
    log_weights: Float[np.ndarray, " u"]
    linear: Float[np.ndarray, " u"]
    noise: Float[np.ndarray, " u"]
    sizes: Float[np.ndarray, " u"]


def importance_units(
    gibbs: ProximalGibbs,
    cloud: Float[np.ndarray, "N p"],
    num_nodes: int,
    seed: np.random.SeedSequence,
) -> SampledUnits:
    """Nodes drawn around a cloud of input weights.

    Two passes over the same nodes, a thousand at a time; a few numbers a node are kept.
    """
    proposal = defensive_mixture(gibbs, cloud)
    log_weights, sizes = np.empty(num_nodes), np.empty(num_nodes)
    total, top = np.zeros(gibbs.slopes.shape), -math.inf
    for part, w in chunks(proposal, num_nodes, seed):
        s, mean, tilt = at_nodes(gibbs, w)
        log_weights[part] = tilt + proposal.log_ratio(w)
        sizes[part] = np.sqrt(np.sum(s**2, axis=1) * np.sum(mean**2, axis=1))
        higher = max(top, float(log_weights[part].max()))
        total *= math.exp(top - higher)
        top = higher
        total += s.T @ (np.exp(log_weights[part] - top)[:, None] * mean)
    f = total / np.exp(log_weights - top).sum()
    pull, bend = sensitivities(gibbs, f)
    linear, noise = np.empty(num_nodes), np.empty(num_nodes)
    for part, w in chunks(proposal, num_nodes, seed):
        s, mean, _ = at_nodes(gibbs, w)
        linear[part] = np.sum((s @ pull) * mean, axis=1) - np.sum(pull * f)
        squares = (s**2 @ bend) * mean**2 - 2 * (s @ (bend * f)) * mean
        noise[part] = np.sum(squares, axis=1) + np.sum(bend * f**2)
    return SampledUnits(f, log_weights, linear, noise, sizes)


def at_nodes(
    gibbs: ProximalGibbs, w: Float[np.ndarray, "q p"]
) -> tuple[Float[np.ndarray, "q n"], Float[np.ndarray, "q k"], Float[np.ndarray, " q"]]:
    """Features, conditional means of the output weights, and tilts."""
    s = features(gibbs.problem, w)
    moments = gibbs.output.moments(s @ gibbs.slopes / gibbs.problem.num_samples)
    return s, moments.mean, moments.log_tilt.sum(axis=1)


def sensitivities(
    gibbs: ProximalGibbs, f: Float[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """The derivatives of the gap in the outputs: ``(l'(f) - r) / n`` and ``l''(f) / n``."""
    n = gibbs.problem.num_samples
    return (loss_slopes(gibbs.problem, f) - gibbs.slopes) / n, curvatures(gibbs.problem, f) / n


def effective_size(weights: Float[np.ndarray, " u"]) -> float:
    """``(sum w)^2 / sum w^2``: as many equal weights would do as well."""
    squares = float(np.sum(weights**2))
    return float(weights.sum() ** 2) / squares if squares > 0 else 0.0


def tail_index(weights: Float[np.ndarray, " q"]) -> float:
    """The index k of the generalised Pareto law fitted to the largest weights.

    vehtari2024pareto, whose estimate of k (after Zhang and Stephens) and number of tail weights
    ``min(q / 5, 3 sqrt(q))`` are used. Minus infinity where the largest weights are equal.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> bool(abs(tail_index(rng.uniform(size=100_000) ** -0.5) - 0.5) < 0.1)
    True
    """
    ordered = np.sort(weights)
    num_tail = int(min(len(ordered) / 5, 3 * math.sqrt(len(ordered))))
    if num_tail < 5:
        return math.inf
    excess = ordered[-num_tail:] - ordered[-num_tail - 1]
    largest, quarter = excess[-1], excess[int(num_tail / 4 + 0.5) - 1]
    if not largest > 1e-12 * abs(ordered[-1]) or quarter <= 0:
        return -math.inf
    num_guesses = 30 + int(math.sqrt(num_tail))
    spread = 1 - np.sqrt(num_guesses / (np.arange(1, num_guesses + 1) - 0.5))
    rates = 1 / largest + spread / (3 * quarter)
    shapes = np.array([np.mean(np.log1p(-rate * excess)) for rate in rates])
    profile = num_tail * (np.log(-rates / shapes) - shapes - 1)
    posterior = np.exp(profile - profile.max())
    rate = float(posterior @ rates / posterior.sum())
    shape = float(np.mean(np.log1p(-rate * excess)))
    # a weak prior towards 1/2 with the weight of ten observations
    return (num_tail * shape + 10 * 0.5) / (num_tail + 10)


def trusted_tail_index(num_weights: int) -> float:
    """The largest index at which a mean of so many weights is trusted: vehtari2024pareto, (13).

    Examples
    --------
    >>> trusted_tail_index(100), trusted_tail_index(100_000)
    (0.5, 0.7)
    """
    return min(1 - 1 / math.log10(num_weights), 0.7)


def skewed_upper_limit(values: Float[np.ndarray, " q"], quantile: float) -> float:
    r"""One-sided upper confidence limit of a mean, corrected for the skewness of the sample.

    .. math:: \bar x + \frac{s}{\sqrt m}\Bigl(z + \max\Bigl(0, \frac{\hat\gamma (2 z^2 + 1)}
              {6 \sqrt m}\Bigr)\Bigr)

    the Edgeworth correction of Student's statistic (textbook), never in the other direction.
    """
    deviations = values - values.mean()
    spread = float(np.sqrt(np.mean(deviations**2)))
    if spread == 0:
        return float(values.mean())
    root = math.sqrt(len(values) - 1)
    skewness = float(np.mean(deviations**3)) / spread**3
    shift = quantile + max(0.0, skewness * (2 * quantile**2 + 1) / (6 * root))
    return float(values.mean()) + spread / root * shift


def bounded_upper_limit(
    weights: Float[np.ndarray, " q"], log_range: float, confidence: float
) -> float:
    """Log of an upper limit of a mean of weights in ``[0, exp(log_range)]``.

    maurer2009empirical, Theorem 4: right at this confidence for any law of the weights.

    Examples
    --------
    >>> bool(0.5 < np.exp(bounded_upper_limit(np.tile([0.0, 1.0], 5000), 0.0, 0.99)) < 0.52)
    True
    """
    m, log_two = len(weights), math.log(2 / (1 - confidence))
    if math.isinf(log_range):
        return math.inf
    near = float(weights.mean()) + math.sqrt(2 * float(weights.var(ddof=1)) * log_two / m)
    rest = log_range + math.log(7 * log_two / (3 * (m - 1)))
    return float(np.logaddexp(math.log(near), rest)) if near > 0 else rest
