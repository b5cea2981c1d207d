"""Kernels of pairs of neurons and their forces, against quadrature of their definition."""

import itertools
from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from twolayer.activations import tanh
from twolayer.pair_kernels import (
    abs_pairs,
    activation_pairs,
    erf_pairs,
    relu_pairs,
    square_pairs,
)

KINKED = {"relu": relu_pairs, "abs": abs_pairs}
PAIRS = KINKED | {
    "erf": erf_pairs,
    "square": square_pairs,
    "tanh": activation_pairs(tanh),
}
VALUES = {
    "relu": lambda z: np.maximum(z, 0),
    "abs": np.abs,
    "erf": lambda z: special.erf(z / np.sqrt(2)),
    "square": np.square,
    "tanh": np.tanh,
}
# The general kernel takes long to compile.
NAMES = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "tanh" else n for n in PAIRS]
)
GENERATOR = np.random.default_rng(1)
U, V = GENERATOR.normal(size=(3, 4)) / 2, GENERATOR.normal(size=(2, 4)) / 2
U[2] = 0  # a zero neuron


def mean_product(name, u, v):
    """``E s(u.x) s(v.x)`` in the plane of u and v, by quadrature of the definition."""
    length = np.linalg.norm(u)
    along = u @ v / max(length, 1e-300)
    across = np.sqrt(max(v @ v - along**2, 0.0))
    value = VALUES[name]
    if name in KINKED:  # homogeneous: an integral over directions, E radius^2 = 2

        def integrand(t):
            return value(length * np.cos(t)) * value(along * np.cos(t) + across * np.sin(t)) / pi

        turn = np.arctan2(across, along)
        kinks = sorted(np.mod([pi / 2, 3 * pi / 2, turn + pi / 2, turn + 3 * pi / 2], 2 * pi))
        edges = [0.0, *kinks, 2 * pi]
        return sum(
            integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-12)[0]
            for a, b in itertools.pairwise(edges)
            if b > a
        )
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    x, y = np.meshgrid(nodes, nodes)
    mass = np.outer(weights, weights) / (2 * pi)
    return np.sum(mass * value(length * x) * value(along * x + across * y))


@NAMES
def test_values_are_the_defining_means(name):
    """K(u, v) is E s(u.x) s(v.x), at a zero neuron too; the quadratures are good to 1e-9."""
    expected = [[mean_product(name, u, v) for v in V] for u in U]
    np.testing.assert_allclose(PAIRS[name].value(U, V), expected, rtol=1e-8, atol=1e-15)


@NAMES
def test_pulls_are_gradients_of_the_defining_means(name):
    """The pull is sum_j C_ij dK/du_i: central differences (error 1e-8) of the quadratures."""
    C = GENERATOR.normal(size=(3, 2))
    step = 1e-4

    def total(u, c):
        return sum(weight * mean_product(name, u, v) for weight, v in zip(c, V, strict=True))

    expected = [
        [(total(u + step * e, c) - total(u - step * e, c)) / (2 * step) for e in np.eye(4)]
        for u, c in zip(U, C, strict=True)
    ]
    # A kinked kernel is a cone at 0: differences from both sides give the mean slope there too.
    np.testing.assert_allclose(PAIRS[name].pull(U, V, jnp.asarray(C)), expected, atol=2e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAIRS if name != "tanh"])
def test_the_slopes_are_those_of_the_dual(name):
    """Automatic differentiation of the dual finds the slopes, all three."""
    q = [jnp.asarray([[value]]) for value in (1.7, -0.6, 0.8)]
    slopes = jax.grad(lambda *q: PAIRS[name].dual(*q)[0, 0], argnums=(0, 1, 2))(*q)
    step = 1e-6  # central differences: error 1e-10 / 1e-6
    for k, (slope, exact) in enumerate(zip(PAIRS[name].slopes(*q), slopes, strict=True)):
        shifted = [[x + s * step * (j == k) for j, x in enumerate(q)] for s in (1, -1)]
        ratio = (PAIRS[name].dual(*shifted[0]) - PAIRS[name].dual(*shifted[1])) / (2 * step)
        np.testing.assert_allclose(slope, exact, rtol=1e-12)
        np.testing.assert_allclose(slope, ratio, rtol=1e-7, atol=1e-9)


@NAMES
def test_parity_is_that_of_the_activation(name):
    """s(-z) = parity s(z) where a parity is claimed, and neither sign where none is."""
    z = np.linspace(-2, 2, 9)
    value, mirrored = VALUES[name](z), VALUES[name](-z)
    parities = [sign for sign in (1, -1) if np.allclose(mirrored, sign * value)]
    assert parities == ([PAIRS[name].parity] if PAIRS[name].parity else [])
    np.testing.assert_allclose(PAIRS[name].activation(jnp.asarray(z)), value, atol=1e-15)


@pytest.mark.parametrize("turn", [0.0, 1e-12, 1e-7, 1e-3, pi - 1e-3, pi - 1e-7, pi])
def test_kinked_kernels_near_parallel_and_opposite(turn):
    """In the plane, with all angles known exactly: values and forces right to rounding."""
    u, v = jnp.asarray([[2.0, 0.0]]), jnp.asarray([[3 * np.cos(turn), 3 * np.sin(turn)]])
    small = min(turn, pi - turn)
    gap = small**3 / 3 - small**5 / 30
    smooth = max(6 * np.cos(turn), 0) / 2 + 6 * gap / (2 * pi)
    np.testing.assert_allclose(relu_pairs.value(u, v)[0, 0], smooth, rtol=1e-14, atol=2e-15)
    absolute = 6 * abs(np.cos(turn)) + 2 / pi * 6 * gap
    np.testing.assert_allclose(abs_pairs.value(u, v)[0, 0], absolute, rtol=1e-14)
    force = np.array([3 * np.sin(turn), 0]) + (pi - turn) * np.asarray(v[0])
    pull = relu_pairs.pull(u, v, jnp.ones((1, 1)))[0]
    np.testing.assert_allclose(pull, force / (2 * pi), atol=2e-15)
    pull = abs_pairs.pull(u, v, jnp.ones((1, 1)))[0]
    np.testing.assert_allclose(pull, 2 / pi * (force - pi / 2 * np.asarray(v[0])), atol=8e-15)


def test_forces_between_zero_neurons_are_finite():
    """Two zero neurons pull each other by nothing."""
    zero = jnp.zeros((1, 2))
    for pairs in KINKED.values():
        assert not np.any(pairs.pull(zero, zero, jnp.ones((1, 1))))
