"""Train particles by noisy gradient descent: all seeds in one compiled program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from twolayer.dynamics.base import cast
from twolayer.dynamics.langevin.batches import check_counts
from twolayer.dynamics.langevin.gradient import residuals
from twolayer.dynamics.langevin.langevin import Langevin, whole
from twolayer.dynamics.langevin.march import Record, advice, begin, march, num_devices
from twolayer.dynamics.simulate import Progress, checked_times, seed_keys
from twolayer.free_energy import FreeEnergy, Particles
from twolayer.outcomes import Status, Trajectory


class LangevinRun(NamedTuple):
    """What `train_langevin` returns.

    Attributes
    ----------
    particles
        The particles at the end, with a leading axis of seeds.
    trajectory
        The risk at the observation times.
    observed
        What `observe` returned, each array with leading axes of seeds and times.
    residual
        The slope ``l'(f(x_i), y_i)`` at each sample, averaged over the second half of the run,
        shape ``[s, n, k]``: over all its steps, or over those that drew the sample. It is the
        last one where there was none. A certificate of near-optimality is sharpest for it, since
        its noise enters squared.
    mean_risk
        The risk averaged over the same steps, shape ``[s]``.
    """

    particles: Particles
    trajectory: Trajectory
    observed: Any
    residual: Float[np.ndarray, "s n k"]
    mean_risk: Float[np.ndarray, " s"]


def train_langevin(
    algorithm: Langevin,
    problem: FreeEnergy,
    particles: int | Particles,
    *,
    times: Sequence[float] | Float[np.ndarray, " t"],
    seeds: int | Sequence[int] = 1,
    key: PRNGKeyArray,
    observe: Callable[[Particles], Any] | None = None,
    progress: Progress | None = None,
) -> LangevinRun:
    """Train particles, and observe their risk at given times.

    All seeds run in one compiled program, in the precision of the particles; other steps,
    temperatures and decays reuse it. Risks are observed in double precision. A seed whose weights
    leave the finite numbers, or exceed 1e6, ends as ``"diverged"``, and its curves are NaN from
    there on; ``trajectory.details["advice"]`` then names the step that the curvature at its last
    observation allows. An interrupt (Ctrl-C) ends the run with what was observed so far and
    status ``"stopped"``.

    Parameters
    ----------
    algorithm
        The algorithm.
    problem
        What it minimises.
    particles
        How many, to start from `FreeEnergy.reference` in the precision of the inputs; or the
        particles to start from, the same for all seeds or with a leading axis of seeds.
    times
        When to observe: increasing, from 0 on; the nearest step is observed and its time
        reported.
    seeds
        How many, or which. A seed's run depends on `key` and its own number alone.
    key
        Source of all randomness.
    observe
        A function of one network's particles that returns an array, or a PyTree of them.
    progress
        Called with the steps done and the steps in all, several times a second.

    Raises
    ------
    ValueError
        If times don't increase from 0 or later, there is no seed or no particle, shapes don't fit
        the problem, a batch is larger than the data, or the particles can't be divided evenly
        over the devices.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0], [-1.0]], [1.0, -1.0], tanh, 0.1, 0.1, 0.01)
    >>> run = train_langevin(Langevin(0.2), problem, 100, times=[0, 20], key=jax.random.key(0))
    >>> bool(run.trajectory.value[0, 1] < run.trajectory.value[0, 0] / 2)
    True
    """
    ticks = algorithm.ticks(checked_times(times))
    keys = seed_keys(seeds, key)
    if algorithm.batches is not None and algorithm.batches.size > problem.num_samples:
        message = f"Expected a batch of at most the {problem.num_samples} samples. "
        message += f"Received: {algorithm.batches.size}. Leave it out to use all samples."
        raise ValueError(message)
    _check_particles(problem, particles, len(keys), num_devices(algorithm.mesh))
    dtype = particles.W.dtype if isinstance(particles, Particles) else problem.x.dtype
    alive, seen = np.ones(len(keys), bool), []
    record, interrupted = Record(len(keys), problem), False
    with jax.enable_x64(dtype == jnp.float64), jax.default_matmul_precision("highest"):
        start = _side_by_side(particles, len(keys))
        algorithm, problem, start = cast((algorithm, problem, start), dtype)
        keys_start, keys = (jax.vmap(lambda k, j=j: jax.random.fold_in(k, j))(keys) for j in (0, 1))
        healthy, states = begin(algorithm, problem, start, (keys_start, keys))
        try:
            for now, finite in march(algorithm, problem, states, ticks, keys, record, progress):
                here, states = whole(problem, now.theta), now
                risk, other = _look(problem, here, observe)
                alive = alive & finite & np.isfinite(risk)
                seen.append(_without(~alive, (risk, other)))
                healthy = _chosen(alive, here, healthy)
        except KeyboardInterrupt:
            interrupted = True
        final = whole(problem, states.theta)
        residual, mean_risk = record.averages(problem, final)
        details = _details(algorithm, problem, final)
        if not alive.all():
            exploded = jax.tree.map(lambda x: x[~alive], healthy)
            details["advice"] = advice(algorithm, problem, exploded, record, key)
    status: list[Status] = [_status(bool(well), interrupted) for well in alive]
    actual = ticks * float(algorithm.step)
    actual = np.where(np.isclose(actual, times, rtol=1e-5), times, actual)[: len(seen)]
    value, observed = (
        jax.tree.map(lambda *parts: np.stack(parts, axis=1), *seen)
        if seen
        else (np.empty((len(keys), 0)), None)
    )
    trajectory = Trajectory("risk", actual, value, tuple(status), details=details)
    return LangevinRun(final, trajectory, observed, residual, mean_risk)


def _check_particles(
    problem: FreeEnergy, particles: int | Particles, num_seeds: int, devices: int
) -> None:
    if isinstance(particles, Particles):
        seeds, number = particles.W.shape[:-2], particles.W.shape[-2]
        expected = (*seeds, number, problem.num_outputs), (*seeds, number, problem.dim)
        shapes = particles.a.shape, particles.W.shape
        if shapes != expected or number == 0 or seeds not in {(), (num_seeds,)}:
            message = f"Expected particles of {problem.num_outputs} output and {problem.dim} input "
            message += f"weights, at least one of them, and {num_seeds} seeds if any. "
            message += f"Received: shapes {shapes[0]} and {shapes[1]}."
            raise ValueError(message)
    else:
        check_counts(particles=particles)
        number = particles
    if number % devices:
        message = f"Expected a multiple of {devices} particles, to divide over as many devices. "
        message += f"Received: {number}."
        raise ValueError(message)


def _side_by_side(particles: int | Particles, num_seeds: int) -> int | Particles:
    """The particles with a leading axis of seeds."""
    if isinstance(particles, int) or particles.W.ndim == 3:
        return particles
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (num_seeds, *x.shape)), particles)


def _look(
    problem: FreeEnergy, particles: Particles, observe: Callable[[Particles], Any] | None
) -> tuple[Float[np.ndarray, " s"], Any]:
    """The risk of each seed and what else is observed, in double precision."""
    with jax.enable_x64(True):
        problem, particles, observe = cast((problem, particles, observe), jnp.float64)
        return jax.tree.map(np.asarray, _look_at_all(problem, particles, observe))


@eqx.filter_jit
def _look_at_all(
    problem: FreeEnergy, particles: Particles, observe: Callable[[Particles], Any] | None
) -> tuple[Array, Any]:
    def one(particles: Particles) -> tuple[Array, Any]:
        other = None if observe is None else observe(particles)
        return jnp.mean(residuals(problem, particles)[1]), other

    return jax.lax.map(one, particles)


def _without(dead: Bool[np.ndarray, " s"], seen: Any) -> Any:
    """What was seen, with NaN for dead seeds."""

    def leaf(x: np.ndarray) -> np.ndarray:
        if not np.issubdtype(x.dtype, np.inexact):
            return x
        return np.where(dead.reshape(-1, *(1,) * (x.ndim - 1)), np.nan, x)

    return jax.tree.map(leaf, seen)


def _chosen(alive: Bool[np.ndarray, " s"], new: Particles, old: Particles) -> Particles:
    """The new particles of living seeds, the old ones of the others."""
    if alive.all():
        return new
    return jax.tree.map(lambda x, y: jnp.where(jnp.asarray(alive)[:, None, None], x, y), new, old)


def _status(alive: bool, interrupted: bool) -> Status:
    if not alive:
        return "diverged"
    return "stopped" if interrupted else "finished"


def _details(
    algorithm: Langevin, problem: FreeEnergy, particles: Particles
) -> dict[str, float | int | str]:
    details: dict[str, float | int | str] = {
        "dynamics": "Langevin",
        "integrator": type(algorithm.integrator).__name__,
        "step": float(algorithm.step),
        "temperature": float(problem.temperature),
        "particles": particles.W.shape[-2],
        "dim": problem.dim,
        "samples": problem.num_samples,
        "activation": problem.activation.facts.name,
        "dtype": str(particles.W.dtype),
    }
    if algorithm.batches is not None:
        details["batch_size"] = algorithm.batches.size
    return details
