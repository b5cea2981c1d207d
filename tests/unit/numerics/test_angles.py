"""Angles and ``sin t - t cos t`` keep every digit where the textbook formulas lose all of them."""

from fractions import Fraction
from math import factorial, pi

import jax.numpy as jnp
import numpy as np
import pytest

from twolayer.numerics.angles import angle, arc_cosine, sine_gap, supplement, unit

SPACES = pytest.mark.parametrize("xp", [np, jnp])
# A few roundings of a unit in the last place.
DIGITS = 1e-15


def exact_sine_gap(t):
    """The power series in exact rational arithmetic, 40 terms: no cancellation is lost."""
    t = Fraction(t)
    return sum((-1) ** (k + 1) * 2 * k * t ** (2 * k + 1) / factorial(2 * k + 1) for k in range(40))


@SPACES
def test_sine_gap_has_all_digits_on_both_sides_of_its_seam(xp):
    """The relative error stays at rounding from 1e-9 to pi (near 2 the true value is 1.7)."""
    t = np.concatenate([10.0 ** np.arange(-9, 0), [0.49, 0.999999, 1.0, 1.000001, 2.0, 3.0, pi]])
    values = np.asarray(sine_gap(xp.asarray(t), xp))
    for point, value in zip(t, values, strict=True):
        exact = exact_sine_gap(float(point))
        assert abs(Fraction(float(value)) - exact) <= Fraction(DIGITS) * exact
    np.testing.assert_array_equal(np.asarray(sine_gap(xp.asarray(-t), xp)), -values)


@SPACES
@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_angles_near_zero_and_pi_have_all_digits(xp, size):
    """Vectors built at a known angle are found at it, whatever their lengths; arccos finds 0."""
    turns = 10.0 ** np.arange(-15.0, 1)
    u = xp.asarray(size * np.array([[1.0, 0.0, 0.0]]))
    v = np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    np.testing.assert_allclose(angle(u, xp.asarray(v), xp), turns, rtol=DIGITS)
    np.testing.assert_allclose(supplement(u, xp.asarray(-v), xp), turns, rtol=DIGITS)
    np.testing.assert_allclose(angle(u, xp.asarray(-v), xp), pi - turns, rtol=DIGITS)
    assert np.arccos(v @ [1.0, 0.0, 0.0])[6] == 0 < turns[6]


@SPACES
def test_zero_vectors_are_orthogonal_to_everything(xp):
    """A zero vector has no direction: its angle is pi/2, its unit vector zero, nothing is NaN."""
    zero, u = xp.zeros(3), xp.asarray([0.0, 2.0, 0.0])
    for pair in ((zero, u), (u, zero), (zero, zero)):
        assert float(angle(*pair, xp)) == pytest.approx(pi / 2, rel=DIGITS)
    assert not np.any(unit(zero, xp))


def test_the_other_axes_broadcast():
    """Pairs of rows give the matrix of angles."""
    generator = np.random.default_rng(0)
    u, v = generator.normal(size=(4, 5)), generator.normal(size=(3, 5))
    cosines = unit(u) @ unit(v).T
    # arccos is good to 1e-15 in the middle of its range
    np.testing.assert_allclose(angle(u[:, None], v[None]), np.arccos(cosines), rtol=1e-14)


@SPACES
def test_arc_cosine_is_the_c_librarys(xp):
    """All of [-1, 1], both ends and the seams at +-1/2: two roundings of the C library's."""
    ends = 1 - 10.0 ** np.arange(-16.0, 0)
    c = np.concatenate([np.linspace(-1, 1, 4001), ends, -ends, [0.5, np.nextafter(0.5, 1)]])
    np.testing.assert_allclose(arc_cosine(xp.asarray(c), xp), np.arccos(c), rtol=5e-16, atol=0)
