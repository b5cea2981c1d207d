"""The loop over steps: in chunks, side by side for all seeds, watched for explosions."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from twolayer.dynamics.langevin.gradient import BLOCK_BYTES, SMALLEST_BLOCK, residuals
from twolayer.dynamics.langevin.langevin import (
    Langevin,
    State,
    Sums,
    largest_curvature,
    moving,
)
from twolayer.dynamics.simulate import Progress
from twolayer.free_energy import FreeEnergy, Particles

_LARGEST = 1e6  # a weight beyond it means that the run has exploded
_LOOK_EVERY = 0.3  # seconds
_TOGETHER = 2**15  # particles of the seeds that run side by side; the others wait


class Record:
    """What a run leaves behind: sums over its steps in double precision, and its first explosion.

    Attributes
    ----------
    residual, visits, risk, steps
        As in `Sums`, with a leading axis of seeds.
    explosion
        The ticks between which the first seed exploded.
    """

    def __init__(self, num_seeds: int, problem: FreeEnergy):
        n, k = problem.y.shape
        self.residual = np.zeros((num_seeds, n, k))
        self.visits = np.zeros((num_seeds, n))
        self.risk, self.steps = np.zeros(num_seeds), np.zeros(num_seeds)
        self.explosion: tuple[int, int] | None = None

    def add(self, sums: Sums) -> None:
        """Add those of one chunk."""
        for name in Sums._fields:
            getattr(self, name)[...] += np.asarray(getattr(sums, name))

    def averages(
        self, problem: FreeEnergy, particles: Particles
    ) -> tuple[Float[np.ndarray, "s n k"], Float[np.ndarray, " s"]]:
        """Mean residuals, those of the last particles where none was seen, and mean risks."""
        residual = self.residual / np.maximum(self.visits, 1)[..., None]
        risk = self.risk / np.maximum(self.steps, 1)
        if np.all(self.visits > 0):
            return residual, risk
        last = (np.asarray(part, np.float64) for part in _last_look(problem, particles))
        return (
            np.where(self.visits[..., None] > 0, residual, next(last)),
            np.where(self.steps > 0, risk, next(last)),
        )


def begin(
    algorithm: Langevin,
    problem: FreeEnergy,
    particles: int | Particles,
    keys: tuple[PRNGKeyArray, PRNGKeyArray],
) -> tuple[Particles, State]:
    """Particles and states before the first step, divided over the devices of the mesh.

    The first keys are to draw them from the reference law, if only their number is given; the
    second are those of the run.
    """
    return divided(
        _begin(algorithm, problem, divided(particles, algorithm.mesh), keys), algorithm.mesh
    )


def march(
    algorithm: Langevin,
    problem: FreeEnergy,
    states: State,
    ticks: np.ndarray,
    keys: PRNGKeyArray,
    record: Record,
    progress: Progress | None,
) -> Iterator[tuple[State, Bool[np.ndarray, " s"]]]:
    """The states at each tick, and which of them have not exploded."""
    problem, keys = (replicated(part, algorithm.mesh) for part in (problem, keys))
    last, now, chunk = int(ticks[-1]), 0, 1
    since = jnp.asarray(last // 2, jnp.int32)
    healthy = np.ones(states.theta.W.shape[0], bool)
    for target in map(int, ticks):
        while now < target and healthy.any():
            began, stop = time.perf_counter(), min(target, now + chunk)
            span = jnp.asarray(now, jnp.int32), jnp.asarray(stop, jnp.int32), since
            states, sums, finite = _advance(algorithm, problem, states, span, keys)
            record.add(sums)
            if record.explosion is None and not np.all(np.asarray(finite) | ~healthy):
                record.explosion = now, stop
            healthy = healthy & np.asarray(finite)
            now = stop
            if progress is not None:
                progress(float(now), float(last))
            taken = time.perf_counter() - began
            if taken < _LOOK_EVERY / 2:
                chunk *= 2
            elif taken > 2 * _LOOK_EVERY:
                chunk = max(1, chunk // 2)
        yield states, healthy


def advice(
    algorithm: Langevin,
    problem: FreeEnergy,
    particles: Particles,
    record: Record,
    key: PRNGKeyArray,
) -> str:
    """What to do about an explosion, from the largest curvature at the given particles.

    Parameters
    ----------
    algorithm, problem
        What ran.
    particles
        Where exploded seeds were last seen healthy, with a leading axis of them.
    record
        Says when the first exploded.
    key
        Starts the power iteration.
    """
    first, last = record.explosion or (0, 0)
    curvature = float(np.max(_curvatures(problem, particles, key)))
    own, limit = float(algorithm.step), math.inf
    if 0 < curvature < math.inf:
        limit = algorithm.integrator.largest_step(curvature)
    # Where the quadratic approximation would allow the step, noise or a batch was to blame.
    limit = min(limit, own / 2)
    digits = 1 - math.floor(math.log10(limit))
    limit = math.floor(limit * 10**digits) / 10**digits
    return f"diverged between steps {first} and {last}: try a step below {limit:g}"


def divided(tree: Any, mesh: Mesh | None) -> Any:
    """The same arrays, their second axis divided over the mesh's first."""
    if mesh is None or isinstance(tree, int):
        return tree
    sharding = _sharding(mesh, None, mesh.axis_names[0])
    return jax.tree.map(lambda x: jax.device_put(x, sharding), tree)


def replicated(tree: Any, mesh: Mesh | None) -> Any:
    """The same arrays, whole on each device of the mesh."""
    if mesh is None:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    arrays = jax.tree.map(lambda x: jax.device_put(x, _sharding(mesh)), arrays)
    return eqx.combine(arrays, rest)


def _sharding(mesh: Mesh, *axes: str | None) -> NamedSharding:
    """Of a mesh on which the compiler finds out by itself where sums over particles cross it."""
    automatic = (AxisType.Auto,) * len(mesh.axis_names)
    mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=automatic)
    return NamedSharding(mesh, PartitionSpec(*axes))


def num_devices(mesh: Mesh | None) -> int:
    """Over how many devices particles are divided."""
    return 1 if mesh is None else mesh.shape[mesh.axis_names[0]]


@eqx.filter_jit
def _begin(
    algorithm: Langevin,
    problem: FreeEnergy,
    particles: int | Particles,
    keys: tuple[PRNGKeyArray, PRNGKeyArray],
) -> tuple[Particles, State]:
    def one(particles: Particles, key: PRNGKeyArray) -> State:
        return algorithm.start(problem, particles, key=key)

    def draw(key: PRNGKeyArray) -> Particles:
        return problem.reference(particles, key=key)  # type: ignore[arg-type]

    start = jax.vmap(draw)(keys[0]) if isinstance(particles, int) else particles
    return start, jax.vmap(one)(start, keys[1])


@eqx.filter_jit
def _advance(
    algorithm: Langevin,
    problem: FreeEnergy,
    states: State,
    ticks: tuple[Array, Array, Array],
    keys: PRNGKeyArray,
) -> tuple[State, Sums, Bool[Array, " s"]]:
    num_seeds, width, _ = states.theta.W.shape
    together = min(num_seeds, max(1, _TOGETHER // width))
    row = together * -(-width // num_devices(algorithm.mesh)) * states.theta.W.dtype.itemsize
    size = max(SMALLEST_BLOCK, BLOCK_BYTES // row)

    def one(state: State, key: PRNGKeyArray) -> tuple[State, Sums, Bool[Array, ""]]:
        state, sums = algorithm.advance(problem, state, ticks, key=key, block_size=size)
        largest = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(state.theta)]
        return state, sums, jnp.max(jnp.stack(largest)) < _LARGEST  # false for NaN

    if together == num_seeds:
        return jax.vmap(one)(states, keys)
    return jax.lax.map(lambda pair: one(*pair), (states, keys), batch_size=together)


@eqx.filter_jit
def _last_look(problem: FreeEnergy, particles: Particles) -> tuple[Array, Array]:
    def one(particles: Particles) -> tuple[Array, Array]:
        residual, loss = residuals(problem, particles)
        return residual, jnp.mean(loss)

    return jax.lax.map(one, particles)


@eqx.filter_jit
def _curvatures(problem: FreeEnergy, particles: Particles, key: PRNGKeyArray) -> Float[Array, " s"]:
    def one(particles: Particles) -> Array:
        return largest_curvature(problem, moving(problem, particles), key=key)

    return jax.lax.map(one, particles)
