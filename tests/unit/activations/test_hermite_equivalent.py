"""Coefficients and noise of the Hermite equivalent against SciPy, values against NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import hermite_e

from helpers import ACTIVATIONS, gaussian_mean, numpy_value
from twolayer.activations import relu, tanh
from twolayer.activations.hermite_equivalent import HermiteEquivalent, second_moment

KINK = (-1.0, -0.1, 0.0, 0.1, 1.0)  # where SciPy splits its panels: at the kink, and near it
NAMES = ("relu", "tanh", "sigmoid", "erf", "gelu", "abs", "softplus", "cubic")


def he(degree, z):
    return hermite_e.hermeval(z, [0.0] * degree + [1.0])


def plain(equivalent):
    """h_j from the stored h_j / sqrt(j!)."""
    factorials = [float(math.factorial(j)) for j in range(equivalent.degree + 1)]
    return np.asarray(equivalent.coefficients) * np.sqrt(factorials)


def test_relu_by_hand():
    """h_0, ..., h_4 of ReLU are 1, sqrt(pi/2), 1, 0, -1 over sqrt(2 pi)."""
    expected = np.array([1, math.sqrt(math.pi / 2), 1, 0, -1]) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(plain(HermiteEquivalent.of(relu, 4)), expected, atol=1e-14)


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_coefficients_and_noise_are_the_gaussian_integrals(name, scale):
    """h_j = E He_j(G) s(bG), and h*^2 = E s(bG)^2 - sum h_j^2 / j!, each degree of its own."""
    function = numpy_value(ACTIVATIONS[name])
    square = gaussian_mean(lambda g: function(scale * g) ** 2, breakpoints=KINK)
    h = [gaussian_mean(lambda g, j=j: he(j, g) * function(scale * g), breakpoints=KINK)
         for j in range(5)]  # fmt: skip
    assert second_moment(ACTIVATIONS[name], scale) == pytest.approx(square, rel=1e-10)
    for degree in (0, 1, 4):
        equivalent = HermiteEquivalent.of(ACTIVATIONS[name], degree, scale=scale)
        assert equivalent.degree == degree
        np.testing.assert_allclose(
            plain(equivalent), h[: degree + 1], rtol=1e-9, atol=1e-10 * math.sqrt(square)
        )
        rest = square - sum(h[j] ** 2 / math.factorial(j) for j in range(degree + 1))
        assert float(equivalent.noise) ** 2 == pytest.approx(rest, rel=1e-8, abs=1e-10 * square)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus"])
def test_noise_stays_exact_at_large_scales(name):
    """At b = 20, where tanh is almost a sign, the noise is that of SciPy to nine digits."""
    function = numpy_value(ACTIVATIONS[name])
    splits = (-1.0, -0.1, -0.01, 0.0, 0.01, 0.1, 1.0)
    mean, slope, square = (
        gaussian_mean(lambda g, p=p, q=q: g**q * function(20 * g) ** p, breakpoints=splits)
        for p, q in ((1, 0), (1, 1), (2, 0))
    )
    noise = float(HermiteEquivalent.of(ACTIVATIONS[name], 1, scale=20.0).noise)
    assert noise**2 == pytest.approx(square - mean**2 - slope**2, rel=1e-9)


def test_noise_of_almost_linear_activations_does_not_cancel():
    """tanh(z) = z - z^3/3 at b = 1e-3: h* = b^3 sqrt(6) / 3 = 8.2e-10, out of squares of 1e-6."""
    noise = float(HermiteEquivalent.of(tanh, 2, scale=1e-3).noise)
    assert noise == pytest.approx(1e-9 * math.sqrt(6) / 3, rel=1e-5)  # the next term is b^2 smaller


def test_a_polynomial_is_its_own_equivalent():
    """At its own degree a polynomial keeps its values and needs no noise."""
    cubic = ACTIVATIONS["cubic"]
    equivalent = HermiteEquivalent.of(cubic, 3, scale=0.7)
    z = jnp.linspace(-4.0, 4.0, 9)
    np.testing.assert_allclose(equivalent(z), cubic(z), rtol=1e-12, atol=1e-12)
    assert float(equivalent.noise) < 1e-13


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_values_are_the_series(degree):
    """The value is sum h_j He_j(z / b) / j!, in NumPy's Hermite series."""
    equivalent = HermiteEquivalent.of(ACTIVATIONS["gelu"], degree, scale=0.6)
    factorials = [float(math.factorial(j)) for j in range(degree + 1)]
    z = np.linspace(-5.0, 5.0, 12).reshape(3, 4)
    expected = hermite_e.hermeval(z / 0.6, plain(equivalent) / factorials)
    np.testing.assert_allclose(equivalent(jnp.asarray(z)), expected, rtol=1e-12, atol=1e-12)


def test_polynomial_and_noise_have_the_moments_of_the_activation():
    """With its noise the equivalent has the activation's mean, slope and second moment."""
    equivalent = HermiteEquivalent.of(ACTIVATIONS["softplus"], 2, scale=1.3)
    function = numpy_value(ACTIVATIONS["softplus"])

    def polynomial(g):
        series = plain(equivalent) / [1.0, 1.0, 2.0]
        return hermite_e.hermeval(g, series)

    for factor in (lambda g: 1.0, lambda g: g, lambda g: g * g):
        ours = gaussian_mean(lambda g, f=factor: f(g) * polynomial(g))
        theirs = gaussian_mean(lambda g, f=factor: f(g) * function(1.3 * g))
        assert ours == pytest.approx(theirs, abs=1e-11)
    square = gaussian_mean(lambda g: polynomial(g) ** 2) + float(equivalent.noise) ** 2
    assert square == pytest.approx(gaussian_mean(lambda g: function(1.3 * g) ** 2), rel=1e-11)


def test_single_precision_in_single_precision_out():
    """Values have the precision of their argument, and no 64-bit types are needed."""
    equivalent = HermiteEquivalent.of(relu, 3)
    z = jnp.linspace(-2.0, 2.0, 5)
    single = equivalent(z.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, equivalent(z), atol=1e-6)
    with jax.enable_x64(False):
        again = HermiteEquivalent.of(relu, 3)
        np.testing.assert_allclose(again.noise, equivalent.noise, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"degree": -1}, "degree of at least 0. Received: -1"),
        ({"degree": 1.5}, "degree"),
        ({"degree": True}, "Received: True"),
        ({"degree": 1, "scale": 0.0}, "positive scale. Received: 0.0"),
        ({"degree": 1, "scale": math.nan}, "positive scale"),
        ({"degree": 1, "scale": math.inf}, "positive scale"),
    ],
)
def test_what_is_no_degree_or_scale_is_refused(options, complaint):
    """Negative, fractional or true degrees, scales that are not positive: one sentence."""
    make = HermiteEquivalent.of.__func__
    make = getattr(make, "__wrapped__", make)  # without the type checker
    with pytest.raises(ValueError, match=complaint):
        make(HermiteEquivalent, relu, **options)
