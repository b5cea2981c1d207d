import jax
import jax.numpy as jnp
import pytest

from twolayer.numerics.precision import in_float64


@pytest.fixture
def single_precision():
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


def test_computes_in_double_and_restores(single_precision):
    """Inside the function arrays are float64; afterwards the global setting is as it was."""
    assert jnp.ones(1).dtype == jnp.float32
    assert in_float64(lambda: jnp.ones(1))().dtype == jnp.float64
    assert jnp.ones(1).dtype == jnp.float32


def test_restores_after_an_exception(single_precision):
    """A function that raises leaves no trace in the configuration."""

    def fails():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        in_float64(fails)()
    assert jnp.ones(1).dtype == jnp.float32


def test_keeps_arguments_and_name():
    """Arguments pass through and the wrapper keeps the function's name."""

    def scaled(x, *, by):
        """Scale."""
        return by * x

    assert in_float64(scaled)(3.0, by=2.0) == 6.0
    assert in_float64(scaled).__name__ == "scaled"
    assert in_float64(scaled).__doc__ == "Scale."
