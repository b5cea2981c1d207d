r"""Bounds of the least free energy from slopes alone, in any dimension, with their confidence.

For the slopes r of a cloud of particles, or better their average over time,

.. math:: D(r) \le J^* \le J(\pi_r), \qquad
          D(r) = -\frac1n \sum_i l^*(r_i) - \tau \log E_\gamma e^{\psi(g_r(w))}

(derived here; see `dual`). The output weights are integrated out exactly; what is left is one
average over w, which is sampled: no grid, no density estimate and nothing of the particles but r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy import stats

from twolayer.free_energy import FreeEnergy, Particles
from twolayer.theory.langevin.averages import fenchel_gap, mean_conjugate, mean_loss
from twolayer.theory.langevin.importance import (
    PRIOR_SHARE,
    SampledUnits,
    bounded_upper_limit,
    effective_size,
    importance_units,
    skewed_upper_limit,
    tail_index,
    trusted_tail_index,
)
from twolayer.theory.langevin.normalisability import normalisability
from twolayer.theory.langevin.proximal_gibbs import (
    ProximalGibbs,
    field_bounds,
    proximal_gibbs,
)
from twolayer.theory.langevin.tempering import annealed_units, tempered_sample

Method = Literal["importance", "annealed"]
_LEAST_NODES = 100
_LEAST_EFFECTIVE = 400.0  # nodes that must carry the averages
_CLOUD = 1000  # points around which nodes are drawn
_RUNS = 50  # independent annealed runs
_LEAST_EFFECTIVE_RUNS = 40.0
_LEAST_ACCEPTANCE = 0.05


@dataclass(frozen=True)
class DualityCertificate:
    """What slopes certify about the least free energy ``J*``.

    Attributes
    ----------
    lower, upper
        Bounds of ``J*``, each of them right with probability `confidence` where `valid`; where
        not, `lower` is `guaranteed_lower` and `upper` infinite.
    guaranteed_lower
        A lower bound at the same confidence that needs no asymptotics and no diagnosis: from the
        boundedness of the weights (maurer2009empirical, Theorem 4). Minus infinity where the
        activation is unbounded.
    dual, dual_error
        The estimate of ``D(r)`` and its standard error.
    primal, primal_error
        The same for ``J(pi_r)``.
    gap, gap_error
        The same for ``J(pi_r) - D(r)``, in which the error of the partition function cancels.
    effective_samples
        How many equally weighted nodes (or runs) the partition function rests on.
    effective_outputs
        The same for the outputs.
    tail_index
        Of the largest weights, of which 0.7 at most is trusted; minus infinity for runs.
    valid
        Whether the sampling can be trusted.
    reason
        One sentence for people: why, or why not.
    confidence
        The one-sided confidence of each bound.
    law
        The proximal Gibbs law of the slopes.
    """

    lower: float
    upper: float
    guaranteed_lower: float
    dual: float
    dual_error: float
    primal: float
    primal_error: float
    gap: float
    gap_error: float
    effective_samples: float
    effective_outputs: float
    tail_index: float
    valid: bool
    reason: str
    confidence: float
    law: ProximalGibbs


def certify_particles(
    problem: FreeEnergy,
    particles: Particles | None = None,
    *,
    slopes: Float[np.ndarray, "n k"] | None = None,
    num_nodes: int = 20_000,
    confidence: float = 0.99,
    method: Method = "importance",
    key: PRNGKeyArray,
) -> DualityCertificate:
    r"""Bounds of ``J*`` from the slopes of some particles, or from given slopes.

    The gap is quadratic in the distance of r from the optimum's slopes: averages of the slopes
    over time give a far smaller one than one cloud does. The nodes are drawn afresh; slopes that
    were optimised on nodes of their own are no problem.

    - ``"importance"``: nodes from a defensive mixture around a tempered sample of the law. Standard
      errors, quantiles corrected for skewness, and Jensen's bias are in the bounds: D's is at the
      upper limit of the partition function.
    - ``"annealed"``: independent runs of sequential Monte Carlo, whose partition functions are
      unbiased; Student's quantiles over the runs. For many dimensions and low temperatures.

    A mode of the law that tempering never visits is beyond any sampling; only `guaranteed_lower`
    allows for it.

    Parameters
    ----------
    problem
        The free energy.
    particles
        Particles, whose outputs give the slopes.
    slopes
        Slopes, instead.
    num_nodes
        Nodes in all.
    confidence
        One-sided confidence of each bound.
    method
        How w is sampled.
    key
        Random key.

    Raises
    ------
    ValueError
        If not exactly one of particles and slopes is given, there are fewer than 100 nodes, or the
        confidence or the method is none.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1)
    >>> certificate = certify_particles(problem, slopes=np.array([-0.8]), key=jax.random.key(0))
    >>> certificate.valid, certificate.lower < 0.345 < certificate.upper
    (True, True)
    """
    _check(particles, slopes, num_nodes, confidence, method)
    if particles is not None:
        gibbs = proximal_gibbs(problem, particles)
    else:
        gibbs = ProximalGibbs(problem, np.asarray(slopes))
    existence = normalisability(gibbs)
    if not existence.holds:
        return _refused(gibbs, confidence, f"no certificate: {existence.detail}")
    seed = np.random.SeedSequence([int(word) for word in np.ravel(jax.random.key_data(key))])
    cloud_seed, unit_seed = seed.spawn(2)
    try:
        pilot = tempered_sample(gibbs, _CLOUD, np.random.default_rng(cloud_seed))
    except ValueError as error:
        return _refused(gibbs, confidence, f"no certificate: {error}")
    if method == "importance":
        return importance_certificate(gibbs, pilot.w, num_nodes, confidence, unit_seed)
    sizes = (_RUNS, max(2, num_nodes // _RUNS))
    units, acceptance = annealed_units(gibbs, pilot, sizes, unit_seed)
    diagnosis = _diagnosis_of_runs(gibbs, units, acceptance)
    guaranteed = _lower_bound(gibbs, _largest_tilt(gibbs))
    quantile = float(stats.t.ppf(confidence, _RUNS - 1))
    return _assembled(gibbs, units, diagnosis, (confidence, quantile, guaranteed))


def _check(particles, slopes, num_nodes, confidence, method) -> None:
    if (particles is None) == (slopes is None):
        given = "both" if slopes is not None else "none"
        message = f"Expected either particles or slopes. Received: {given}."
        raise ValueError(message)
    if isinstance(num_nodes, bool) or not num_nodes >= _LEAST_NODES:
        message = f"Expected at least {_LEAST_NODES} nodes. Received: {num_nodes!r}."
        raise ValueError(message)
    if not 0.5 <= confidence < 1:
        message = f"Expected a confidence from 0.5 to below 1. Received: {confidence!r}."
        raise ValueError(message)
    if method not in {"importance", "annealed"}:
        message = f"Expected method 'importance' or 'annealed'. Received: {method!r}."
        raise ValueError(message)


def _refused(gibbs: ProximalGibbs, confidence: float, reason: str) -> DualityCertificate:
    nan, inf = math.nan, math.inf
    lower = _lower_bound(gibbs, _largest_tilt(gibbs))
    return DualityCertificate(
        lower, inf, lower, nan, inf, nan, inf, nan, inf, 0.0, 0.0, inf, False, reason, confidence,
        gibbs,
    )  # fmt: skip


def importance_certificate(
    gibbs: ProximalGibbs,
    cloud: Float[np.ndarray, "N p"],
    num_nodes: int,
    confidence: float,
    seed: np.random.SeedSequence,
) -> DualityCertificate:
    """The certificate with nodes drawn around a given cloud of input weights."""
    units = importance_units(gibbs, cloud, num_nodes, seed)
    weights = np.exp(units.log_weights - units.log_weights.max())
    largest = _largest_tilt(gibbs)
    top = float(units.log_weights.max())
    limit = bounded_upper_limit(weights, largest - math.log(PRIOR_SHARE) - top, confidence) + top
    guaranteed = _lower_bound(gibbs, min(limit, largest))
    quantile = float(stats.norm.ppf(confidence))
    diagnosis = _diagnosis_of_nodes(gibbs, units, weights)
    return _assembled(gibbs, units, diagnosis, (confidence, quantile, guaranteed))


class _Diagnosis(NamedTuple):
    effective: float
    effective_outputs: float
    index: float
    valid: bool
    reason: str


def _diagnosis_of_nodes(
    gibbs: ProximalGibbs, units: SampledUnits, weights: Float[np.ndarray, " q"]
) -> _Diagnosis:
    effective = effective_size(weights)
    of_outputs = effective_size(weights * units.sizes)
    # outputs that vanish are known without any node
    least = min(effective, of_outputs) if of_outputs else effective
    index = tail_index(weights)
    at = f"at temperature {float(gibbs.problem.temperature):g}"
    reason, valid = f"effective sample size {least:.0f} of {len(weights)} {at}", True
    if least < _LEAST_EFFECTIVE:
        reason, valid = f"{reason} is below {_LEAST_EFFECTIVE:.0f}", False
    elif index > trusted_tail_index(len(weights)):
        most = trusted_tail_index(len(weights))
        reason, valid = f"tail index {index:.2f} of the weights {at} is above {most:.2f}", False
    if not valid:
        reason = f"no certificate: {reason}; take more nodes, or method 'annealed'"
    return _Diagnosis(effective, of_outputs, index, valid, reason)


def _diagnosis_of_runs(gibbs: ProximalGibbs, units: SampledUnits, acceptance: float) -> _Diagnosis:
    weights = np.exp(units.log_weights - units.log_weights.max())
    effective = effective_size(weights)
    of_outputs = effective_size(weights * units.sizes)
    at = f"at temperature {float(gibbs.problem.temperature):g}"
    reason, valid = f"effective number {effective:.1f} of {len(weights)} annealed runs {at}", True
    if effective < _LEAST_EFFECTIVE_RUNS:
        reason, valid = f"{reason} is below {_LEAST_EFFECTIVE_RUNS:g}", False
    elif acceptance < _LEAST_ACCEPTANCE:
        reason, valid = f"only {acceptance:.3f} of the annealed moves are accepted {at}", False
    if not valid:
        reason = f"no certificate: {reason}; take more nodes"
    return _Diagnosis(effective, of_outputs, -math.inf, valid, reason)


def _largest_tilt(gibbs: ProximalGibbs) -> float:
    """A bound of the tilt over all w."""
    bounds = field_bounds(gibbs)
    if not math.isfinite(bounds.largest):
        return math.inf
    if gibbs.problem.output == "free":
        return float(gibbs.output.log_tilt(np.array(bounds.largest)))
    ends = np.stack([bounds.low, bounds.high])
    return float(gibbs.output.log_tilt(ends).max(axis=0).sum())


def _lower_bound(gibbs: ProximalGibbs, log_partition: float) -> float:
    """``D(r)`` with this in place of ``log Z``."""
    return -mean_conjugate(gibbs.problem, gibbs.slopes) - (
        float(gibbs.problem.temperature) * log_partition
    )


def _assembled(
    gibbs: ProximalGibbs,
    units: SampledUnits,
    diagnosis: _Diagnosis,
    confidence_quantile_guaranteed: tuple[float, float, float],
) -> DualityCertificate:
    """The bounds from independent units.

    The gap is convex in the outputs, so that noise biases its estimate upwards, by half their
    variance: the estimate is corrected for it, the bound is not.
    """
    confidence, quantile, guaranteed = confidence_quantile_guaranteed
    problem, tau, f = gibbs.problem, float(gibbs.problem.temperature), units.outputs
    top = units.log_weights.max()
    weights = np.exp(units.log_weights - top)
    log_partition = float(top + np.log(weights.mean()))
    weights /= weights.mean()
    dual = _lower_bound(gibbs, log_partition)
    tied = float(np.sum(gibbs.slopes * f)) / problem.num_samples
    primal = mean_loss(problem, f) - tied - tau * log_partition
    gap_terms = weights * units.linear
    primal_terms = gap_terms - tau * (weights - 1)
    bias = float(np.sum(weights**2 * units.noise)) / (2 * len(weights) ** 2)
    root = math.sqrt(len(weights) - 1)
    excess = skewed_upper_limit(primal_terms, quantile) - float(primal_terms.mean())
    return DualityCertificate(
        lower=dual - tau * math.log(skewed_upper_limit(weights, quantile))
        if diagnosis.valid
        else guaranteed,
        upper=primal + excess if diagnosis.valid else math.inf,
        guaranteed_lower=guaranteed,
        dual=dual,
        dual_error=tau * float(weights.std()) / root,
        primal=primal,
        primal_error=float(primal_terms.std()) / root,
        gap=max(0.0, fenchel_gap(problem, gibbs.slopes, f) - bias),
        gap_error=math.hypot(float(gap_terms.std()) / root, bias),
        effective_samples=diagnosis.effective,
        effective_outputs=diagnosis.effective_outputs,
        tail_index=diagnosis.index,
        valid=diagnosis.valid,
        reason=diagnosis.reason,
        confidence=confidence,
        law=gibbs,
    )
