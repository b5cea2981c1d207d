"""Mini-batch training of both layers by Adam, with early stopping on held-out samples."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twolayer.estimators.base import Samples

_DECAYS = (0.9, 0.999)
_SMALL = 1e-8
_MOST_OUTSIDE = 10_000  # held-out samples that are looked at after each pass


class State(NamedTuple):
    """Parameters ``(W, b, a, c)`` of ``f(x) = relu(x W^T + b) a + c``, moments, steps taken."""

    parameters: tuple[Array, Array, Array, Array]
    first: tuple[Array, Array, Array, Array]
    second: tuple[Array, Array, Array, Array]
    steps: Array


class Descent(NamedTuple):
    """What `descend` returns.

    Attributes
    ----------
    state
        At the best pass.
    loss
        The held-out loss after each pass, the training loss where nothing is held out.
    """

    state: State
    loss: list[float]


def initial_state(width: int, dim: int, outputs: int, generator: np.random.RandomState) -> State:
    """``w ~ N(0, 2 / d)`` and small output weights, so that the network starts near 0."""
    W = generator.standard_normal((width, dim)) * np.sqrt(2 / dim)
    a = generator.standard_normal((width, outputs)) * 0.1 / np.sqrt(width)
    parts = (W, generator.standard_normal(width) * 0.5, a, np.zeros(outputs))
    parameters = tuple(jnp.asarray(part, jnp.float32) for part in parts)
    zeros = tuple(jnp.zeros_like(part) for part in parameters)
    return State(parameters, zeros, zeros, jnp.zeros((), jnp.int32))  # type: ignore[arg-type]


def outputs(parameters: Any, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """The network at each input."""
    W, b, a, c = parameters
    return jax.nn.relu(x @ W.T + b[None]) @ a + c[None]


def mean_loss(
    parameters: Any,
    x: Float[Array, "n d"],
    y: Float[Array, "n k"],
    weights: Float[Array, " n"],
    classes: bool,
) -> Float[Array, ""]:
    """Half the square error, or the cross entropy of classes; the mean of the weighted samples.

    Not over the weights' sum: in each batch that is another one, and steps of small batches would
    then not follow the gradient of all samples' loss.
    """
    f = outputs(parameters, x)
    if classes:
        each = -jnp.sum(y * jax.nn.log_softmax(f, axis=1), axis=1)
    else:
        each = jnp.sum((f - y) ** 2, axis=1) / 2
    return jnp.mean(weights * each)


@partial(jax.jit, static_argnames=("batch", "classes"))
def one_pass(
    state: State,
    data: tuple[Array, Array, Array],
    order: Array,
    rates: tuple[Array, Array],
    *,
    batch: int,
    classes: bool,
) -> tuple[State, Array]:
    """One pass over all samples in a given order, and the mean loss of its steps."""
    x, y, weights = data
    rate, decay = rates

    def step(state: State, rows: Array) -> tuple[State, Array]:
        loss, gradient = jax.value_and_grad(mean_loss)(
            state.parameters, x[rows], y[rows], weights[rows], classes
        )
        t = (state.steps + 1).astype(jnp.float32)
        first = jax.tree.map(
            lambda m, g: _DECAYS[0] * m + (1 - _DECAYS[0]) * g, state.first, gradient
        )
        second = jax.tree.map(
            lambda v, g: _DECAYS[1] * v + (1 - _DECAYS[1]) * g**2, state.second, gradient
        )
        size = rate * jnp.sqrt(1 - _DECAYS[1] ** t) / (1 - _DECAYS[0] ** t)

        def moved(p: Array, m: Array, v: Array) -> Array:
            kept = p * (1 - rate * decay) if p.ndim == 2 else p
            return kept - size * m / (jnp.sqrt(v) + _SMALL)

        parameters = jax.tree.map(moved, state.parameters, first, second)
        return State(parameters, first, second, state.steps + 1), loss

    state, losses = jax.lax.scan(step, state, order.reshape(-1, batch))
    return state, jnp.mean(losses)


_look = jax.jit(mean_loss, static_argnames=("classes",))


def descend(
    state: State,
    inside: Samples,
    outside: Samples | None,
    generator: np.random.RandomState,
    *,
    learning_rate: float,
    decay: float,
    batch: int,
    passes: int,
    patience: int,
) -> Descent:
    """Passes over the samples until the held-out loss has not fallen for `patience` of them.

    Parameters
    ----------
    state
        Where to start.
    inside, outside
        Training samples, and those that decide when to stop, if any.
    generator
        Source of the order of samples.
    learning_rate
        Of Adam.
    decay
        Weight decay of both layers, in units of the learning rate (not scaled by Adam).
    batch
        Samples of a step.
    passes
        At most so many.
    patience
        See above.
    """
    classes = inside.groups is not None
    number = len(inside.x)
    batch = min(batch, number)
    data = _arrays(inside)
    some = slice(_MOST_OUTSIDE)
    check = None if outside is None else tuple(part[some] for part in _arrays(outside))
    rates = jnp.asarray(learning_rate, jnp.float32), jnp.asarray(decay, jnp.float32)
    best, since, losses = (np.inf, state), 0, []
    for _ in range(passes):
        order = generator.permutation(number)[: number // batch * batch]
        state, loss = one_pass(
            state, data, jnp.asarray(order, jnp.int32), rates, batch=batch, classes=classes
        )
        now = float(loss if check is None else _look(state.parameters, *check, classes=classes))
        losses.append(now)
        if not np.isfinite(now):
            break
        # an improvement counts from a thousandth on
        since = 0 if now < best[0] * (1 - 1e-3) else since + 1
        if now < best[0]:
            best = (now, state)
        if since >= patience:
            break
    if not np.isfinite(best[0]):
        message = "Training diverged: the loss left the finite numbers at once. "
        message += f"Choose a learning rate below {learning_rate:g}."
        raise ValueError(message)
    return Descent(best[1], losses)


def _arrays(samples: Samples) -> tuple[Array, Array, Array]:
    x, y, weights = samples.x, samples.y, samples.weights
    return (
        jnp.asarray(x, jnp.float32),
        jnp.asarray(y, jnp.float32),
        jnp.asarray(weights, jnp.float32),
    )
