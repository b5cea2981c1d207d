"""Laws that every activation obeys; a new one joins by entering the catalogue in helpers.py."""

import math
from functools import cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from helpers import (
    ACTIVATIONS,
    KINKED,
    SMOOTH,
    assert_allclose,
    assert_within_sem,
    finite_difference,
    gaussian_mean,
    numpy_value,
    padded,
)
from twolayer.activations.functions import hermite
from twolayer.numerics.montecarlo import mean_and_error

ZERO = jnp.zeros(())
every = pytest.mark.parametrize("name", ACTIVATIONS)
smooth = pytest.mark.parametrize("name", SMOOTH)


# One covariance each: generic, negative, unequal, small, correlation 1 and -1, one zero variance.
COVARIANCES = np.array([
    [1.0, 0.5, 1.0],
    [0.7, -0.6, 1.3],
    [0.1, 0.2, 2.0],
    [1e-3, 5e-4, 1e-3],
    [1.0, 0.0, 1.0],
    [1.2, 1.2, 1.2],
    [0.9, -0.9, 0.9],
    [0.0, 0.0, 1.0],
])


def dual(name, q):
    return ACTIVATIONS[name].dual(q[..., 0], q[..., 1], q[..., 2])


@cache
def compiled(name):
    at = partial(dual, name)
    return jax.jit(lambda q: (at(q), jax.vmap(jax.grad(at))(q)))


def dual_at(name, points):
    """The dual at covariances ``[n, 3]``."""
    return np.asarray(compiled(name)(padded(points))[0])[: len(points)]


def gradient_at(name, points):
    """Its gradient, ``[n, 3]``."""
    return np.asarray(compiled(name)(padded(points))[1])[: len(points)]


def dual_accuracy(name):
    # A black box with a kink is only promised three digits (FunctionActivation's docstring).
    return 2e-3 if name == "leaky relu" else 1e-7


LEGENDRE = np.polynomial.legendre.leggauss(48)


REACH = 9.0


def normal_rule(low, high):
    """Nodes and weights for the normal density on [low, high], arrays of edges allowed."""
    low, high = np.asarray(low)[..., None], np.asarray(high)[..., None]
    nodes = low + (high - low) / 2 * (LEGENDRE[0] + 1)
    weights = LEGENDRE[1] * (high - low) / 2
    return nodes, weights * np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)


def half_lines():
    """A rule for E g(G) split at 0."""
    parts = [normal_rule(*e) for e in ((-REACH, -4.0), (-4.0, 0.0), (0.0, 4.0), (4.0, REACH))]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def referee_dual(name, q11, q12, q22):
    """E s(u) s(v) by nested Gauss-Legendre over (u, v), split where u or v crosses 0."""
    s = numpy_value(ACTIVATIONS[name])
    g, weights = half_lines()
    u = math.sqrt(q11) * g
    centre = q12 / math.sqrt(q11) * g if q11 > 0 else 0 * g
    rest = math.sqrt(max(q22 - (q12**2 / q11 if q11 > 0 else 0.0), 0.0))
    if rest < 1e-12:
        return float(weights @ (s(u) * s(centre)))
    kink = np.clip(-centre / rest, -REACH, REACH)
    conditional = np.zeros_like(g)
    for low, high in ((np.full_like(g, -REACH), kink), (kink, np.full_like(g, REACH))):
        nodes, density = normal_rule(low, high)
        conditional += np.sum(density * s(centre[:, None] + rest * nodes), axis=1)
    return float(weights @ (s(u) * conditional))


@every
def test_function_is_the_textbook_one(name):
    """Its values are those of the textbook formula in plain Python floats."""
    z = np.linspace(-6, 6, 49)
    expected = numpy_value(ACTIVATIONS[name])(z)
    assert_allclose(ACTIVATIONS[name](jnp.asarray(z)), expected, loss=1e-5)


@every
def test_parseval(name):
    """The squared Hermite coefficients sum, up to the tail, to E s(G)^2 = dual(1, 1, 1)."""
    coefficients = hermite(ACTIVATIONS[name], 80)
    s = numpy_value(ACTIVATIONS[name])
    truth = gaussian_mean(lambda g: s(g) ** 2, breakpoints=(0.0,))
    assert dual_at(name, [[1.0, 1.0, 1.0]])[0] == pytest.approx(truth, rel=dual_accuracy(name))
    # For a kink c_k^2 ~ k^(-5/2) / pi at most: the tail beyond 80 is below 1e-3.
    tail = 1e-3 if name in KINKED else 1e-7
    total = float(coefficients @ coefficients)
    assert truth * (1 - tail) <= total <= truth * (1 + 1e-9)


@every
def test_mehler_series_is_the_dual(name):
    """sum_k c_k(r1) c_k(r2) rho^k equals the dual, at unequal radii and |rho| <= 0.7."""
    for r1, r2, rho in ((1.0, 1.0, 0.5), (0.6, 1.5, -0.7), (1.3, 0.4, 0.0)):
        left = hermite(ACTIVATIONS[name], 60, r1)
        right = hermite(ACTIVATIONS[name], 60, r2)
        series = float(left @ (right * rho ** np.arange(61.0)))
        exact = dual_at(name, [[r1**2, rho * r1 * r2, r2**2]])[0]
        assert exact == pytest.approx(series, rel=10 * dual_accuracy(name), abs=1e-9)


@every
def test_dual_against_two_dimensional_quadrature(name):
    """The dual equals an independent two-dimensional quadrature at every kind of covariance."""
    accuracy = dual_accuracy(name)
    expected = [referee_dual(name, *q) for q in COVARIANCES]
    np.testing.assert_allclose(
        dual_at(name, COVARIANCES), expected, rtol=accuracy, atol=accuracy / 100
    )


@pytest.mark.slow
@every
def test_dual_against_adaptive_quadrature(name):
    """SciPy's adaptive dblquad, which shares no rule with us, agrees to 7 digits."""
    s = numpy_value(ACTIVATIONS[name])
    q11, q12, q22 = 0.7, -0.6, 1.3
    rest = math.sqrt(q22 - q12**2 / q11)

    def integrand(h, g):
        density = math.exp(-(g * g + h * h) / 2) / (2 * math.pi)
        return s(math.sqrt(q11) * g) * s(q12 / math.sqrt(q11) * g + rest * h) * density

    expected, _ = integrate.dblquad(integrand, -9, 9, -9, 9, epsabs=1e-9, epsrel=1e-9)
    accuracy = max(dual_accuracy(name), 1e-6 if name in KINKED else 0)
    assert dual_at(name, [[q11, q12, q22]])[0] == pytest.approx(expected, rel=accuracy, abs=1e-8)


@every
def test_dual_against_monte_carlo(name):
    """A sampled mean of s(u) s(v) lies within its standard error of the dual."""
    rng = np.random.default_rng(7)
    g, h = rng.normal(size=(2, 100_000))
    u, v = 1.1 * g, 0.4 * g - 0.8 * h
    activation = ACTIVATIONS[name]
    mean, sem = mean_and_error(np.asarray(activation(jnp.asarray(u)) * activation(jnp.asarray(v))))
    truth = dual_at(name, [[1.21, 0.44, 0.16 + 0.64]])[0]
    assert_within_sem(mean, sem, truth)
    assert sem < 0.05 * max(1.0, abs(truth))


@every
def test_dual_is_symmetric(name):
    """Exchanging u and v changes nothing."""
    forward, backward = dual_at(name, COVARIANCES), dual_at(name, COVARIANCES[:, ::-1])
    np.testing.assert_allclose(forward, backward, rtol=dual_accuracy(name), atol=1e-9)


@every
def test_cauchy_schwarz_and_positive_gram(name):
    """Gram matrices of the dual are positive semidefinite, also with repeated and zero points."""
    W = np.random.default_rng(3).normal(size=(6, 3)) * 0.7
    W = np.vstack([W, W[:2], -W[:1], np.zeros((1, 3))])
    q = np.sum(W**2, axis=1)
    one = np.ones(len(W))
    gram = np.asarray(
        ACTIVATIONS[name].dual(
            jnp.asarray(np.outer(q, one)), jnp.asarray(W @ W.T), jnp.asarray(np.outer(one, q))
        )
    )
    scale = np.max(np.diag(gram))
    slack = 2 * dual_accuracy(name) * scale
    assert np.linalg.eigvalsh((gram + gram.T) / 2)[0] >= -10 * slack
    diagonal = np.diag(gram)
    assert np.all(gram**2 <= np.outer(diagonal, diagonal) + slack * scale)


@every
def test_gradient_of_the_dual_is_finite_at_the_degenerate_points(name):
    """At correlation +-1, at one zero variance and at two, no gradient is NaN or infinite."""
    points = np.vstack([COVARIANCES, [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [4.0, 2.0, 1.0]])
    assert np.all(np.isfinite(gradient_at(name, points)))


@every
def test_gradient_of_the_dual_equals_finite_differences(name):
    """Away from the degenerate points the gradient is the slope of the dual."""
    # A black box with a kink: its slopes are only as good as its values.
    tolerance = 2e-2 if name == "leaky relu" else 1e-6
    points = COVARIANCES[[0, 1, 2, 4]]
    expected = [finite_difference(lambda x: referee_dual(name, *x), q, 1e-4) for q in points]
    np.testing.assert_allclose(gradient_at(name, points), expected, rtol=tolerance, atol=tolerance)


@every
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradient_of_the_dual_is_right_at_full_correlation(name, sign):
    """At rho = +-1 the slopes are E s'(u) s'(v) in q12 and, by Stein, E s''(u) s(v) / 2 in q11."""
    q = 1.2
    s = ACTIVATIONS[name]
    nodes, weights = half_lines()
    u = jnp.asarray(math.sqrt(q) * nodes)
    slope = jax.vmap(jax.grad(s.__call__))
    across = float(weights @ np.asarray(slope(u) * slope(sign * u)))
    # Stein: E u s'(u) s(v) = q11 E s''(u) s(v) + q12 E s'(u) s'(v)
    along = float(weights @ np.asarray(u * slope(u) * s(sign * u)))
    along = (along - sign * q * across) / (2 * q)
    gradient = gradient_at(name, [[q, sign * q, q]])[0]
    tolerance = 1e-2 if name == "leaky relu" else 1e-7
    np.testing.assert_allclose(gradient, [along, across, along], rtol=tolerance, atol=tolerance)


@smooth
def test_gradient_of_the_dual_is_right_at_zero_variance(name):
    """At q11 = 0 the slopes are s''(0) E s(v) / 2 in q11 and s'(0) E s'(v) in q12."""
    s = ACTIVATIONS[name]
    first = jax.grad(s.__call__)
    second = jax.grad(first)
    nodes, weights = half_lines()
    v = jnp.asarray(nodes) * 0.9
    mean = float(weights @ np.asarray(s(v)))
    mean_slope = float(weights @ np.asarray(jax.vmap(first)(v)))
    gradient = gradient_at(name, [[0.0, 0.0, 0.81]])[0]
    assert gradient[0] == pytest.approx(float(second(ZERO)) * mean / 2, abs=1e-8)
    assert gradient[1] == pytest.approx(float(first(ZERO)) * mean_slope, abs=1e-8)


@every
def test_jit_and_vmap_change_nothing(name):
    """As an argument of a compiled function it is a PyTree; batched and single values agree."""

    @eqx.filter_jit
    def as_argument(activation, q):
        return activation.dual(q[:, 0], q[:, 1], q[:, 2])

    activation, batch = ACTIVATIONS[name], dual_at(name, COVARIANCES)
    leaves, tree = jax.tree.flatten(activation)
    rebuilt = jax.tree.unflatten(tree, leaves)
    passed = as_argument(rebuilt, jnp.asarray(COVARIANCES))
    np.testing.assert_allclose(passed, batch, rtol=1e-9, atol=1e-12)
    for row in (0, 5):
        single = float(activation.dual(*jnp.asarray(COVARIANCES[row])))
        assert single == pytest.approx(batch[row], rel=1e-9, abs=1e-12)


@every
def test_single_precision(name):
    """With x64 off nothing is NaN at moderate sizes and values keep three digits."""
    q = COVARIANCES[[0, 1, 2, 4, 5, 6, 7]]
    expected = dual_at(name, q)
    with jax.enable_x64(False):
        values, gradients = compiled(name)(jnp.asarray(padded(q), jnp.float32))
        assert values.dtype == gradients.dtype == jnp.float32
        assert np.all(np.isfinite(gradients))
    size = np.max(np.abs(expected))
    np.testing.assert_allclose(values[: len(q)], expected, rtol=2e-3, atol=1e-3 * size)
