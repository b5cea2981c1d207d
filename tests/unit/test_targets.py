from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.language import parse_polynomial
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.numerics.quadrature import gauss_hermite, tensor_rule
from twolayer.targets import Polynomial

TEXT = "z1 + 2*z1*z2^2 - 1/3*z2*z3^3 + 0.5"


def by_hand(x):
    return x[..., 0] + 2 * x[..., 0] * x[..., 1] ** 2 - x[..., 1] * x[..., 2] ** 3 / 3 + 0.5


def test_value_is_that_of_the_text():
    """The function is the polynomial that was typed, reading the first coordinates only."""
    x = np.random.default_rng(0).normal(size=(20, 5))
    values = jax.vmap(Polynomial(TEXT))(jnp.asarray(x))
    np.testing.assert_allclose(values, by_hand(x), rtol=1e-12)


def test_degree_dim_and_exact_form():
    """Degree, number of coordinates and exact coefficients are those of the text."""
    target = Polynomial(TEXT)
    assert (target.degree, target.dim) == (4, 3)
    assert target.exact.coefficient((0, 1, 3)) == Fraction(-1, 3)
    assert Polynomial(parse_polynomial(TEXT)).exponents == target.exponents


def test_second_moment_against_quadrature_and_sampling():
    """E h*^2 equals exact Gauss-Hermite quadrature and a sample mean within its error."""
    target = Polynomial(TEXT)
    points, weights = tensor_rule(gauss_hermite(8), 3)
    expected = weights @ by_hand(points) ** 2
    assert float(target.second_moment) == pytest.approx(expected, rel=1e-12)
    x = np.random.default_rng(1).normal(size=(200_000, 3))
    mean, sem = mean_and_error(by_hand(x) ** 2)
    assert_within_sem(mean, sem, float(target.second_moment))


def test_symbol_is_the_smoothed_polynomial():
    """The parts of the symbol at w sum to E h*(w + z), and each is homogeneous of its degree."""
    target = Polynomial(TEXT)
    points, weights = tensor_rule(gauss_hermite(6), 3)
    w = np.array([0.3, -1.1, 0.7])
    parts = np.asarray(target.symbol_parts(jnp.asarray(w)))
    assert parts.shape == (5,)
    assert parts.sum() == pytest.approx(weights @ by_hand(points + w), rel=1e-12)
    doubled = np.asarray(target.symbol_parts(jnp.asarray(2 * w)))
    np.testing.assert_allclose(doubled, parts * 2.0 ** np.arange(5), rtol=1e-12, atol=1e-14)


def test_gradient_is_finite_at_the_origin():
    """Powers are products, so the gradient at 0 is exact and finite."""
    gradient = jax.grad(Polynomial("z1^3 + z1*z2 + 4*z2"))(jnp.zeros(2))
    np.testing.assert_array_equal(gradient, [0.0, 4.0])


def test_constants_and_zero():
    """A constant has degree 0, its second moment is its square; zero is allowed."""
    constant = Polynomial("3")
    assert constant.degree == 0
    assert float(constant.second_moment) == 9.0
    zero = Polynomial("z1 - z1")
    assert float(zero(jnp.ones(2))) == 0.0
    assert float(zero.second_moment) == 0.0


def test_coefficients_beyond_the_floats_are_refused():
    """A polynomial that no float can evaluate is one sentence."""
    with pytest.raises(ValueError, match="1e308"):
        Polynomial("1e300*1e300*z1")


def test_too_few_coordinates_raise():
    """An input with fewer coordinates than the polynomial reads is an error, never clamped."""
    with pytest.raises((ValueError, IndexError), match="3"):
        Polynomial("z1*z3")(jnp.ones(2))


def test_equal_texts_share_one_program():
    """Polynomials that are equal, however typed, do not recompile."""
    traces = []

    @eqx.filter_jit
    def value(target, x):
        traces.append(1)
        return target(x)

    x = jnp.asarray([2.0, 3.0])
    assert float(value(Polynomial("z1 + z1*z2"), x)) == 8.0
    assert float(value(Polynomial("z2*z1 + 2*z1 - z1"), x)) == 8.0
    assert len(traces) == 1
