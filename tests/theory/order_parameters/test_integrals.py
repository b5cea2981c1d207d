"""The Gaussian integrals against quadrature over a common factor, Monte Carlo and identities."""

import numpy as np
import pytest
from scipy import integrate, special

from helpers import assert_within_sem
from twolayer.theory.order_parameters import (
    abs_integrals,
    erf_integrals,
    relu_integrals,
    square_integrals,
)
from twolayer.theory.order_parameters.rectified import _orthants, rectified_quartet


def _density(z):
    return np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


# name -> (integrals, value, slope, mean value and mean slope at N(mu, s^2))
CASES = {
    "erf": (
        erf_integrals,
        lambda z: special.erf(z / np.sqrt(2)),
        lambda z: np.sqrt(2 / np.pi) * np.exp(-z * z / 2),
        lambda mu, s: special.erf(mu / np.sqrt(2 + 2 * s * s)),
        lambda mu, s: np.sqrt(2 / np.pi / (1 + s * s)) * np.exp(-mu * mu / (2 + 2 * s * s)),
    ),
    "relu": (
        relu_integrals,
        lambda z: np.maximum(z, 0),
        lambda z: (z > 0) * 1.0,
        lambda mu, s: mu * special.ndtr(mu / s) + s * _density(mu / s),
        lambda mu, s: special.ndtr(mu / s),
    ),
    "abs": (
        abs_integrals,
        np.abs,
        np.sign,
        lambda mu, s: mu * special.erf(mu / s / np.sqrt(2)) + 2 * s * _density(mu / s),
        lambda mu, s: special.erf(mu / s / np.sqrt(2)),
    ),
    "square": (
        square_integrals,
        np.square,
        lambda z: 2 * z,
        lambda mu, s: mu * mu + s * s,
        lambda mu, s: 2 * mu,
    ),
}
LOADINGS = np.array([0.9, -0.6, 0.7, 1.1])
SPREADS = np.array([0.5, 0.8, 0.6, 0.4])
ONE_FACTOR = np.outer(LOADINGS, LOADINGS) + np.diag(SPREADS**2)


def factor_mean(*parts):
    """The mean of a product of functions of fields that are independent given one factor."""

    def integrand(z):
        product = _density(z)
        for k, part in enumerate(parts):
            product *= part(LOADINGS[k] * z, SPREADS[k])
        return product

    return integrate.quad(integrand, -12, 12, epsabs=1e-13, epsrel=1e-12, limit=400)[0]


@pytest.mark.parametrize("name", CASES)
def test_integrals_equal_quadrature_over_a_common_factor(name):
    """All four integrals are those of SciPy's quadrature, to the digits that each promises."""
    integrals, _, _, value, slope = CASES[name]

    def field(mu, s):
        return mu

    sizes = {"i2": 2, "j2": 2, "i3": 3, "i4": 4}
    parts = {
        "i2": (value, value),
        "j2": (slope, slope),
        "i3": (slope, field, value),
        "i4": (slope, slope, value, value),
    }
    for which, size in sizes.items():
        found = getattr(integrals, which)(ONE_FACTOR[:size, :size])
        # the quadrature inside the ReLU quartet, of which abs sums eight, has 40 nodes
        tolerance = 1e-8 if which == "i4" else 1e-11
        assert found == pytest.approx(factor_mean(*parts[which]), abs=tolerance), which


@pytest.mark.parametrize("name", CASES)
def test_integrals_equal_sampled_means(name):
    """For fields of any covariance the integrals are the sampled means within four errors."""
    integrals, value, slope, _, _ = CASES[name]
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(4, 4)) / 2
    C = mixing @ mixing.T
    x = rng.normal(size=(200_000, 4)) @ mixing.T
    i, j, k, m = x.T
    samples = {
        "i2": value(i) * value(j),
        "j2": slope(i) * slope(j),
        "i3": slope(i) * j * value(k),
        "i4": slope(i) * slope(j) * value(k) * value(m),
    }
    for which, sample in samples.items():
        size = int(which[1]) if which != "j2" else 2
        error = sample.std() / np.sqrt(len(sample))
        assert_within_sem(sample.mean(), error, getattr(integrals, which)(C[:size, :size]))


@pytest.mark.parametrize("name", ["relu", "abs"])
def test_quartets_of_repeated_fields_are_shorter_integrals(name):
    """``E g'(u) g'(v) g(u) g(v)`` of a function of degree 1 is I2 with the signs of its slopes."""
    integrals = CASES[name][0]
    C = np.array([[1.3, -0.4], [-0.4, 0.7]])
    twice = C[np.ix_([0, 1, 0, 1], [0, 1, 0, 1])]
    same = C[np.ix_([0, 0, 1, 1], [0, 0, 1, 1])]
    alone = np.full((4, 4), 1.3)
    expected = {
        "relu": (float(relu_integrals.i2(C)), _half_square(C), 1.3 / 2),
        "abs": (C[0, 1], C[1, 1], 1.3),  # sign(u) |u| = u, and signs square to 1
    }[name]
    # repeated fields are kept apart by a jitter of 1e-11, whose root enters the angles
    for covariance, value in zip((twice, same, alone), expected, strict=True):
        assert float(integrals.i4(covariance)) == pytest.approx(value, abs=1e-5)


def _half_square(C):
    """``E 1_{u>0} v_+^2`` by one-dimensional quadrature over v."""
    s = np.sqrt(C[1, 1])
    slope, rest = C[0, 1] / C[1, 1], np.sqrt(C[0, 0] - C[0, 1] ** 2 / C[1, 1])

    def integrand(v):
        return v * v * special.ndtr(slope * v / rest) * _density(v / s) / s

    return integrate.quad(integrand, 0, 12 * s, epsabs=1e-13)[0]


def test_orthant_probability_of_equal_correlations():
    """Four Gaussians of correlation 1/2 are all positive with probability 1/5."""
    C = 0.5 * np.eye(4) + 0.5
    assert float(_orthants(C)) == pytest.approx(0.2, abs=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_tensors_are_the_single_integrals(name):
    """The tensors over all fields hold the integrals of those fields, in their order."""
    integrals, *_ = CASES[name]
    C, m = ONE_FACTOR, 2
    drifts = integrals.drifts(C, m)
    for i, b, c in ((0, 1, 2), (1, 3, 0), (1, 1, 1), (0, 3, 3)):
        single = integrals.i3(C[np.ix_([i, b, c], [i, b, c])])
        assert drifts[i, b, c] == pytest.approx(float(single), abs=1e-14)
    signs = np.array([-1.0, -0.5, 0.7, 2.0])
    whole = integrals.diffusions(C, m, signs)
    expected = 0.0
    for c in range(4):
        for d in range(4):
            index = [0, 1, c, d]
            expected += signs[c] * signs[d] * float(integrals.i4(C[np.ix_(index, index)]))
    assert whole[0, 1] == pytest.approx(expected, rel=1e-9)
    assert whole[0, 1] == whole[1, 0]


@pytest.mark.parametrize("name", CASES)
def test_dead_neurons_and_coinciding_neurons_are_finite(name):
    """A zero neuron has the integrals of a field that is 0; nothing is NaN at angle 0 or pi."""
    integrals, value, *_ = CASES[name]
    rows = np.array([[0.0, 0.0], [1.0, 0.5], [1.0, 0.5], [-2.0, -1.0]])
    C = rows @ rows.T
    for found in (
        integrals.values(C),
        integrals.slopes(C, 3),
        integrals.drifts(C, 3),
        integrals.diffusions(C, 3, np.array([1.0, -1.0, 0.5, 2.0])),
    ):
        assert np.all(np.isfinite(found))
    assert np.all(integrals.values(C)[0] == value(0.0))
    assert np.all(integrals.drifts(C, 3)[1:, 0] == 0)


def test_quartet_scales_with_its_fields():
    """The quartet is linear in the size of w and z, whatever that of the other two."""
    scales = np.array([1e-5, 1e4, 1e-3, 1e3])
    scaled = ONE_FACTOR * np.outer(scales, scales)
    ratio = rectified_quartet(scaled) / rectified_quartet(ONE_FACTOR)
    assert ratio == pytest.approx(1.0, rel=1e-10)
