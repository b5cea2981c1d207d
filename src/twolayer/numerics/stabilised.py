"""Stabilised explicit integration: long steps along slow flows without linear systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Velocity = Callable[[Float[Array, ""], Float[Array, " n"]], Float[Array, " n"]]

_DAMPING = 2 / 13
_MOST_STAGES = 400
_FIRST_POWERS = 20  # power iterations for the first spectral radius; one more in each step
_MARGIN = 1.2  # a power iteration finds the spectral radius from below


class Stabilised(NamedTuple):
    """A solution at the asked times.

    Attributes
    ----------
    states
        The state at each time; NaN from where the integration failed.
    finished
        Whether the last time was reached with finite numbers.
    num_steps, num_evaluations
        Steps taken, and velocities (or products of its Jacobian) evaluated.
    """

    states: Float[Array, "t n"]
    finished: Array
    num_steps: Array
    num_evaluations: Array


class _Stage(NamedTuple):
    chebyshev: tuple[Array, Array, Array]
    b: Array
    y: Array
    place: Array


class _State(NamedTuple):
    t: Array
    y: Array
    velocity: Array
    step: Array
    radius: Array
    direction: Array
    steps: Array
    evaluations: Array


def stabilised(
    velocity: Velocity,
    initial: Float[Array, " n"],
    times: Float[Array, " t"],
    *,
    rtol: float,
    atol: float,
    max_steps: int,
) -> Stabilised:
    """Solve ``y' = velocity(t, y)`` by Runge-Kutta-Chebyshev steps of second order.

    Method, error estimate and step control of sommeijer1998rkc. A step of length h takes about
    ``sqrt(1.5 h rho)`` evaluations, rho being the spectral radius of the Jacobian, where an
    ordinary explicit method needs ``h rho / 3``. The Jacobian's eigenvalues must lie near the
    negative real axis, as those of a gradient flow do; the radius is followed by power iteration.

    Parameters
    ----------
    velocity
        The right-hand side.
    initial
        The state at ``times[0]``.
    times
        Increasing times; every one is the end of a step.
    rtol, atol
        Relative and absolute tolerance of each step.
    max_steps
        After so many steps, rejected ones included, the flow counts as not finished.

    Examples
    --------
    >>> rates = jnp.asarray([1.0, 1e4])
    >>> run = stabilised(
    ...     lambda t, y: -rates * y, jnp.ones(2), jnp.asarray([0.0, 1.0]),
    ...     rtol=1e-4, atol=1e-4, max_steps=1000,
    ... )
    >>> bool(abs(run.states[-1, 0] - jnp.exp(-1)) < 1e-3), bool(run.num_evaluations < 2000)
    (True, True)
    """
    start = times[0]
    first = velocity(start, initial)
    # Any direction with a part along the stiffest one will do.
    noise = jnp.cos(jnp.arange(initial.size, dtype=initial.dtype) ** 2 + 1)
    radius, direction = jax.lax.fori_loop(
        0,
        _FIRST_POWERS,
        lambda _, found: _power(velocity, start, initial, found[1]),
        (jnp.ones((), initial.dtype), noise / jnp.linalg.norm(noise)),
    )
    scale = atol + rtol * jnp.abs(initial)
    slope = jnp.sqrt(jnp.mean((first / scale) ** 2))
    step = jnp.minimum(0.1 / jnp.maximum(radius, 1e-300), 0.1 / jnp.maximum(slope, 1e-300))
    step = jnp.minimum(step, times[-1] - start)
    zero = jnp.zeros((), int)
    state = _State(start, initial, first, step, radius, direction, zero, zero + _FIRST_POWERS)

    def reach(state: _State, end: Array) -> tuple[_State, Array]:
        def unfinished(state: _State) -> Array:
            return (state.t < end) & (state.steps < max_steps) & (state.step > 0)

        state = jax.lax.while_loop(
            unfinished, lambda s: _advance(velocity, s, end, rtol, atol), state
        )
        return state, jnp.where(state.t >= end, state.y, jnp.nan)

    state, states = jax.lax.scan(reach, state, times[1:])
    states = jnp.concatenate([initial[None], states])
    finished = jnp.all(jnp.isfinite(states))
    return Stabilised(states, finished, state.steps, state.evaluations)


def _power(velocity: Velocity, t: Array, y: Array, direction: Array) -> tuple[Array, Array]:
    """One power iteration on the Jacobian: its spectral radius from below."""
    image = jax.jvp(lambda y: velocity(t, y), (y,), (direction,))[1]
    size = jnp.linalg.norm(image)
    usable = jnp.isfinite(size) & (size > 0)
    return (
        jnp.where(usable, size, 0.0),
        jnp.where(usable, image / jnp.where(usable, size, 1.0), direction),
    )


def _advance(velocity: Velocity, state: _State, end: Array, rtol: float, atol: float) -> _State:
    """One step, taken or rejected."""
    radius, direction = _power(velocity, state.t, state.y, state.direction)
    bound = _MARGIN * jnp.maximum(radius, 0.9 * state.radius)
    longest = (_MOST_STAGES**2 - 1) / 1.54 / jnp.maximum(bound, 1e-300)
    remaining = end - state.t
    proposed = jnp.minimum(state.step, longest)
    last = proposed >= remaining * (1 - 1e-12)
    h = jnp.where(last, remaining, proposed)
    stages = jnp.maximum(2, 1 + jnp.floor(jnp.sqrt(1 + 1.54 * h * bound))).astype(int)
    y = _chebyshev(velocity, state, h, stages)
    t = jnp.where(last, end, state.t + h)
    after = velocity(t, y)
    estimate = 0.8 * (state.y - y) + 0.4 * h * (state.velocity + after)
    scale = atol + rtol * jnp.maximum(jnp.abs(y), jnp.abs(state.y))
    error = jnp.sqrt(jnp.mean((estimate / scale) ** 2))
    error = jnp.where(jnp.isfinite(error), error, jnp.inf)
    accepted = error <= 1
    factor = jnp.clip(0.8 * jnp.maximum(error, 1e-9) ** (-1 / 3), 0.1, 5.0)
    # A step cut short by an output time says nothing against the longer one.
    grown = jnp.where(last & accepted, jnp.maximum(h * factor, state.step), h * factor)
    return _State(
        jnp.where(accepted, t, state.t),
        jnp.where(accepted, y, state.y),
        jnp.where(accepted, after, state.velocity),
        jnp.where(grown > 1e-14 * jnp.abs(state.t), grown, 0.0),
        jnp.maximum(radius, 0.9 * state.radius),
        direction,
        state.steps + 1,
        state.evaluations + stages + 1,
    )


def _chebyshev(velocity: Velocity, state: _State, h: Array, stages: Array) -> Array:
    """The Runge-Kutta-Chebyshev step: (2.1)-(2.4) of sommeijer1998rkc."""
    s = stages.astype(h.dtype)
    w0 = 1 + _DAMPING / s**2
    square = w0**2 - 1
    argument = s * jnp.log(w0 + jnp.sqrt(square))
    sinh = jnp.sinh(argument)
    w1 = sinh * square / (jnp.cosh(argument) * s * jnp.sqrt(square) - w0 * sinh)
    b2 = 1 / (4 * w0**2)  # T_2'' / T_2'^2, and the value of b_0 and b_1 too
    y0, f0 = state.y, h * state.velocity
    # value, first and second derivative of T_{j-2} and T_{j-1}
    older = (jnp.ones_like(w0), jnp.zeros_like(w0), jnp.zeros_like(w0))
    newer = (w0, jnp.ones_like(w0), jnp.zeros_like(w0))
    # each of the two latest stages: Chebyshev values, b_j, state, and its time as a part of h
    first = _Stage(older, b2, y0, jnp.zeros_like(h))
    second = _Stage(newer, b2, y0 + b2 * w1 * f0, b2 * w1)

    def stage(_: Array, latest: tuple[_Stage, _Stage]) -> tuple[_Stage, _Stage]:
        older, newer = latest
        value = 2 * w0 * newer.chebyshev[0] - older.chebyshev[0]
        slope = 2 * newer.chebyshev[0] + 2 * w0 * newer.chebyshev[1] - older.chebyshev[1]
        bend = 4 * newer.chebyshev[1] + 2 * w0 * newer.chebyshev[2] - older.chebyshev[2]
        b = bend / slope**2
        mu, nu, weight = 2 * b * w0 / newer.b, -b / older.b, 2 * b * w1 / newer.b
        of_first = -(1 - newer.b * newer.chebyshev[0]) * weight
        force = h * velocity(state.t + newer.place * h, newer.y)
        y = (1 - mu - nu) * y0 + mu * newer.y + nu * older.y + weight * force + of_first * f0
        place = mu * newer.place + nu * older.place + weight + of_first
        return newer, _Stage((value, slope, bend), b, y, place)

    return jax.lax.fori_loop(2, stages + 1, stage, (first, second))[1].y
