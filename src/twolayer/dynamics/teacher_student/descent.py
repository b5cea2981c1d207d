"""Gradient descent of many students at once on one teacher, each until its gradient vanishes."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from twolayer.numerics.precision import in_float64
from twolayer.outcomes import Status
from twolayer.teacher_student import TeacherStudent

_CHUNK = 64  # steps between two looks at loss and gradient
# Students worked on at a time: of 8, 16 and 32 the fastest, as the last ones to finish keep the
# others' places empty, and the numbers of 8 stay in the cache.
_POOL = 8
_MOST_HALVINGS = 40
_ROUNDING = 1e-12  # of the risk of the student that is 0: a loss that rises less has not risen
_STATUS: tuple[Status, ...] = ("finished", "stopped", "diverged")


class Descent(NamedTuple):
    """Where gradient descent ended, run by run.

    Attributes
    ----------
    W
        The students.
    losses, gradient_norms
        Their risk and the Frobenius norm of its gradient.
    steps
        How many steps each took (in multiples of 64).
    learning_rates
        The step each ended with.
    status
        ``"finished"`` where the gradient fell below the asked norm, ``"stopped"`` where the
        steps ran out, ``"diverged"`` where no step size made the loss fall.
    """

    W: Float[np.ndarray, "s m d"]
    losses: Float[np.ndarray, " s"]
    gradient_norms: Float[np.ndarray, " s"]
    steps: Int[np.ndarray, " s"]
    learning_rates: Float[np.ndarray, " s"]
    status: tuple[Status, ...]


@in_float64
def descend(
    problem: TeacherStudent,
    starts: Float[ArrayLike, "s m d"],
    a: Float[ArrayLike, " m"] | None = None,
    *,
    learning_rate: float,
    gradient_norm: float = 1e-9,
    max_steps: int = 100_000,
) -> Descent:
    """Gradient descent ``W <- W - learning_rate grad L(W)`` from each start.

    One compiled program works on a pool of 8 students; as soon as one has finished, the next
    start takes its place. A loss that rose over 64 steps, or is not finite, sends the student back
    to before them with half the step.

    Parameters
    ----------
    problem
        The risk.
    starts
        Students to start from.
    a
        Output weights of all of them, fixed; 1 by default.
    learning_rate
        The step, first.
    gradient_norm
        A student has finished when the Frobenius norm of its gradient is no larger.
    max_steps
        A student stops after so many steps (rounded up to a multiple of 64).

    Raises
    ------
    ValueError
        If the shapes do not fit, a start is not finite, or a number is not positive.

    Examples
    --------
    >>> problem = TeacherStudent(np.eye(2))
    >>> run = descend(problem, np.eye(2)[None] + 0.1, learning_rate=0.5, gradient_norm=1e-6)
    >>> run.status, bool(np.allclose(run.W[0], np.eye(2), atol=1e-4))
    (('finished',), True)
    """
    starts = np.asarray(starts, np.float64)
    if starts.ndim != 3 or 0 in starts.shape or not np.all(np.isfinite(starts)):
        message = "Expected finite starts of shape [runs, m, d]. Received: "
        message += f"shape {starts.shape}" + ("." if starts.ndim != 3 else ", or not finite.")
        raise ValueError(message)
    for name, value in {"learning_rate": learning_rate, "gradient_norm": gradient_norm}.items():
        if isinstance(value, bool) or not 0 < value < np.inf:
            message = f"Expected {name} to be positive. Received: {value!r}."
            raise ValueError(message)
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        message = f"Expected max_steps of at least 1. Received: {max_steps!r}."
        raise ValueError(message)
    outputs = jnp.ones(starts.shape[1]) if a is None else jnp.asarray(a, float)
    limits = _Limits(*map(jnp.asarray, (learning_rate, gradient_norm, max_steps)))
    pool = min(_POOL, starts.shape[0])
    ended = jax.tree.map(np.asarray, _descend(problem, jnp.asarray(starts), outputs, limits, pool))
    status = tuple(_STATUS[code] for code in ended.code)
    return Descent(ended.W, ended.loss, ended.norm, ended.steps, ended.rate, status)


class _Limits(NamedTuple):
    learning_rate: Array
    gradient_norm: Array
    max_steps: Array


class _Slots(NamedTuple):
    """Students, with a leading axis of slots in the pool or of runs."""

    W: Array
    loss: Array
    norm: Array
    steps: Array
    rate: Array
    halvings: Array
    code: Array


class _State(NamedTuple):
    slots: _Slots
    run: Array  # which run a slot holds; the number of runs where it is empty
    ended: _Slots
    following: Array  # the first run that has not started


@eqx.filter_jit
def _descend(
    problem: TeacherStudent,
    starts: Array,
    a: Array,
    limits: _Limits,
    pool: int,
) -> _Slots:
    runs = starts.shape[0]
    gradient = jax.vmap(lambda W: problem.gradient(W, a))
    risk = jax.vmap(lambda W: problem(W, a))
    noise = _ROUNDING * problem(jnp.zeros_like(starts[0]), a)

    def fresh(index: Array) -> _Slots:
        W = starts[jnp.minimum(index, runs - 1)]
        zero = jnp.zeros(index.shape)
        rate = jnp.full(index.shape, limits.learning_rate)
        whole = jnp.zeros(index.shape, int)
        return _Slots(W, risk(W), zero + jnp.inf, whole, rate, whole, whole)

    def advance(slots: _Slots) -> _Slots:
        def step(_, W):
            return W - slots.rate[:, None, None] * gradient(W)

        W = jax.lax.fori_loop(0, _CHUNK, step, slots.W)
        loss = risk(W)
        norm = jnp.sqrt(jnp.sum(gradient(W) ** 2, axis=(1, 2)))
        fell = (loss <= slots.loss + noise) & jnp.isfinite(norm)
        halvings = slots.halvings + jnp.where(fell, 0, 1)
        return _Slots(
            jnp.where(fell[:, None, None], W, slots.W),
            jnp.where(fell, loss, slots.loss),
            jnp.where(fell, norm, slots.norm),
            slots.steps + jnp.where(fell, _CHUNK, 0),
            jnp.where(fell, slots.rate, slots.rate / 2),
            halvings,
            slots.code,
        )

    def cycle(state: _State) -> _State:
        slots = advance(state.slots)
        finished = slots.norm <= limits.gradient_norm
        diverged = slots.halvings > _MOST_HALVINGS
        done = (finished | diverged | (slots.steps >= limits.max_steps)) & (state.run < runs)
        slots = slots._replace(code=jnp.where(finished, 0, jnp.where(diverged, 2, 1)))
        # Runs that go on write beyond the end, which is dropped.
        place = jnp.where(done, state.run, runs)
        ended = jax.tree.map(
            lambda kept, new: kept.at[place].set(new, mode="drop"), state.ended, slots
        )
        index = state.following + jnp.cumsum(done) - 1
        run = jnp.where(done, jnp.minimum(index, runs), state.run)
        refilled = jax.lax.cond(
            jnp.any(done), lambda: _chosen(done, fresh(index), slots), lambda: slots
        )
        return _State(refilled, run, ended, state.following + jnp.sum(done))

    first = jnp.arange(pool)
    state = _State(fresh(first), first, fresh(jnp.arange(runs)), jnp.asarray(pool))
    return jax.lax.while_loop(lambda s: jnp.any(s.run < runs), cycle, state).ended


def _chosen(condition: Array, new: _Slots, old: _Slots) -> _Slots:
    def choose(x: Array, y: Array) -> Array:
        return jnp.where(condition.reshape((-1,) + (1,) * (x.ndim - 1)), x, y)

    return jax.tree.map(choose, new, old)
