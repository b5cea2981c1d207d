"""Noisy gradient descent of particles: one step, and many in one compiled loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from twolayer.dynamics.base import as_schedule
from twolayer.dynamics.langevin.batches import Minibatch, check_counts, counts_of
from twolayer.dynamics.langevin.gradient import RiskGradient, risk_gradient, samples_of
from twolayer.dynamics.langevin.integrators import Integrator, as_integrator
from twolayer.free_energy import FreeEnergy, Particles

_MOST_STEPS = 2**31 - 2


def _as_temperature(temperature: Any) -> Any:
    return temperature if temperature is None else as_schedule(temperature)


class State(NamedTuple):
    """What a run carries from one step to the next.

    Attributes
    ----------
    theta
        What moves: the particles, without output weights where these are fixed.
    memory
        The integrator's: its last noise, or velocities.
    reference
        Particles of the last full gradient and that gradient, for SVRG.
    """

    theta: Particles
    memory: Any
    reference: tuple[Particles, Particles] | None


class Sums(NamedTuple):
    """What was summed over steps, for averages over time.

    Attributes
    ----------
    residual
        The slope ``l'(f(x_i), y_i)``, each time that the sample was seen.
    visits
        How often each was seen.
    risk, steps
        The risk of the samples seen, and the number of steps.
    """

    residual: Float[Array, "n k"]
    visits: Float[Array, " n"]
    risk: Float[Array, ""]
    steps: Float[Array, ""]


class Langevin(eqx.Module):
    r"""Noisy gradient descent of N neurons on ``R + weight decay``, at temperature tau.

    .. math::
        da = -(g_\mu(w) + \lambda_a a)\, dt + \sqrt{2\tau}\, dB, \qquad
        dw = -(a \nabla g_\mu(w) + \lambda_w w)\, dt + \sqrt{2\tau}\, dB',

    with ``g_mu(w) = E l'(f_mu(x), y) s(w . x)`` and mu the empirical law of the N particles: a
    particle feels N times the gradient of the risk, so that its force does not depend on N. As N
    grows this is the McKean-Vlasov equation whose law minimises `FreeEnergy`. Step k happens at
    time ``k * step``, and its randomness depends on the key and on k alone.

    Attributes
    ----------
    step
        The time step.
    integrator
        ``"leimkuhler_matthews"``, ``"euler_maruyama"``, ``"underdamped"``, or an object of
        these.
    temperature
        A number or a function of time; by default the problem's.
    anneal_decay
        Whether weight decay falls in proportion to the temperature. If so, the law
        ``gamma`` stays and all of ``tau KL(mu | gamma)`` is annealed, as where the objective is
        written ``R + tau (decay + negative entropy)``. If not, weight decay is part of the loss
        and only the entropy is annealed.
    batches
        A `Minibatch`; by default all samples at each step.
    block_size
        Samples held in memory at a time; any number gives the same run up to rounding.
    mesh
        Devices to divide the particles over, along its first axis: the same run up to rounding.

    Raises
    ------
    ValueError
        If the step is not positive, the temperature negative at the start, or an option unknown.

    Examples
    --------
    >>> Langevin(0.1).ticks(np.array([0.0, 1.0]))
    array([ 0, 10])
    """

    step: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    integrator: Integrator = eqx.field(converter=as_integrator, default="leimkuhler_matthews")
    temperature: Callable[[Array], Array] | None = eqx.field(
        converter=_as_temperature, default=None
    )
    anneal_decay: bool = eqx.field(static=True, default=False)
    batches: Minibatch | None = None
    block_size: int | None = eqx.field(static=True, default=None)
    mesh: jax.sharding.Mesh | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.block_size is not None:
            check_counts(block_size=self.block_size)
        try:
            step = np.asarray(self.step)
        except jax.errors.TracerArrayConversionError:  # made inside a compiled function
            return
        if step.shape != () or not 0 < step < math.inf:
            message = f"Expected a positive step. Received: {step!s}."
            raise ValueError(message)
        if self.temperature is not None:
            start = np.asarray(self.temperature(jnp.zeros(())))
            if start.shape != () or not 0 <= start < math.inf:
                message = f"Expected a temperature of at least 0. Received: {start!s}."
                raise ValueError(message)

    def ticks(self, times: Float[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
        """The number of steps that comes nearest to each time.

        Raises
        ------
        ValueError
            If a time needs more than 2^31 steps.
        """
        steps = np.rint(np.asarray(times, np.float64) / float(self.step))
        if np.max(steps, initial=0) > _MOST_STEPS:
            message = (
                f"Expected at most 2^31 steps. Received: time {np.max(times):g} in steps of "
                f"{float(self.step):g}. Did you perhaps mean a larger step?"
            )
            raise ValueError(message)
        return steps.astype(np.int64)

    def start(self, problem: FreeEnergy, particles: Particles, *, key: PRNGKeyArray) -> State:
        """The state before the first step."""
        theta = moving(problem, particles)
        tau, _ = self._annealed(problem, jnp.zeros((), particles.W.dtype))
        memory = self.integrator.start(theta, tau, key=jax.random.fold_in(key, 0))
        anchored = self.batches is not None and self.batches.anchored
        return State(theta, memory, (theta, theta) if anchored else None)

    def advance(
        self,
        problem: FreeEnergy,
        state: State,
        ticks: tuple[Array, Array, Array],
        *,
        key: PRNGKeyArray,
        block_size: int | None = None,
    ) -> tuple[State, Sums]:
        """The state at tick `stop` from the one at `start`, and sums over ticks from `since` on.

        Parameters
        ----------
        problem
            What is minimised.
        state
            The state at tick `start`.
        ticks
            The three ticks `start`, `stop` and `since`.
        key
            Source of all randomness. Where a run pauses changes nothing: the randomness of a
            tick depends on the key and the tick alone.
        block_size
            Where the algorithm leaves it open.
        """
        start, stop, since = ticks
        size = self.block_size or block_size
        dtype = state.theta.W.dtype

        def one(tick: Array, carry: tuple[State, Sums]) -> tuple[State, Sums]:
            state, sums = carry
            key_noise = key_batch = jax.random.fold_in(key, tick + 1)
            if self.batches is not None:
                key_noise, key_batch = jax.random.split(key_noise)
            tau, scale = self._annealed(problem, tick.astype(dtype) * self.step.astype(dtype))
            gradient, reference, seen, visits = self._gradient(
                problem, state, tick, size, key=key_batch
            )
            gradient = _with_decay(problem, state.theta, gradient, scale)
            theta, memory = self.integrator.move(
                state.theta, state.memory, gradient, self.step.astype(dtype), tau, key=key_noise
            )
            sums = _added(sums, seen, visits, (tick >= since).astype(dtype))
            return State(theta, memory, reference), sums

        n, k = problem.y.shape
        zero = jnp.zeros((), dtype)
        sums = Sums(jnp.zeros((n, k), dtype), jnp.zeros(n, dtype), zero, zero)
        return jax.lax.fori_loop(start, stop, one, (state, sums))

    def _annealed(self, problem: FreeEnergy, t: Float[Array, ""]) -> tuple[Array, Array]:
        """Temperature and the factor of weight decay at time t."""
        own = problem.temperature.astype(t.dtype)
        tau = own if self.temperature is None else self.temperature(t).astype(t.dtype)
        return tau, tau / own if self.anneal_decay else jnp.ones_like(tau)

    def _gradient(
        self,
        problem: FreeEnergy,
        state: State,
        tick: Array,
        size: int | None,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Particles, tuple[Particles, Particles] | None, RiskGradient, Array | None]:
        """The step's gradient, the reference, what was seen, and of which samples."""
        if self.batches is None:
            seen = _gradient_of(problem, state.theta, size)
            return moving(problem, seen.gradient), None, seen, None
        rows = self.batches.draw(problem.num_samples, key=key)
        part = samples_of(problem, rows)
        seen = _gradient_of(part, state.theta, size)
        gradient, reference = moving(problem, seen.gradient), state.reference
        if reference is not None:
            reference = jax.lax.cond(
                tick % self.batches.refresh == 0,
                lambda: (
                    state.theta,
                    moving(problem, _gradient_of(problem, state.theta, size).gradient),
                ),
                lambda: reference,
            )
            there = moving(problem, _gradient_of(part, reference[0], size).gradient)
            gradient = jax.tree.map(lambda g, h, full: g - h + full, gradient, there, reference[1])
        return gradient, reference, seen, rows


def moving(problem: FreeEnergy, particles: Particles) -> Particles:
    """What of the particles moves: all, but for fixed output weights."""
    if problem.output != "fixed":
        return particles
    return Particles(None, particles.W)  # type: ignore[arg-type]


def whole(problem: FreeEnergy, theta: Particles) -> Particles:
    """Particles with their output weights, also where these are fixed."""
    if problem.output != "fixed":
        return theta
    a = jnp.full((*theta.W.shape[:-1], 1), problem.bound.astype(theta.W.dtype))
    return Particles(a, theta.W)


def _gradient_of(problem: FreeEnergy, theta: Particles, size: int | None) -> RiskGradient:
    return risk_gradient(problem, whole(problem, theta), block_size=size)


def _with_decay(
    problem: FreeEnergy, theta: Particles, gradient: Particles, scale: Float[Array, ""]
) -> Particles:
    """The gradient of the potential: that of the risk, and weight decay."""
    decays = Particles(problem.output_decay, problem.input_decay)
    return jax.tree.map(
        lambda x, g, decay: g + scale * decay.astype(x.dtype) * x,
        theta,
        gradient,
        moving(problem, decays) if theta.a is None else decays,
    )


def _added(sums: Sums, seen: RiskGradient, rows: Array | None, weight: Float[Array, ""]) -> Sums:
    """The sums with one step more, if its weight is 1."""
    residual, n = weight * seen.residual, sums.visits.shape[0]
    if rows is None:
        total, visits = sums.residual + residual, sums.visits + weight
    else:
        total = sums.residual.at[rows].add(residual)
        visits = sums.visits + weight * counts_of(rows, n).astype(weight.dtype)
    risk = sums.risk + weight * jnp.mean(seen.loss)
    return Sums(total, visits, risk, sums.steps + weight)


def potential_gradient(
    problem: FreeEnergy, theta: Particles, *, block_size: int | None = None
) -> Particles:
    """The gradient of the potential ``V`` at each particle: the risk's, and weight decay."""
    gradient = moving(problem, _gradient_of(problem, theta, block_size).gradient)
    return _with_decay(problem, theta, gradient, jnp.ones((), theta.W.dtype))


def largest_curvature(
    problem: FreeEnergy, theta: Particles, *, iterations: int = 30, key: PRNGKeyArray
) -> Float[Array, ""]:
    """The largest eigenvalue, in size, of the force's Jacobian, by power iteration.

    All particles move together: the interaction between them is what limits the step most.
    """
    normal = jax.tree.leaves(theta)
    keys = jax.random.split(key, len(normal))
    start = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, normal, strict=True)]
    direction = jax.tree.unflatten(jax.tree.structure(theta), start)

    def one(_: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        direction, _size = carry
        size = jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(direction)))
        unit = jax.tree.map(lambda x: x / size, direction)
        _, image = jax.jvp(lambda theta: potential_gradient(problem, theta), (theta,), (unit,))
        return image, size

    image, _ = jax.lax.fori_loop(0, iterations, one, (direction, jnp.ones((), theta.W.dtype)))
    return jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(image)))
