"""The optimum's slopes where there are too many input weights for quadrature."""

from __future__ import annotations

import math

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from twolayer.free_energy import FreeEnergy
from twolayer.theory.langevin.dual import feasible_start, newton
from twolayer.theory.langevin.importance import defensive_mixture, effective_size
from twolayer.theory.langevin.normalisability import normalisability
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, features, loss_slopes
from twolayer.theory.langevin.quadrature import LARGEST_TABLE, InputNodes
from twolayer.theory.langevin.tempering import (
    Tempered,
    retargeted_sample,
    tempered_sample,
)

_FAR_SIGHTED = 2  # rounds on nodes around a sample
_CLOUD = 1000
_EFFECTIVE = 0.5
_SHORTEST = 2.0**-20


def sampled_optimum_slopes(
    problem: FreeEnergy, *, num_nodes: int = 5_000, max_rounds: int = 40, key: PRNGKeyArray
) -> Float[np.ndarray, "n k"]:
    r"""Slopes close to those of the optimum, in any dimension: for `certify_particles`.

    Newton's method on the dual with samples in place of quadrature. First on nodes drawn around a
    sample of the current proximal Gibbs law, which see farther; then on a sample itself, whose
    weights are even in any dimension, as far towards the optimum on it as half of its effective
    size is kept for the new law. The sample is then moved to that law, and so on until a whole
    step was taken twice. The dual's value on the nodes is worthless, for the slopes fit them:
    `certify_particles` has fresh ones. The gap of the slopes is of order n / nodes. Derived here.

    Raises
    ------
    ValueError
        If a number is below 1, the nodes don't fit into memory, the growth of the activation is
        not known, or tempering does not reach the temperature.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1)
    >>> r = sampled_optimum_slopes(problem, key=jax.random.key(0))
    >>> bool(abs(r[0, 0] + 0.6226) < 0.01)
    True
    """
    if isinstance(num_nodes, bool) or min(num_nodes, max_rounds) < 1:
        message = "Expected at least one node and one round. "
        message += f"Received: {num_nodes!r} and {max_rounds!r}."
        raise ValueError(message)
    if num_nodes * problem.num_samples > LARGEST_TABLE:
        message = f"Expected nodes that fit into memory. Received: {num_nodes} for "
        message += f"{problem.num_samples} samples."
        raise ValueError(message)
    rng = np.random.default_rng([int(word) for word in np.ravel(jax.random.key_data(key))])
    f = feasible_start(problem)
    for _ in range(_FAR_SIGHTED):
        nodes = _around(ProximalGibbs(problem, loss_slopes(problem, f)), num_nodes, rng)
        f, _ = newton(problem, lambda _, fixed=nodes: fixed, f)
    gibbs = ProximalGibbs(problem, loss_slopes(problem, f))
    sample = tempered_sample(gibbs, num_nodes, rng)
    whole = 0
    for _ in range(max_rounds):
        nodes = _nodes(gibbs, sample)
        target, _ = newton(problem, lambda _, fixed=nodes: fixed, f)
        length = _longest_step(gibbs, nodes, f, target)
        f = f + length * (target - f)
        before, gibbs = gibbs, ProximalGibbs(problem, loss_slopes(problem, f))
        whole += length == 1
        if whole == 2:
            break
        sample = retargeted_sample(gibbs, sample, before, rng)
    return gibbs.slopes


def _around(gibbs: ProximalGibbs, num_nodes: int, rng: np.random.Generator) -> InputNodes:
    """Nodes of the defensive mixture around a tempered sample."""
    cloud = tempered_sample(gibbs, min(num_nodes, _CLOUD), rng).w
    proposal = defensive_mixture(gibbs, cloud)
    w = proposal.sample(num_nodes, rng)
    log_weights = proposal.log_ratio(w) - math.log(num_nodes)
    return InputNodes(w, features(gibbs.problem, w), log_weights)


def _nodes(gibbs: ProximalGibbs, sample: Tempered) -> InputNodes:
    """The reference is the law against its tilt."""
    log_weights = (
        float(sample.log_partitions[0]) - gibbs.log_tilt(sample.w) - math.log(len(sample.w))
    )
    return InputNodes(sample.w, features(gibbs.problem, sample.w), log_weights)


def _longest_step(
    gibbs: ProximalGibbs, nodes: InputNodes, f: np.ndarray, target: np.ndarray
) -> float:
    """The first of 1, 1/2, 1/4, ... that leaves the nodes enough of their effective size."""
    problem = gibbs.problem
    length = 1.0
    while length > _SHORTEST:
        r = loss_slopes(problem, f + length * (target - f))
        new = ProximalGibbs(problem, r)
        if normalisability(new).holds:
            g = nodes.features @ r / problem.num_samples
            log_weights = nodes.log_weights + new.output.log_tilt(g).sum(axis=1)
            weights = np.exp(log_weights - log_weights.max())
            if effective_size(weights) >= _EFFECTIVE * len(weights):
                break
        length /= 2
    return length
