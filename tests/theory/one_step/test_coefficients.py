"""Gaussian coefficients against SciPy's adaptive quadrature and closed forms."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from helpers import ACTIVATIONS, assert_allclose, gaussian_mean, numpy_value
from twolayer.activations import Facts, FunctionActivation, hermite
from twolayer.theory.one_step.coefficients import (
    UnitRows,
    centred,
    coefficients,
    hermite_means,
    values_of,
)

KINKED_AT_ONE = FunctionActivation(
    lambda z: jnp.clip(z, -1.0, 1.0), Facts("hard tanh", -1, math.inf, None, math.inf, False)
)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_coefficients_are_gaussian_means(name):
    """Each is the expectation that it is named after."""
    s, found = numpy_value(ACTIVATIONS[name]), coefficients(ACTIVATIONS[name])
    kink = (0.0,)
    mean = gaussian_mean(s, breakpoints=kink)
    slope = gaussian_mean(lambda z: z * s(z), breakpoints=kink)
    expected = [
        mean,
        slope,
        gaussian_mean(lambda z: s(z) ** 2, breakpoints=kink),
        gaussian_mean(lambda z: (s(z) - mean - slope * z) ** 2, breakpoints=kink),
        gaussian_mean(lambda z: (z**2 - 1) * s(z), breakpoints=kink) ** 2 / 2,
    ]
    actual = [found.mean, found.slope, found.second_moment, found.rest, found.spread]
    # SciPy's quadrature promises 1e-11; Parseval's sizes differ by a few powers of ten
    assert_allclose(actual, expected, loss=1e-2)
    assert coefficients(UnitRows(ACTIVATIONS[name])).spread == 0.0


@pytest.mark.parametrize("name", ["relu", "abs", "erf", "gelu", "cos_sin", "cubic"])
def test_hermite_means_are_the_closed_forms(name):
    """E s He_j is the catalogue's closed form times sqrt(j!), kinks included."""
    roots = np.sqrt([math.factorial(j) for j in range(7)])
    expected = hermite(ACTIVATIONS[name], 6) * roots
    assert_allclose(hermite_means(ACTIVATIONS[name], 6), expected, loss=1e-4)


def test_parity_gives_exact_zeros():
    """What vanishes is 0 and not rounding, so that it can be asked for."""
    assert coefficients("tanh").mean == coefficients("tanh").spread == 0.0
    assert coefficients("abs").slope == 0.0
    assert np.all(hermite_means("sin", 8)[::2] == 0.0)
    assert coefficients("x").rest < 1e-28


def test_kinks_elsewhere_are_resolved():
    """A clipped line: its slope is P(|z| < 1)."""
    assert_allclose(coefficients(KINKED_AT_ONE).slope, math.erf(1 / math.sqrt(2)), loss=1e-4)


@pytest.mark.parametrize("name", ["softplus", "relu", "cubic"])
def test_centred_takes_off_the_mean_and_nothing_else(name):
    """The mean becomes exactly 0; slope and rest stay."""
    before, after = coefficients(ACTIVATIONS[name]), coefficients(centred(ACTIVATIONS[name]))
    assert after.mean == 0.0
    assert_allclose([after.slope, after.rest], [before.slope, before.rest], loss=1e-4)
    z = np.linspace(-2.0, 2.0, 5)
    shift = values_of(ACTIVATIONS[name], z) - values_of(centred(ACTIVATIONS[name]), z)
    assert_allclose(shift, np.full(5, before.mean), loss=1e-4)


def test_functions_without_finite_values_are_refused():
    """A pole or a NaN is one sentence, not a NaN curve."""
    log = FunctionActivation(jnp.log, Facts("log", math.inf, math.inf, None, math.inf, False))
    with pytest.raises(ValueError, match=r"finite value at each point\. Received: 'log'"):
        coefficients(log)
