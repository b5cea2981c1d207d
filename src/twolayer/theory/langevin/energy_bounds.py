"""How strong the force on a neuron can be, given the free energy alone."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from twolayer.free_energy import FreeEnergy
from twolayer.losses import LogisticLoss, SquareLoss
from twolayer.theory.langevin.activation_bounds import activation_bounds


def slope_bound(problem: FreeEnergy, energy: float) -> float:
    """A bound of the root mean square of the slopes ``l'_i`` while J is at most this.

    ``sqrt(2 J)`` for the square loss, since ``J >= R = mean |r_i|^2 / 2``; for the logistic loss of
    k outputs ``min(sqrt(k), sqrt(J))``, since ``p^2 <= -log(1 - p)`` (derived here). Infinite for
    any other loss.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> slope_bound(FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1), 0.5)
    1.0
    """
    positive = max(energy, 0.0)
    if isinstance(problem.loss, SquareLoss):
        return math.sqrt(2 * positive)
    if isinstance(problem.loss, LogisticLoss):
        return math.sqrt(min(problem.num_outputs, positive))
    return math.inf


def reference_energy(problem: FreeEnergy) -> float:
    """A bound of J at the reference gamma, where it is the risk alone.

    Exact where the output weight is trained, since every output is 0 there; where it is fixed,
    the largest risk that the activation's range allows (derived here).

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> reference_energy(FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1))
    0.5
    """
    labels = np.asarray(problem.y, dtype=np.float64)
    ends = (0.0, 0.0)
    if problem.output == "fixed":
        s = activation_bounds(problem.activation)
        ends = (float(problem.bound) * s.low, float(problem.bound) * s.high)
        if not s.bounded:
            return math.inf
    with jax.enable_x64(True):
        y = jnp.asarray(labels)
        risks = [np.asarray(problem.loss(jnp.full_like(y, end), y)) for end in ends]
    # convex in f, so largest at an end of the range
    return float(np.sum(np.maximum(*risks))) / len(labels)


def field_size(problem: FreeEnergy, energy: float) -> tuple[float, float]:
    r"""Bounds M of ``|g|`` and G of ``||dg / dw||`` over all w while J is at most `energy`.

    .. math:: M = \sup|s|\, q(J), \qquad
              G = \sup|s'|\, \|\tfrac1n \textstyle\sum_i x_i x_i^T\|^{1/2} q(J)

    by Cauchy-Schwarz, with q of `slope_bound`; the second moment is not centred (derived here).

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> field_size(FreeEnergy([[2.0]], [1.0], tanh, 0.5, 0.5, 0.1), 0.5)
    (1.0, 2.0)
    """
    s, size = activation_bounds(problem.activation), slope_bound(problem, energy)
    x = np.asarray(problem.x, dtype=np.float64)
    if size == 0:
        return 0.0, 0.0
    norm = float(np.linalg.norm(x, 2)) / math.sqrt(len(x))
    return s.absolute * size, s.slope * norm * size if norm else 0.0
