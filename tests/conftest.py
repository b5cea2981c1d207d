"""Every test runs in double precision with JAX's strictest promotion rules."""

import itertools
import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread a worker: more only get in each other's way
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

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
