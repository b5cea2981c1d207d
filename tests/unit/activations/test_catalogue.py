"""Activations by name."""

import jax.numpy as jnp

from twolayer.activations import activation_of


def test_the_zero_polynomial_is_an_activation():
    """``x - x`` is the constant 0, ``3`` the constant 3."""
    assert float(activation_of("x - x")(jnp.asarray(2.0))) == 0.0
    assert float(activation_of("3")(jnp.asarray(2.0))) == 3.0
