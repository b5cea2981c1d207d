"""Every test runs in double precision with JAX's strictest promotion rules."""

import itertools

import jax
import matplotlib as mpl
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
mpl.use("Agg")


@pytest.fixture
def getkey():
    """A function that returns a new random key at each call."""
    counter = itertools.count()
    return lambda: jax.random.fold_in(jax.random.key(20240208), next(counter))
