import math

import numpy as np
import pytest

from twolayer.numerics.quadrature import (
    gauss_hermite,
    gauss_legendre,
    kinked_gaussian,
    tensor_rule,
)


def double_factorial(n):
    return math.prod(range(n, 0, -2))


@pytest.mark.parametrize("num_nodes", [1, 2, 5, 20])
def test_gauss_hermite_is_exact_up_to_degree_2q_minus_1(num_nodes):
    """Moments up to degree 2q - 1 are exact and the moment of degree 2q is not."""
    nodes, weights = gauss_hermite(num_nodes)
    for k in range(2 * num_nodes):
        expected = double_factorial(k - 1) if k % 2 == 0 else 0
        size = double_factorial(k)
        assert weights @ nodes**k == pytest.approx(expected, rel=1e-10, abs=1e-10 * size)
    top = weights @ nodes ** (2 * num_nodes)
    # the error of the rule on x^(2q) is exactly q!
    missing = double_factorial(2 * num_nodes - 1) - top
    assert missing == pytest.approx(math.factorial(num_nodes), rel=1e-5)


def test_gauss_hermite_is_finite_at_high_order():
    """At 400 nodes, where NumPy's own rule overflows, weights sum to 1 and are symmetric."""
    nodes, weights = gauss_hermite(400)
    assert np.all(np.isfinite(weights))
    assert np.all(weights >= 0)
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_array_equal(nodes, -nodes[::-1])
    np.testing.assert_array_equal(weights, weights[::-1])
    assert weights @ np.cos(3 * nodes) == pytest.approx(math.exp(-4.5), abs=1e-13)


def test_gauss_hermite_converges_for_smooth_and_not_for_kinked():
    """The documented warning: 1e-13 on cos at 40 nodes, still above 1e-3 on a kink at 100."""
    nodes, weights = gauss_hermite(40)
    assert weights @ np.cos(nodes) == pytest.approx(math.exp(-0.5), abs=1e-13)
    nodes, weights = gauss_hermite(100)
    assert abs(weights @ np.maximum(nodes, 0) - 1 / math.sqrt(2 * math.pi)) > 1e-3


def test_gauss_legendre_integrates_over_the_interval():
    """Weights sum to the length and polynomials of degree 2q - 1 are exact."""
    nodes, weights = gauss_legendre(4, -1.0, 3.0)
    assert weights.sum() == pytest.approx(4.0)
    assert weights @ nodes**7 == pytest.approx((3.0**8 - 1) / 8)
    assert np.all((nodes > -1) & (nodes < 3))


def test_kinked_rule_is_exact_on_kinks_steps_and_smooth_functions():
    """|g|, sign-like steps at 0 and smooth functions all come out to 12 digits."""
    nodes, weights = kinked_gaussian()
    assert weights.sum() == pytest.approx(1.0, abs=1e-13)
    assert weights @ np.abs(nodes) == pytest.approx(math.sqrt(2 / math.pi), abs=1e-13)
    assert weights @ (nodes > 0) == pytest.approx(0.5, abs=1e-13)
    assert weights @ (nodes**2 * (nodes > 0)) == pytest.approx(0.5, abs=1e-13)
    assert weights @ np.cos(5 * nodes) == pytest.approx(math.exp(-12.5), abs=1e-13)


def test_tensor_rule_is_the_product():
    """The tensor rule gives products of one-dimensional means, in every coordinate order."""
    points, weights = tensor_rule(gauss_hermite(6), 3)
    assert points.shape == (216, 3)
    assert weights @ (points[:, 0] ** 2 * points[:, 1] ** 4 * points[:, 2] ** 6) == pytest.approx(
        1 * 3 * 15
    )
    nodes, line = gauss_legendre(3, 0.0, 1.0)
    points, weights = tensor_rule((nodes, line), 2)
    assert weights @ (points[:, 0] * points[:, 1] ** 3) == pytest.approx(0.5 * 0.25)


def test_cached_rules_cannot_be_changed_by_a_caller():
    """Rules are cached, so their arrays are read-only."""
    for rule in (gauss_hermite(5), gauss_legendre(5), kinked_gaussian()):
        for array in rule:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1.0
