"""The mean-field flow without the dimension: the loss that training follows at infinite width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from twolayer.activations.catalogue import activation_of
from twolayer.activations.facts import Facts
from twolayer.activations.functions import Activation
from twolayer.numerics.precision import in_float64
from twolayer.outcomes import Assumption, Prediction
from twolayer.targets import Polynomial
from twolayer.tasks import Regression
from twolayer.theory.mean_field.population import (
    Population,
    gaussian_population,
    limit_population,
    padded,
)
from twolayer.theory.mean_field.potential import Schedule, mean_field
from twolayer.theory.mean_field.solve import flow_from, invariant_projector, target_of

_FEWEST = 4  # half of them are still a pair
_RESOLVED = 0.01  # the error, relative to the initial loss, up to which a curve counts as resolved
REFERENCE = "chen2024subspace, equations 2.4-2.5; dimension-free form derived here"


@dataclass(frozen=True)
class MeanFieldFlow:
    """The mean-field flow at the asked times.

    Attributes
    ----------
    loss
        ``1/2 E (f - h*)^2`` over time, without label noise; `error` is that of the quadrature
        over neurons.
    population
        The neurons at these times, in the first axis.
    dim
        The input dimension, possibly infinite.
    """

    loss: Prediction
    population: Population
    dim: float


@in_float64
def mean_field_flow(
    task: Regression | Polynomial | str,
    *,
    activation: Activation | str,
    times: Sequence[float] | Float[np.ndarray, " t"],
    dim: float = math.inf,
    num_neurons: int | None = None,
    schedules: tuple[Schedule, Schedule] | None = None,
    estimate_error: bool = True,
    key: PRNGKeyArray | None = None,
) -> MeanFieldFlow:
    r"""The mean-field flow of a network from ``a ~ U[-1, 1]``, ``w ~ N(0, I_d / d)``.

    .. math:: \dot a = \xi_a E[(h^* - f) \sigma(w \cdot x)], \qquad
              \dot w = \xi_w a E[(h^* - f) \sigma'(w \cdot x) x]

    (chen2024subspace, equations 2.4 and 2.5) in the coordinates (a, w, s) that do not grow with
    d (derived here): in the limit d = infinity, or exactly at finite d. Width is infinite: a
    network of m neurons differs by 1/m. At d = infinity the w stay in the smallest subspace
    that the flow cannot leave and are projected on it, since rounding alone would end an exact
    saddle.

    Parameters
    ----------
    task
        What is learned: a polynomial of few coordinates under standard Gaussian inputs.
    activation
        The activation or its name.
    times
        Increasing times, from 0 on.
    dim
        The input dimension; infinite by default, whatever the dimension of the task.
    num_neurons
        Size of the quadrature over neurons: 128 at d = infinity, else 192.
    schedules
        The learning rates ``xi_a(t)``, ``xi_w(t)``; 1 by default. Equinox modules don't
        recompile where a new lambda does.
    estimate_error
        Run once more on half the neurons, to see how far the quadrature is resolved.
    key
        Draws another quadrature over neurons; finite d only.

    Raises
    ------
    ValueError
        If the times do not increase from 0, or `dim` is below the number of coordinates.

    Examples
    --------
    >>> flow = mean_field_flow("z1", activation="cos_sin", times=[0, 5])
    >>> flow.loss.value.round(3)
    array([0.5  , 0.067])
    """
    target, activation = target_of(task), activation_of(activation)
    grid = _checked_times(times)
    _check_dim(dim, target.dim)
    field = mean_field(target, activation, dim, schedules)
    projector = None
    if dim == math.inf:
        projector = invariant_projector(target, activation.facts)
    width = (128 if dim == math.inf else 192) if num_neurons is None else num_neurons
    if width < _FEWEST:
        message = f"Expected at least {_FEWEST} neurons. Received: {num_neurons!r}."
        raise ValueError(message)

    initial = _initial(target.dim, width, dim, key)
    states, loss, status = flow_from(field, initial, grid, projector)
    error = None
    if estimate_error:
        half = padded(_initial(target.dim, width // 2, dim, key), width)
        coarse = flow_from(field, half, grid, projector)[1]
        shared = min(len(loss), len(coarse))
        error = np.full(len(loss), np.inf)
        error[:shared] = np.abs(loss[:shared] - coarse[:shared])
    prediction = Prediction(
        "loss",
        grid[: len(loss)],
        loss,
        "asymptotic",
        REFERENCE,
        _assumptions(activation.facts, dim, error, float(field.second_moment) / 2),
        error=error,
        status=status,
    )
    return MeanFieldFlow(prediction, states, dim)


def _initial(
    subspace_dim: int, num_neurons: int, dim: float, key: PRNGKeyArray | None
) -> Population:
    if dim == math.inf:
        return limit_population(subspace_dim, num_neurons)
    return gaussian_population(subspace_dim, num_neurons, int(dim), key)


def _checked_times(times) -> Float[np.ndarray, " t"]:
    grid = np.asarray(times, dtype=np.float64)
    if grid.ndim != 1 or len(grid) == 0 or grid[0] < 0 or np.any(np.diff(grid) <= 0):
        message = f"Expected increasing times from 0 on. Received: {times!r}."
        raise ValueError(message)
    return grid


def _check_dim(dim: float, subspace_dim: int) -> None:
    if dim != math.inf and (dim != int(dim) or dim < subspace_dim):
        message = (
            f"Expected a dimension of at least {subspace_dim}, which the target reads, "
            f"or math.inf. Received: {dim!r}."
        )
        raise ValueError(message)


def _assumptions(
    facts: Facts, dim: float, error: np.ndarray | None, initial_loss: float
) -> tuple[Assumption, ...]:
    bounded = facts.smooth and math.isfinite(facts.derivative_bound)
    where = "the limit d = infinity" if dim == math.inf else f"exact at d = {int(dim)}"
    assumptions = [
        Assumption(
            "infinite width", None, detail=f"a network of m neurons differs by 1/m; {where}"
        ),
        Assumption(
            "activation bounded with two bounded derivatives, Assumption 3.1(i)",
            bounded,
            detail="the flow is formally the same without; existence is then not from the paper",
        ),
    ]
    if error is not None:
        worst = float(np.max(error, initial=0.0)) / max(initial_loss, 1e-300)
        assumptions.append(
            Assumption(
                "quadrature over neurons resolved",
                worst <= _RESOLVED,
                _RESOLVED - worst,
                "difference to half as many neurons, relative to the initial loss",
            )
        )
    return tuple(assumptions)
