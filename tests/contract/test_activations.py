"""Laws that every activation obeys; a new one joins by entering the catalogue in helpers.py."""

import math
from fractions import Fraction
from functools import cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from scipy.special import eval_hermitenorm

from helpers import (
    ACTIVATIONS,
    KINKED,
    SMOOTH,
    assert_allclose,
    assert_within_sem,
    finite_difference,
    gaussian_mean,
    numpy_value,
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


ROWS = 12  # points are padded to one shape, which is compiled once for each activation


def dual(name, q):
    return ACTIVATIONS[name].dual(q[..., 0], q[..., 1], q[..., 2])


@cache
def compiled(name):
    at = partial(dual, name)
    return jax.jit(lambda q: (at(q), jax.vmap(jax.grad(at))(q)))


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


def padded(points):
    points = np.asarray(points, dtype=np.float64)
    filler = np.ones((ROWS - len(points), *points.shape[1:]))
    return jnp.asarray(np.concatenate([points, filler]))


def dual_at(name, points):
    """The dual at covariances ``[n, 3]``."""
    return np.asarray(compiled(name)(padded(points))[0])[: len(points)]


def gradient_at(name, points):
    """Its gradient, ``[n, 3]``."""
    return np.asarray(compiled(name)(padded(points))[1])[: len(points)]


def derivatives_at(name, variances):
    """mu_k / sqrt(k!), k = 0, ..., 6, and their slopes in the variance, at each variance."""
    values, slopes = compiled_derivatives(name)(padded(variances))
    return np.asarray(values)[: len(variances)], np.asarray(slopes)[: len(variances)]


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
    expected, slopes = dual_at(name, q), derivatives_at(name, q[:, 2])[0]
    with jax.enable_x64(False):
        single = jnp.asarray(padded(q), jnp.float32)
        values, gradients = compiled(name)(single)
        derivatives, _ = compiled_derivatives(name)(single[:, 2])
        assert values.dtype == derivatives.dtype == gradients.dtype == jnp.float32
        assert np.all(np.isfinite(gradients))
    values, derivatives = values[: len(q)], derivatives[: len(q)]
    size = np.max(np.abs(expected))
    np.testing.assert_allclose(values, expected, rtol=2e-3, atol=1e-3 * size)
    np.testing.assert_allclose(derivatives, slopes, rtol=2e-3, atol=1e-3 * np.max(np.abs(slopes)))


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
