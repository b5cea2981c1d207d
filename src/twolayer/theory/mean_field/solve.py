"""Solving the mean-field flow from a given initial law."""

from __future__ import annotations

from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from twolayer.activations.facts import Facts
from twolayer.activations.functions import Activation
from twolayer.numerics.ode import integrate
from twolayer.outcomes import Status
from twolayer.targets import Polynomial
from twolayer.tasks import Regression
from twolayer.theory.learnability import LearnabilityCertificate, certify
from twolayer.theory.learnability.chain import essential_basis, invariant_chain
from twolayer.theory.mean_field.population import Numbers, Population
from twolayer.theory.mean_field.potential import MeanField

_RTOL, _ATOL = 1e-5, 1e-8


def target_of(task: Regression | Polynomial | str) -> Polynomial:
    """The polynomial that a task asks to learn.

    Raises
    ------
    ValueError
        If the task's target is not a polynomial.
    """
    target = task.target if isinstance(task, Regression) else task
    if isinstance(target, str):
        target = Polynomial(target)
    if not isinstance(target, Polynomial):
        message = f"Expected a polynomial target. Received: {type(target).__name__}."
        raise ValueError(message)  # noqa: TRY004
    return target


def flow_from(
    field: MeanField,
    initial: Population,
    times: Float[np.ndarray, " t"],
    projector: Float[np.ndarray, "p p"] | None = None,
    tolerances: tuple[float, float] = (_RTOL, _ATOL),
) -> tuple[Population, Float[np.ndarray, " r"], Status]:
    """States and losses from a given initial law, up to the last finite one, and the status."""
    starts_late = int(times[0] > 0)
    grid = np.concatenate([[0.0], times]) if starts_late else times
    if projector is None:
        projector = np.eye(initial.w.shape[-1])
    states, loss, finished = _solve(
        field, jax.tree.map(np.asarray, initial), grid, projector, tolerances
    )
    states, loss = jax.tree.map(lambda leaf: np.asarray(leaf)[starts_late:], (states, loss))
    status: Status = "finished" if bool(finished) else "diverged"
    if status == "diverged":
        kept = int(np.argmin(np.append(np.isfinite(loss), False)))
        states, loss = jax.tree.map(lambda leaf: leaf[:kept], (states, loss))
    states = eqx.tree_at(lambda population: population.weight, states, initial.weight)
    return states, loss, status


@eqx.filter_jit
def _solve(
    field: MeanField,
    initial: Population,
    times: Float[Numbers, " t"],
    projector: Float[Numbers, "p p"],
    tolerances: tuple[float, float],
):
    def project(population):
        return eqx.tree_at(lambda leaf: leaf.w, population, population.w @ projector)

    flow = integrate(
        field.velocity,
        initial,
        jnp.asarray(times),
        rtol=tolerances[0],
        atol=tolerances[1],
        project=project,
    )
    return flow.states, jax.lax.map(field.loss, flow.states), flow.finished


def invariant_projector(target: Polynomial, facts: Facts) -> Float[np.ndarray, "p p"]:
    """Projector on the smallest subspace that the flow from ``w = 0`` cannot leave, (3.5).

    chen2024subspace, Theorem 3.5; the subspace from exact arithmetic (derived here).

    Examples
    --------
    >>> from twolayer.activations import FACTS
    >>> invariant_projector(Polynomial("z1 + z1*z2"), FACTS["tanh"])
    array([[1., 0.],
           [0., 0.]])
    """
    symbol = target.exact.symbol()
    seen = symbol.parts(degree for degree in range(target.degree + 1) if facts.sees(degree))
    frame = invariant_chain([seen], essential_basis(symbol)).frame
    projector = np.zeros((target.dim, target.dim))
    for vector in frame.learned_basis:
        direction = np.asarray(vector, dtype=np.float64)
        projector += np.outer(direction, direction) / (direction @ direction)
    return projector


def exact_certificate(target: Polynomial, activation: Activation) -> LearnabilityCertificate:
    """What is exactly known about learning the target with the activation."""
    return cast(LearnabilityCertificate, certify(target, activation=activation))
