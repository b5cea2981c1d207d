"""Smooth flows by adaptive integration: a thin wrapper of diffrax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from twolayer.numerics.stabilised import stabilised

Solver = Literal["explicit", "implicit", "stabilised"]

_SMALLEST_STEP = 1e-13  # of the horizon


class Flow(NamedTuple):
    """A solution at the asked times.

    Attributes
    ----------
    states
        The state at each time, stacked in the first axis; NaN after a failure.
    finished
        Whether the integration reached the last time with finite numbers.
    num_steps
        How many steps the solver took.
    """

    states: PyTree
    finished: Array
    num_steps: Array


@eqx.filter_jit
def integrate(
    velocity: Callable[[Float[Array, ""], PyTree], PyTree],
    initial: PyTree,
    times: Float[Array, " t"],
    *,
    rtol: float = 1e-7,
    atol: float = 1e-9,
    max_steps: int = 100_000,
    project: Callable[[PyTree], PyTree] | None = None,
    solver: Solver = "explicit",
) -> Flow:
    """Solve ``y' = velocity(t, y)``, ``y(times[0]) = initial``, and report y at `times`.

    Tsitouras' 5(4) pair with a PID step-size controller or, for stiff flows, Kvaerno's implicit
    5(4) pair, whose steps grow as the solution slows down. `velocity` and `project` are PyTrees
    (an `equinox.Module`, say): their arrays may change without recompilation.

    Parameters
    ----------
    velocity
        The right-hand side.
    initial
        The state at ``times[0]``.
    times
        Increasing times, the first of which is the start.
    rtol, atol
        Relative and absolute tolerance of each step.
    max_steps
        After so many steps the flow counts as not finished.
    project
        Applied to the state before each evaluation of the velocity and to what is reported:
        holds an exactly invariant subspace against rounding.
    solver
        ``"explicit"``; ``"implicit"`` for stiff flows: each step then solves linear systems of
        the size of the state, with the Jacobian of `velocity` by forward differentiation;
        ``"stabilised"`` for gradient flows, stiff or slow: long explicit steps of second order,
        see `twolayer.numerics.stabilised`.
    """
    if solver == "stabilised":
        return _stabilised(velocity, initial, times, rtol, atol, max_steps, project)

    def field(t, y, args):
        del args
        return velocity(t, y if project is None else project(y))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5() if solver == "explicit" else diffrax.Kvaerno5(),
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=initial,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(
            rtol=rtol,
            atol=atol,
            pcoeff=0.3,
            icoeff=0.4,
            dcoeff=0.0,
            # a solution that blows up ends here, not after max_steps ever smaller steps
            dtmin=_SMALLEST_STEP * (times[-1] - times[0]),
            force_dtmin=False,
        ),
        max_steps=max_steps,
        throw=False,
    )
    states = solution.ys
    if project is not None:
        states = jax.vmap(project)(states)
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(states)]
    finished = jnp.all(jnp.stack(finite)) & (solution.result == diffrax.RESULTS.successful)
    return Flow(states, finished, solution.stats["num_steps"])


def _stabilised(velocity, initial, times, rtol, atol, max_steps, project) -> Flow:
    flat, as_tree = ravel_pytree(initial)

    def field(t, y):
        tree = as_tree(y)
        return ravel_pytree(velocity(t, tree if project is None else project(tree)))[0]

    run = stabilised(field, flat, times, rtol=rtol, atol=atol, max_steps=max_steps)
    states = jax.vmap(as_tree)(run.states)
    if project is not None:
        states = jax.vmap(project)(states)
    return Flow(states, run.finished, run.num_steps)
