import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from helpers import assert_allclose, gaussian_mean
from twolayer.numerics.gaussian import log_cosh_mean, mehler, tanh_derivatives


def test_mehler_is_the_plain_series():
    """Horner's rule equals the sum term by term, and broadcasts rows against columns."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(3, 1, 6)), rng.normal(size=(1, 4, 6))
    q12 = rng.uniform(-1, 1, size=(3, 4))
    expected = sum(left[..., k] * right[..., k] * q12**k for k in range(6))
    assert_allclose(
        mehler(jnp.asarray(left), jnp.asarray(right), jnp.asarray(q12)), expected, loss=1e-6
    )


def test_mehler_of_one_term_is_the_product():
    """A series of degree 0 does not depend on the covariance."""
    ones = jnp.ones((2, 1))
    assert_allclose(mehler(2 * ones, 3 * ones, jnp.asarray([0.3, -5.0])), [6.0, 6.0])


@pytest.mark.parametrize("variance", [0.01, 1.0, 9.0, 100.0, 1e4])
def test_smoothed_derivatives_of_tanh(variance):
    """mu_k sqrt(k!) r^k is E tanh(r G) He_k(G) by SciPy's quadrature, k up to 7."""
    from scipy.special import eval_hermitenorm

    radius = math.sqrt(variance)
    computed = np.asarray(tanh_derivatives(7, jnp.asarray(variance)))
    for k in range(8):
        mean = gaussian_mean(
            lambda g, k=k: math.tanh(radius * g) * eval_hermitenorm(k, g), breakpoints=(0.0,)
        )
        expected = mean / math.sqrt(math.factorial(k))
        assert computed[k] * radius**k == pytest.approx(expected, abs=2e-11)


def test_smoothed_derivatives_of_tanh_at_zero_variance():
    """At zero variance they are the derivatives 1, -2, 16, -272, 7936 of tanh at 0."""
    computed = np.asarray(tanh_derivatives(9, jnp.asarray(0.0)))
    roots = [math.sqrt(math.factorial(k)) for k in range(10)]
    expected = [0, 1, 0, -2, 0, 16, 0, -272, 0, 7936]
    np.testing.assert_allclose(computed * roots, expected, rtol=1e-12, atol=1e-12)


def test_heat_equation():
    """d mu_k / d variance = mu_{k+2} / 2, by automatic differentiation."""
    roots = np.asarray([math.sqrt(math.factorial(k)) for k in range(8)])
    for variance in (0.0, 0.5, 3.0):
        values = np.asarray(tanh_derivatives(7, jnp.asarray(variance))) * roots
        slope = np.asarray(jax.jacfwd(lambda v: tanh_derivatives(7, v))(jnp.asarray(variance)))
        np.testing.assert_allclose((slope * roots)[:6], values[2:] / 2, rtol=1e-10, atol=1e-12)


def test_high_degrees_of_tanh_stay_normalised():
    """Parseval at degree 255: the squared coefficients at variance 1 sum to E tanh(G)^2."""
    coefficients = np.asarray(tanh_derivatives(255, jnp.asarray(1.0)))
    truth, _ = integrate.quad(
        lambda g: math.tanh(g) ** 2 * math.exp(-g * g / 2) / math.sqrt(2 * math.pi), -12, 12
    )
    assert float(coefficients @ coefficients) == pytest.approx(truth, abs=1e-10)


@pytest.mark.parametrize("variance", [0.0, 1e-3, 1.0, 100.0, 1e4])
def test_mean_of_log_cosh(variance):
    """E log cosh(r G) agrees with SciPy's quadrature at every variance, also 0."""
    radius = math.sqrt(variance)

    def log_cosh(g):
        x = abs(radius * g)
        return x + math.log1p(math.exp(-2 * x)) - math.log(2)

    expected = gaussian_mean(log_cosh, breakpoints=(0.0,))
    computed = float(log_cosh_mean(jnp.asarray(variance)))
    assert computed == pytest.approx(expected, rel=1e-11, abs=1e-13)


def test_slope_of_log_cosh():
    """Its slope in the variance is E sech^2(r G) / 2, which is 1/2 at variance 0."""
    assert float(jax.grad(log_cosh_mean)(jnp.asarray(0.0))) == pytest.approx(0.5, abs=1e-12)
    expected = gaussian_mean(lambda g: 0.5 / math.cosh(1.5 * g) ** 2)
    assert float(jax.grad(log_cosh_mean)(jnp.asarray(2.25))) == pytest.approx(expected, abs=1e-12)


def test_batches_equal_single_variances():
    """A matrix of variances gives the matrix of results, in single precision as well."""
    variance = jnp.asarray([[0.1, 1.0, 2.0], [3.0, 0.0, 5.0]])
    batch = tanh_derivatives(5, variance)
    assert batch.shape == (2, 3, 6)
    assert_allclose(batch[1, 2], tanh_derivatives(5, variance[1, 2]), loss=1e-6)
    assert_allclose(log_cosh_mean(variance)[0, 1], log_cosh_mean(variance[0, 1]), loss=1e-6)
    single = tanh_derivatives(5, variance.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, batch, rtol=2e-5, atol=1e-6)
