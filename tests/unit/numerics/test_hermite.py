import math

import numpy as np
import pytest
from scipy.special import eval_hermitenorm

from twolayer.numerics.hermite import he_coefficients, hermite_values
from twolayer.numerics.quadrature import gauss_hermite


def test_values_equal_scipys_normalised():
    """The basis is SciPy's He_k divided by sqrt(k!)."""
    x = np.linspace(-4, 4, 33).reshape(3, 11)
    expected = np.stack([eval_hermitenorm(k, x) / math.sqrt(math.factorial(k)) for k in range(13)])
    np.testing.assert_allclose(
        hermite_values(x, 12), np.moveaxis(expected, 0, -1), rtol=1e-11, atol=1e-11
    )


def test_basis_is_orthonormal():
    """Under the standard normal law the Gram matrix of h_0, ..., h_40 is the identity."""
    nodes, weights = gauss_hermite(60)
    values = hermite_values(nodes, 40)
    np.testing.assert_allclose((values * weights[:, None]).T @ values, np.eye(41), atol=1e-10)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_low_degrees_have_the_asked_shape(degree):
    """Degrees 0 and 1, where the recursion has not begun, still return degree + 1 columns."""
    assert hermite_values(np.zeros((2, 3)), degree).shape == (2, 3, degree + 1)
    assert len(he_coefficients(degree)) == degree + 1


def test_high_degree_stays_finite():
    """The normalised recursion neither overflows nor loses orthonormality's scale at degree 300."""
    values = hermite_values(np.array([0.0, 3.0, -8.0]), 300)
    assert np.all(np.isfinite(values))
    # h_k(0)^2 = (k-1)!! / k!! for even k
    log_square = math.lgamma(301) - 2 * math.lgamma(151) - 300 * math.log(2)
    assert values[0, 300] == pytest.approx(math.exp(log_square / 2), rel=1e-10)


def test_integer_coefficients_give_the_same_polynomials():
    """He_k from its integer coefficients equals sqrt(k!) h_k."""
    x = np.linspace(-2, 2, 9)
    rows = he_coefficients(10)
    for k, row in enumerate(rows):
        assert all(isinstance(c, int) for c in row)
        value = sum(c * x**power for power, c in enumerate(row))
        expected = hermite_values(x, 10)[:, k] * math.sqrt(math.factorial(k))
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-8)
