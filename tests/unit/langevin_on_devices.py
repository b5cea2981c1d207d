"""Run by a test in a process of its own: the same run on 1, 2 and 8 devices."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
import pytest

from twolayer.activations import tanh
from twolayer.dynamics.langevin import Langevin, Minibatch, train_langevin
from twolayer.free_energy import FreeEnergy

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
x = rng.standard_normal((23, 3))
problem = FreeEnergy(x, np.tanh(x[:, 0] * x[:, 1]), tanh, 0.1, 0.1, 0.05)
svrg = Minibatch(4, variance_reduction="svrg", refresh=5)
for options, counts in (
    ({"block_size": 5}, (None, 2, 8)),
    ({"integrator": "underdamped", "batches": svrg}, (None, 8)),
):
    runs = []
    for count in counts:
        mesh = None
        if count is not None:
            mesh = jax.make_mesh((count,), ("particles",), devices=jax.devices()[:count])
        algorithm = Langevin(0.2, mesh=mesh, **options)
        run = train_langevin(
            algorithm, problem, 64, times=[0, 2, 8], seeds=2, key=jax.random.key(0)
        )
        shards = run.particles.W.addressable_shards
        assert len(shards) == (count or 1), (count, len(shards))
        assert shards[0].data.shape == (2, 64 // (count or 1), 3)
        runs.append(run)
    for run in runs[1:]:
        np.testing.assert_allclose(run.particles.W, runs[0].particles.W, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(run.residual, runs[0].residual, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(run.trajectory.value, runs[0].trajectory.value, rtol=1e-9)
mesh = jax.make_mesh((8,), ("particles",))
with pytest.raises(ValueError, match="multiple of 8"):
    train_langevin(Langevin(0.2, mesh=mesh), problem, 63, times=[1], key=jax.random.key(0))
