"""One-pass stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from twolayer.dynamics.base import (
    Dynamics,
    Parameters,
    as_schedule,
    parameters_of,
    with_parameters,
)
from twolayer.networks import TwoLayerNetwork, check_positive

_MOST_STEPS = 2**31 - 1


class SGD(Dynamics):
    r"""One-pass stochastic gradient descent: a fresh sample at each step.

    .. math::
        \theta_i \leftarrow \theta_i + \epsilon\, \xi(k \epsilon)\,
            (y_k - f(x_k)) \nabla_\theta \tau(x_k; \theta_i), \qquad
        \tau(x; \theta) = a\, s(w \cdot x + b), \quad f = \mathrm{scale} \sum_i \tau(x; \theta_i)

    (2.3) of chen2024subspace: there is no 1/m in the update, and step k happens at time
    ``t = k * learning_rate``. With ``batch_size > 1`` the mean over the batch takes the place of
    the one sample.

    Steps are taken in blocks, which changes nothing but rounding: within a block each update of
    ``w_i`` is a multiple of a sample, so the pre-activations of the k-th sample are those at the
    start of the block plus ``sum_{j<k} c_ij (x_j . x_k)``, and the input weights themselves are
    touched once a block, by a matrix product (derived here).

    Attributes
    ----------
    learning_rate
        The step ``epsilon``.
    schedule_a, schedule_w
        ``xi_a(t)`` and ``xi_w(t)``: numbers or functions of time; biases move with ``xi_w``.
    batch_size
        Samples at each step.
    block_size
        Steps in each block; any number gives the same run.

    Raises
    ------
    ValueError
        If a size is not a positive whole number.

    Examples
    --------
    >>> SGD(0.1).ticks(np.array([0.0, 1.0]))
    array([ 0, 10])
    """

    learning_rate: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    schedule_a: Callable[[Array], Array] = eqx.field(converter=as_schedule, default=1.0)
    schedule_w: Callable[[Array], Array] = eqx.field(converter=as_schedule, default=1.0)
    batch_size: int = eqx.field(static=True, default=1)
    block_size: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        check_positive(batch_size=self.batch_size, block_size=self.block_size)

    def ticks(self, times: Float[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
        """The number of steps that comes nearest to each time.

        Raises
        ------
        ValueError
            If the learning rate is not positive, or a time needs more than 2^31 steps.
        """
        learning_rate = float(self.learning_rate)
        if not learning_rate > 0:
            message = f"Expected a positive learning rate. Received: {learning_rate}."
            raise ValueError(message)
        steps = np.rint(np.asarray(times, np.float64) / learning_rate)
        if np.max(steps, initial=0) > _MOST_STEPS:
            message = (
                f"Expected at most 2^31 steps. Received: time {np.max(times):g} in steps of "
                f"{learning_rate:g}. Did you perhaps mean a larger learning rate?"
            )
            raise ValueError(message)
        return steps.astype(np.int64)

    def times(self, ticks: np.ndarray) -> Float[np.ndarray, " t"]:
        """The time of each step."""
        return np.asarray(ticks) * float(self.learning_rate)

    def advance(
        self,
        network: TwoLayerNetwork,
        task: Any,
        start: Int[Array, ""],
        stop: Int[Array, ""],
        *,
        key: PRNGKeyArray,
    ) -> TwoLayerNetwork:
        """The network after `stop` steps, from the one after `start` steps."""
        size = self.block_size

        def block(j: Array, parameters: Parameters) -> Parameters:
            first = j * size
            steps = first + jnp.arange(size, dtype=first.dtype)
            x, y = _samples(task, steps, self.batch_size, network.W.dtype, key=key)
            rates = self._rates(steps, network.W.dtype)
            active = jnp.maximum(start - first, 0), jnp.minimum(stop - first, size)
            return _block(with_parameters(network, parameters), x, y, rates, active)

        last = (stop + size - 1) // size
        parameters = jax.lax.fori_loop(start // size, last, block, parameters_of(network))
        return with_parameters(network, parameters)

    def _rates(self, steps: Int[Array, " k"], dtype: Any) -> tuple[Array, Array]:
        """The steps of the output and input weights, ``epsilon xi(k epsilon)``."""
        step = self.learning_rate.astype(dtype)
        times = steps.astype(dtype) * step
        schedules = self.schedule_a, self.schedule_w
        rate_a, rate_w = (step * xi(times).astype(dtype) for xi in schedules)
        return rate_a, rate_w


def _samples(
    task: Any, steps: Int[Array, " k"], batch_size: int, dtype: Any, *, key: PRNGKeyArray
) -> tuple[Float[Array, "k n d"], Float[Array, "k n"]]:
    """The samples of each step, which depend on the step and the key alone."""

    def draw(step: Int[Array, ""]) -> tuple[Array, Array]:
        return task.sample(batch_size, key=jax.random.fold_in(key, step))

    x, y = jax.vmap(draw)(steps)
    return x.astype(dtype), y.astype(dtype)


def _block(
    network: TwoLayerNetwork,
    x: Float[Array, "k n d"],
    y: Float[Array, "k n"],
    rates: tuple[Float[Array, " k"], Float[Array, " k"]],
    active: tuple[Int[Array, ""], Int[Array, ""]],
) -> Parameters:
    """The weights after those steps of one block that are active."""
    num_steps, batch_size, dim = x.shape
    rate_a, rate_w = rates
    flat = x.reshape(-1, dim)
    gram = flat @ flat.T
    before = flat @ network.W.T
    if network.b is not None:  # a bias is the weight of one more coordinate, always 1
        gram, before = gram + 1, before + network.b[None, :]
    gram = gram.reshape(num_steps, batch_size, -1)
    before = before.reshape(num_steps, batch_size, -1)

    def step(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        a, pushes = carry
        z = before[k] + gram[k] @ pushes.reshape(num_steps * batch_size, -1)
        value, slope = jax.jvp(network.activation, (z,), (jnp.ones_like(z),))
        residual = (y[k] - network.scale * (value @ a)) / batch_size
        push = (rate_w[k] * residual)[:, None] * slope * a[None, :]
        return a + rate_a[k] * (residual @ value), pushes.at[k].set(push)

    a, pushes = jax.lax.fori_loop(*active, step, (network.a, jnp.zeros_like(before)))
    pushes = pushes.reshape(num_steps * batch_size, -1)
    b = None if network.b is None else network.b + jnp.sum(pushes, axis=0)
    return a, network.W + pushes.T @ flat, b
