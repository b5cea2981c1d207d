"""Sine and cosine agree with NumPy's, and so do their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twolayer.numerics.trigonometry import sine_cosine


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 2e-7), (jnp.float64, 1e-15)])
def test_values_in_all_quarters(dtype, tolerance):
    """Both are right to rounding over many turns, at 0 and at the joints between quarters."""
    grid = np.concatenate([np.linspace(-1000, 1000, 20001), np.arange(-8, 9) * np.pi / 4])
    z = jnp.asarray(grid, dtype)
    sine, cosine = sine_cosine(z)
    exact = np.asarray(z, np.float64)
    np.testing.assert_allclose(sine, np.sin(exact), rtol=0, atol=tolerance)
    np.testing.assert_allclose(cosine, np.cos(exact), rtol=0, atol=tolerance)


def test_derivatives():
    """The derivatives are cosine and minus sine themselves, not those of the polynomials."""
    z = jnp.linspace(-5, 5, 101, dtype=jnp.float32)
    (sine, cosine), (slope, curve) = jax.jvp(sine_cosine, (z,), (jnp.ones_like(z),))
    assert np.array_equal(slope, cosine)
    assert np.array_equal(curve, -sine)
    twice = jax.vmap(jax.grad(jax.grad(lambda u: sine_cosine(u)[0])))(z)
    np.testing.assert_allclose(twice, -sine, atol=1e-7)
