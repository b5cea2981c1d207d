r"""Errors of the read-out on a given first layer, for structured data and any step size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from twolayer.activations import Activation
from twolayer.activations.hermite_equivalent import HermiteEquivalent
from twolayer.networks import TwoLayerNetwork
from twolayer.outcomes import Assumption
from twolayer.tasks import Classification, Regression
from twolayer.theory.one_step.conditional_fixed_point import Solution, solve
from twolayer.theory.one_step.conditional_statistics import (
    OFF_SPAN,
    Nodes,
    feature_statistics,
    label_nodes,
    span_of,
)
from twolayer.theory.one_step.errors import ErrorCurves, along, error_curves, grid_of

REFERENCE = "derived here, on the equivalence of demir2025asymptotic, Theorem 3"


def conditional_equivalent(
    network: TwoLayerNetwork,
    task: Regression | Classification,
    directions: Float[np.ndarray, "n d"],
    *,
    num_samples: ArrayLike,
    ridge: ArrayLike,
    activation: Activation | HermiteEquivalent | None = None,
    points: int = 128,
) -> ErrorCurves:
    r"""Errors of ridge regression on the features of a given first layer, data and step structured.

    Given ``kappa = U^T x`` on the few directions that matter (the gradient's, the spikes and the
    means of the data) the features are those of a Gaussian: demir2025asymptotic, Theorem 3, at
    any ``beta <= 1``. The theorem promises equal errors, not what they are; `solve` gives them, as
    functions of ``network.W`` and not of its law, so that of one training run as well. With a
    Hermite equivalent as `activation` they are those of the model of Theorem 4.

    Wrong where W was trained on the samples of the read-out, and rough where the error comes from
    few samples far out along a strong spike.

    Parameters
    ----------
    network
        The first layer after the step; its features are ``scale * s(W x + b)``, its read-out is
        trained anew.
    task
        A classification of mixture components, or a regression on a single-index target.
    directions
        Vectors whose span is conditioned on, a vector a row: the gradient's ``X^T (y - f_0)``,
        with `data_directions` of the inputs below it.
    num_samples
        m: a number, or a list that becomes the grid.
    ridge
        The penalty of ``1/(2m) |y - Phi^T w|^2 + ridge/2 |w|^2``: a number, or one for each m.
    activation
        What the read-out sees in place of ``network.activation``.
    points
        Nodes of kappa for each component before they are mirrored; a line has at most 48.

    Raises
    ------
    ValueError
        If there are too few points for the span's dimension.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from twolayer.activations import relu, tanh
    >>> from twolayer.inputs import Gaussian
    >>> from twolayer.networks import one_step_network
    >>> from twolayer.targets import SingleIndex
    >>> network = one_step_network(40, 30, tanh, trace=30.0, key=jax.random.key(0))
    >>> task = Regression(Gaussian(30), SingleIndex(jnp.eye(30)[0], relu))
    >>> curves = conditional_equivalent(
    ...     network, task, np.eye(30)[:1], num_samples=[60, 6000], ridge=1e-3, points=16
    ... )
    >>> bool(curves.train.value[0] < curves.train.value[1] < curves.test.value[1])
    True
    """
    grid = grid_of(num_samples=num_samples)
    ridges = along(grid, "ridge", ridge)
    basis = span_of(directions, network.dim)
    if isinstance(points, bool) or not isinstance(points, int) or points < 2 * basis.shape[1]:
        message = f"Expected at least {2 * basis.shape[1]} points, twice the span's dimension. "
        message += f"Received: {points!r}."
        raise ValueError(message)
    nodes = label_nodes(task, basis, points)
    features = feature_statistics(network, activation or network.activation, basis, nodes)
    solved = [
        solve(features, nodes, float(m), float(penalty))
        for m, penalty in zip(grid.values, ridges, strict=True)
    ]
    test, train, objective = (
        np.array([getattr(solution, name) / 2 for solution in solved]) for name in _ERRORS
    )
    curves = error_curves(
        grid,
        (test, train, objective),
        reference=REFERENCE,
        assumptions=_assumptions(nodes, solved, basis.shape[1]),
    )
    if all(s.converged for s in solved):
        return curves
    return ErrorCurves(*(replace(getattr(curves, name), status="stopped") for name in _ERRORS))


_ERRORS = ("test", "train", "objective")


def _assumptions(nodes: Nodes, solved: list[Solution], rank: int) -> tuple[Assumption, ...]:
    gain = max(s.gain for s in solved)
    change = max(s.change for s in solved)
    return (
        Assumption(
            "dimension, width and samples large and in proportion",
            None,
            detail="at finite size the gap is of order 1 / dim, and more for training errors",
        ),
        Assumption(
            "inputs standard Gaussian outside the span",
            True,
            OFF_SPAN - nodes.off_span,
            f"the span misses {nodes.off_span:.2g} of means and covariances",
        ),
        Assumption(
            "first layer independent of the read-out's samples",
            None,
            detail="a step on the same samples makes the training error smaller than predicted",
        ),
        Assumption(
            "nodes resolve the span",
            None,
            detail=f"{len(nodes.weights)} nodes in {rank} dimensions: compare with twice as many",
        ),
        Assumption(
            "fixed point reached, away from the interpolation peak",
            all(s.converged for s in solved),
            1 - gain,
            f"margin: 1 minus the spectral radius of K; last relative change {change:.1g}",
        ),
    )
