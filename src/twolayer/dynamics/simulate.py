"""The one loop that runs every training algorithm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from twolayer.dynamics.base import (
    Dynamics,
    cast,
    inexact,
    parameters_of,
    with_parameters,
)
from twolayer.dynamics.observe import Estimate, default_risk
from twolayer.networks import TwoLayerNetwork
from twolayer.outcomes import Status, Trajectory

Initialise = Callable[..., TwoLayerNetwork]
Progress = Callable[[float, float], object]

_LARGEST = 1e6  # a weight beyond it means that the run has exploded
_SHORTEST_CHUNK = 1024  # steps between two looks, a multiple of the block size of SGD
_LOOK_EVERY = 0.3  # seconds
_TEST_SAMPLES = 2**32 - 1  # the "seed" of the test samples


class Run(NamedTuple):
    """What `train` returns.

    Attributes
    ----------
    networks
        The networks at the end, with a leading axis of seeds in a, W and b.
    trajectory
        What was observed on the way.
    """

    networks: TwoLayerNetwork
    trajectory: Trajectory


def simulate(
    dynamics: Dynamics,
    initialise: Initialise | TwoLayerNetwork,
    task: Any,
    *,
    times: Sequence[float] | Float[np.ndarray, " t"],
    seeds: int | Sequence[int] = 1,
    key: PRNGKeyArray,
    observe: Callable[[TwoLayerNetwork], Any] | None = None,
    progress: Progress | None = None,
) -> Trajectory:
    """Train networks, and observe their loss at given times.

    All seeds run together in one compiled program, in the precision of the network's weights;
    the observation is made in double precision. A seed whose weights leave the finite numbers,
    or exceed 1e6, ends as ``"diverged"`` and its curve is NaN from there on; the others go on.
    An interrupt (Ctrl-C) ends the run with what was observed so far and status ``"stopped"``.

    Parameters
    ----------
    dynamics
        The training algorithm.
    initialise
        ``initialise(key=key)`` gives the network to start from; or that network itself.
    task
        The law of the samples.
    times
        When to observe: increasing, from 0 on. The algorithm starts at time 0. An algorithm that
        moves in steps is observed at the nearest step, whose time is reported.
    seeds
        How many, or which. A seed's curve depends on `key` and its own number alone.
    key
        Source of all randomness.
    observe
        A function of one network: a number, or an `Estimate` with its standard error. By
        default the exact population risk where it has a closed form, else a sampled one, against
        labels without noise.
    progress
        Called with how much is done and how much there is in all, several times a second.

    Raises
    ------
    ValueError
        If times don't increase from 0 or later, there is no seed, or the network and the task
        have inputs of different dimension.

    Examples
    --------
    >>> from functools import partial
    >>> import twolayer as tl
    >>> from twolayer.dynamics.gradient_flow import GradientFlow
    >>> task = tl.Regression(tl.Gaussian(3), tl.Polynomial("z1"))
    >>> initialise = partial(tl.mean_field_network, 20, 3, tl.cos_sin)
    >>> run = simulate(GradientFlow(), initialise, task, times=[0, 9], key=jax.random.key(0))
    >>> run.value[0, 1] < run.value[0, 0] / 5, run.status
    (np.True_, ('finished',))
    """
    keys = seed_keys(seeds, key)
    networks = stack([_initial(initialise, jax.random.fold_in(k, 0)) for k in keys])
    keys = jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys)
    dim = getattr(getattr(task, "inputs", None), "dim", networks.dim)
    if networks.dim != dim:
        message = f"Expected a network of inputs of dimension {dim}. Received: {networks.dim}."
        raise ValueError(message)
    if observe is None:
        observe = default_risk(task, networks, key=jax.random.fold_in(key, _TEST_SAMPLES))
    options: dict[str, Any] = {"times": times, "observe": observe, "progress": progress}
    return train(dynamics, networks, task, keys=keys, **options).trajectory


def train(
    dynamics: Dynamics,
    networks: TwoLayerNetwork,
    task: Any,
    *,
    times: Sequence[float] | Float[np.ndarray, " t"],
    keys: PRNGKeyArray,
    observe: Callable[[TwoLayerNetwork], Any],
    progress: Progress | None = None,
) -> Run:
    """Train several networks side by side; `simulate` says how.

    Parameters
    ----------
    dynamics, task, times, observe, progress
        As for `simulate`.
    networks
        The networks to start from, with a leading axis of seeds in a, W and b.
    keys
        One random key for each of them.
    """
    ticks = dynamics.ticks(checked_times(times))
    dtype = networks.W.dtype
    alive = np.ones(networks.W.shape[0], bool)
    seen: list[Estimate] = []
    interrupted = False
    with jax.enable_x64(dtype == jnp.float64), jax.default_matmul_precision("highest"):
        networks, dynamics, bare = cast((networks, dynamics, inexact(task)), dtype)
        try:
            for after, healthy in _march(dynamics, networks, bare, ticks, keys, progress):
                networks, look = after, _look(observe, after)
                alive = alive & healthy & np.isfinite(look.value)
                seen.append(Estimate(*(np.where(alive, part, np.nan) for part in look)))
        except KeyboardInterrupt:
            interrupted = True
    status: list[Status] = [_status(bool(well), interrupted) for well in alive]
    actual = np.where(
        np.isclose(dynamics.times(ticks), times, rtol=1e-5), times, dynamics.times(ticks)
    )
    return Run(
        networks, _trajectory(seen, actual[: len(seen)], status, _details(dynamics, networks))
    )


def _march(
    dynamics: Dynamics,
    networks: TwoLayerNetwork,
    task: Any,
    ticks: np.ndarray,
    keys: PRNGKeyArray,
    progress: Progress | None,
) -> Iterator[tuple[TwoLayerNetwork, Bool[np.ndarray, " s"]]]:
    """The networks at each tick, and which of them are still finite."""
    now, chunk = ticks.dtype.type(0), _SHORTEST_CHUNK
    healthy = np.ones(networks.W.shape[0], bool)
    for target in ticks:
        while now < target and healthy.any():
            started = time.perf_counter()
            # A flow goes to the next observation at once; steps are cut into chunks that end at
            # multiples of the shortest one, so that chunks don't cut the blocks of SGD.
            whole = np.issubdtype(ticks.dtype, np.integer)
            stop = (
                min(target, (now // _SHORTEST_CHUNK) * _SHORTEST_CHUNK + chunk) if whole else target
            )
            networks, finite = _advance(
                dynamics, networks, task, jnp.asarray(now), jnp.asarray(stop), keys
            )
            healthy = healthy & np.asarray(finite)
            now = stop
            if progress is not None:
                progress(float(now), float(ticks[-1]))
            if time.perf_counter() - started < _LOOK_EVERY / 2:
                chunk *= 2
        yield networks, healthy


@eqx.filter_jit
def _advance(
    dynamics: Dynamics,
    networks: TwoLayerNetwork,
    task: Any,
    start: Array,
    stop: Array,
    keys: PRNGKeyArray,
) -> tuple[TwoLayerNetwork, Bool[Array, " s"]]:
    def one(parameters: Any, key: PRNGKeyArray) -> tuple[Any, Bool[Array, ""]]:
        network = with_parameters(networks, parameters)
        after = parameters_of(dynamics.advance(network, task, start, stop, key=key))
        largest = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(after)]
        return after, jnp.max(jnp.stack(largest)) < _LARGEST  # false for NaN

    parameters, healthy = jax.vmap(one)(parameters_of(networks), keys)
    return with_parameters(networks, parameters), healthy


def _look(observe: Callable[[TwoLayerNetwork], Any], networks: TwoLayerNetwork) -> Estimate:
    """What is observed of each network, in double precision."""
    with jax.enable_x64(True):
        observe, networks = cast((inexact(observe), networks), jnp.float64)
        return Estimate(*(np.asarray(part) for part in _observe_all(observe, networks)))


@eqx.filter_jit
def _observe_all(observe: Callable[[TwoLayerNetwork], Any], networks: TwoLayerNetwork) -> Estimate:
    def one(parameters: Any) -> Estimate:
        seen = observe(with_parameters(networks, parameters))
        return seen if isinstance(seen, Estimate) else Estimate(seen, jnp.zeros_like(seen))

    # One at a time: the memory of a population risk is m^2 for each network.
    return jax.lax.map(one, parameters_of(networks))


def _trajectory(
    seen: list[Estimate],
    times: Float[np.ndarray, " t"],
    status: Sequence[Status],
    details: dict[str, float | int | str],
) -> Trajectory:
    shape = len(status), len(seen)
    value, error = (
        np.stack(parts, axis=1) if parts else np.empty(shape)
        for parts in ([look.value for look in seen], [look.error for look in seen])
    )
    sampled = bool(np.nanmax(error, initial=0.0) > 0)
    return Trajectory("loss", times, value, tuple(status), error if sampled else None, details)


def _status(alive: bool, interrupted: bool) -> Status:
    if not alive:
        return "diverged"
    return "stopped" if interrupted else "finished"


def _details(dynamics: Dynamics, networks: TwoLayerNetwork) -> dict[str, float | int | str]:
    details: dict[str, float | int | str] = {
        "dynamics": type(dynamics).__name__,
        "width": networks.width,
        "dim": networks.dim,
        "activation": networks.activation.facts.name,
        "dtype": str(networks.W.dtype),
    }
    for name in ("learning_rate", "batch_size"):
        if hasattr(dynamics, name):
            details[name] = np.asarray(getattr(dynamics, name)).item()
    return details


def _initial(initialise: Initialise | TwoLayerNetwork, key: PRNGKeyArray) -> TwoLayerNetwork:
    return initialise if isinstance(initialise, TwoLayerNetwork) else initialise(key=key)


def stack(networks: Sequence[TwoLayerNetwork]) -> TwoLayerNetwork:
    """Networks that differ in their weights alone as one, with a leading axis in a, W and b."""
    parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(parameters_of, networks))
    return with_parameters(networks[0], parameters)


def seed_keys(seeds: int | Sequence[int], key: PRNGKeyArray) -> PRNGKeyArray:
    """One key for each seed, which depends on `key` and the seed's number alone.

    Raises
    ------
    ValueError
        If there is no seed, or one is negative.
    """
    numbers = np.asarray(range(seeds) if isinstance(seeds, int) else list(seeds))
    if numbers.size == 0 or numbers.min() < 0:
        message = f"Expected at least one seed, counted from 0. Received: {seeds!r}."
        raise ValueError(message)
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


def checked_times(times: Any) -> Float[np.ndarray, " t"]:
    """The times as an array, if they increase from 0 or later.

    Raises
    ------
    ValueError
        If they don't.
    """
    times = np.asarray(times, np.float64)
    increasing = times.ndim == 1 and times.size > 0 and np.all(np.diff(times) > 0)
    if not (increasing and times[0] >= 0 and np.isfinite(times[-1])):
        message = f"Expected increasing finite times from 0 on. Received: {times}."
        raise ValueError(message)
    return times
