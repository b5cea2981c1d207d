"""Derivatives, Hermite coefficients and facts of every activation in the catalogue."""

import math
from fractions import Fraction
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import eval_hermitenorm

from helpers import (
    ACTIVATIONS,
    KINKED,
    SMOOTH,
    gaussian_mean,
    numpy_value,
    padded,
)
from twolayer.activations.functions import hermite

ZERO = jnp.zeros(())
every = pytest.mark.parametrize("name", ACTIVATIONS)
smooth = pytest.mark.parametrize("name", SMOOTH)


@cache
def compiled_derivatives(name):
    at = partial(ACTIVATIONS[name].derivatives, 6)
    return jax.jit(lambda v: (at(v), jax.vmap(jax.jacfwd(at))(v)))


@cache
def nested(name):
    """s(0), s'(0), ..., s^(5)(0) by nested automatic differentiation."""
    functions = [ACTIVATIONS[name].__call__]
    for _ in range(5):
        functions.append(jax.grad(functions[-1]))
    return np.asarray(jax.jit(lambda z: jnp.stack([f(z) for f in functions]))(ZERO))


def derivatives_at(name, variances):
    """mu_k / sqrt(k!), k = 0, ..., 6, and their slopes in the variance, at each variance."""
    values, slopes = compiled_derivatives(name)(padded(variances))
    return np.asarray(values)[: len(variances)], np.asarray(slopes)[: len(variances)]


@every
@pytest.mark.parametrize("variance", [0.09, 1.0, 4.0])
def test_derivatives_against_quadrature(name, variance):
    """derivatives(k) is E s(r G) He_k(G) / (r^k sqrt(k!)) by SciPy's quadrature, k up to 6."""
    radius, s = math.sqrt(variance), numpy_value(ACTIVATIONS[name])
    computed = derivatives_at(name, [variance])[0][0]
    for k in range(7):
        mean = gaussian_mean(
            lambda g, k=k: s(radius * g) * eval_hermitenorm(k, g), breakpoints=(0.0,)
        )
        expected = mean / math.sqrt(math.factorial(k))
        assert computed[k] * radius**k == pytest.approx(expected, rel=1e-8, abs=1e-10)


@smooth
def test_derivatives_at_zero_variance_are_those_at_zero(name):
    """At variance 0 they are s^(k)(0) / sqrt(k!), by nested automatic differentiation."""
    computed = derivatives_at(name, [0.0])[0][0, :6]
    roots = np.sqrt([math.factorial(k) for k in range(6)])
    np.testing.assert_allclose(computed * roots, nested(name), rtol=1e-9, atol=1e-10)


@smooth
def test_derivatives_solve_the_heat_equation(name):
    """d mu_k / d variance = mu_{k+2} / 2, at variance 0 as well."""
    roots = np.sqrt([math.factorial(k) for k in range(7)])
    for values, slopes in zip(*derivatives_at(name, [0.0, 0.3, 2.0]), strict=True):
        size = np.max(np.abs(values * roots))
        np.testing.assert_allclose(
            (slopes * roots)[:5], (values * roots)[2:] / 2, rtol=1e-8, atol=1e-8 * size
        )


@pytest.mark.parametrize("name", sorted(KINKED))
def test_kinked_derivatives_are_finite_at_zero_variance(name):
    """Where s^(k)(0) does not exist, values and slopes at variance 0 are finite by convention."""
    values, slopes = derivatives_at(name, [0.0])
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(slopes))


@every
def test_hermite_coefficients_against_quadrature(name):
    """hermite() is E s(scale G) h_k(G) in NumPy float64, at scales 1 and 0.4."""
    s = numpy_value(ACTIVATIONS[name])
    for scale in (1.0, 0.4):
        coefficients = hermite(ACTIVATIONS[name], 5, scale)
        assert isinstance(coefficients, np.ndarray)
        assert coefficients.dtype == np.float64
        for k in range(6):
            mean = gaussian_mean(
                lambda g, k=k, scale=scale: s(scale * g) * eval_hermitenorm(k, g),
                breakpoints=(0.0,),
            )
            assert coefficients[k] == pytest.approx(mean / math.sqrt(math.factorial(k)), abs=1e-9)


@every
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_low_degrees(name, degree):
    """Degrees 0, 1 and 2 return the first entries of a longer list."""
    variance = jnp.asarray([0.5, 1.5])
    short = ACTIVATIONS[name].derivatives(degree, variance)
    assert short.shape == (2, degree + 1)
    full = ACTIVATIONS[name].derivatives(4, variance)
    np.testing.assert_allclose(short, full[:, : degree + 1], rtol=1e-10, atol=1e-12)


@every
def test_single_precision(name):
    """With x64 off values keep three digits."""
    variances = np.array([1.0, 1.3, 2.0, 1.2, 0.9])
    expected = derivatives_at(name, variances)[0]
    with jax.enable_x64(False):
        values, _ = compiled_derivatives(name)(jnp.asarray(padded(variances), jnp.float32))
        assert values.dtype == jnp.float32
    size = np.max(np.abs(expected))
    np.testing.assert_allclose(values[: len(variances)], expected, rtol=2e-3, atol=1e-3 * size)


@every
def test_facts_state_the_right_parities(name):
    """Degrees said to be seen have a nonzero Hermite coefficient at some scale, others none."""
    facts = ACTIVATIONS[name].facts
    values, _ = derivatives_at(name, [0.5, 1.0, 2.5])
    coefficients = values * np.sqrt([[0.5], [1.0], [2.5]]) ** np.arange(7)
    size = np.max(np.abs(coefficients))
    for degree in range(7):
        seen = np.max(np.abs(coefficients[:, degree])) > 1e-8 * size
        assert facts.sees(degree) == seen, f"degree {degree}"
        if seen:
            assert facts.sees_with_bias(degree)


@every
def test_facts_bound_the_function_and_two_derivatives(name):
    """|s|, |s'|, |s''| stay below the stated bound on a grid and come near it."""
    facts, s = ACTIVATIONS[name].facts, ACTIVATIONS[name]
    grid = jnp.linspace(-20.0, 20.0, 4001)
    first = jax.vmap(jax.grad(s.__call__))
    second = jax.vmap(jax.grad(jax.grad(s.__call__)))
    size = max(float(jnp.max(jnp.abs(f(grid)))) for f in (s, first, second))
    if math.isfinite(facts.derivative_bound):
        assert size <= facts.derivative_bound * (1 + 1e-12)
        assert size >= 0.9 * facts.derivative_bound
    else:
        assert name in KINKED or float(jnp.max(jnp.abs(s(1e3 * grid)))) > 1e3


@smooth
def test_facts_give_the_derivatives_at_zero(name):
    """The exact derivatives are, up to one positive factor, those of the function at 0."""
    facts, numeric = ACTIVATIONS[name].facts, nested(name)
    exact = facts.derivatives(5) if facts.derivatives else None
    if exact is None:
        exact = gelu_like_derivatives(facts)
    exact = np.asarray([float(value) for value in exact])
    # m_0 is allowed to be 0 where it is irrational: it enters no condition.
    factor = (numeric[1:] @ exact[1:]) / (exact[1:] @ exact[1:]) if np.any(exact[1:]) else 1.0
    assert factor > 0
    np.testing.assert_allclose(numeric[1:], factor * exact[1:], rtol=1e-9, atol=1e-9)
    if exact[0] != 0:
        assert numeric[0] == pytest.approx(factor * exact[0], rel=1e-9)


def gelu_like_derivatives(facts):
    """Derivatives that are polynomials in 1 / sqrt(2 pi), to which 60 digits come close enough."""
    return facts.derivatives_at(5, Fraction(1 / math.sqrt(2 * math.pi)))


@every
def test_smoothness_is_stated(name):
    """Kinked activations are the ones without derivatives at 0."""
    facts = ACTIVATIONS[name].facts
    assert facts.differentiable == (name not in KINKED)
    if name in KINKED:
        assert not facts.smooth
