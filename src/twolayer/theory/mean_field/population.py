"""The law of the neurons in the coordinates that matter: (a, w, s)."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import ndtri
from scipy.stats import chi2

from twolayer.numerics.quadrature import gauss_legendre, spread_points

Numbers = Array | np.ndarray


class Population(eqx.Module):
    """Neurons ``(a, w, s)`` and their weights in the mean over neurons.

    A target of p coordinates leaves the law of the neurons invariant under rotations of the
    other ``d - p`` directions, so a neuron is known by three things (derived here, after the
    dimension-free dynamics of abbe2022merged on the hypercube).

    Attributes
    ----------
    a
        Output weights.
    w
        Input weights on the coordinates that the target reads.
    s
        Lengths of the input weights on all other coordinates, non-negative.
    weight
        The share of each neuron; they sum to 1.
    """

    a: Float[Numbers, "*t m"]
    w: Float[Numbers, "*t m p"]
    s: Float[Numbers, "*t m"]
    weight: Float[Numbers, " m"]


def limit_population(subspace_dim: int, num_neurons: int, noise: float = 1.0) -> Population:
    """The initial law at d = infinity: ``a ~ U[-1, 1]``, ``w = 0``, ``s = noise``.

    ``w ~ N(0, I_d / d)`` has no component on p coordinates and unit length on the others
    (noise 1); the first phase of Algorithm 1 of chen2024subspace starts at 0 (noise 0). The
    nodes are those of Gauss-Legendre in ``a^(1/3)``: denser around 0, where the neurons sit that
    are the last to leave a saddle.

    Examples
    --------
    >>> population = limit_population(2, 5)
    >>> round(float(population.weight @ population.a**2), 12)
    0.333333333333
    """
    a, weight = cubed_legendre(num_neurons)
    zeros = np.zeros((num_neurons, subspace_dim))
    return Population(a, zeros, np.full(num_neurons, noise), weight)


def cubed_legendre(
    num_nodes: int,
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Rule for ``E g(a)``, ``a ~ U[-1, 1]``, its nodes the cubes of Gauss-Legendre's."""
    roots, weights = gauss_legendre(num_nodes)
    share = weights * 3 * roots**2 / 2
    return roots**3, share / share.sum()


def gaussian_population(
    subspace_dim: int, num_neurons: int, dim: int, key: PRNGKeyArray | None = None
) -> Population:
    """The initial law at finite d: ``a ~ U[-1, 1]``, ``w ~ N(0, I_p / d)``, ``s^2 ~ chi2 / d``.

    Pairs ``(a, w, s), (-a, w, s)``, so that the network starts at 0, on evenly spread points; a
    key draws others.

    Examples
    --------
    >>> population = gaussian_population(2, 1000, 50)
    >>> bool(abs(population.weight @ population.s**2 - 48 / 50) < 0.01)
    True
    """
    axes = subspace_dim + 2
    shift = 0.5 if key is None else np.asarray(jax.random.uniform(key, (axes,)))
    points = spread_points(num_neurons // 2, axes, shift)
    w = ndtri(points[:, :subspace_dim]) / math.sqrt(dim)
    rest = dim - subspace_dim
    s = np.sqrt(chi2.ppf(points[:, -1], rest) / dim) if rest else np.zeros(len(points))
    a = 2 * points[:, -2] - 1
    weight = np.full(2 * len(points), 1 / (2 * len(points)))
    return Population(
        np.concatenate([a, -a]), np.concatenate([w, w]), np.concatenate([s, s]), weight
    )


def padded(population: Population, num_neurons: int) -> Population:
    """The same law on more neurons, those added without weight: one shape, one compilation."""
    extra = num_neurons - len(population.a)
    whole = jax.tree.map(
        lambda leaf: np.concatenate([leaf, np.repeat(leaf[:1], extra, axis=0)]), population
    )
    weight = np.concatenate([population.weight, np.zeros(extra)])
    return eqx.tree_at(lambda leaf: leaf.weight, whole, weight)
