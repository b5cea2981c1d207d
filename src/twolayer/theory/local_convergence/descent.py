r"""The descent direction of Lemma 8: near students to their teachers, far ones to zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import unit
from twolayer.outcomes import Assumption
from twolayer.theory.local_convergence.absolute_value import gradient
from twolayer.theory.local_convergence.configuration import checked_pair, require_width
from twolayer.theory.local_convergence.guarantees import below_threshold
from twolayer.theory.local_convergence.matching import Matching, match_neurons
from twolayer.theory.local_convergence.residual import decompose_residual


@dataclass(frozen=True)
class DescentDirection:
    """A direction along which the loss must fall, and the lower bound of the gradient it gives.

    Attributes
    ----------
    direction
        ``(I + wb_j wb_j^T)^{-1} (w_j - q_ij sgn(w_j.w*_i) w*_i)``, to be subtracted, ``[m, d]``.
    weights
        ``q_ij`` of each student with its own teacher, ``[m]``; 0 for far students.
    alignment
        Its inner product with the gradient. Lemma 8: at least the loss where that is below eps_0.
    loss
        The loss.
    gradient_norm
        The norm of the gradient.
    assumptions
        What the lemma asks for, and what Lemma 9 says follows from it.
    """

    direction: Float[np.ndarray, "m d"]
    weights: Float[np.ndarray, " m"]
    alignment: float
    loss: float
    gradient_norm: float
    assumptions: tuple[Assumption, ...]

    @property
    def gradient_bound(self) -> float:
        """``alignment / |direction|``: the gradient is at least that long (Cauchy-Schwarz).

        0 where the direction vanishes: for perfect students, or when all are zero.
        """
        length = float(np.linalg.norm(self.direction))
        return self.alignment / length if length > 0 else 0.0


def descent_direction(
    W: Float[np.ndarray, "m d"],
    teacher: Float[np.ndarray, "r d"],
    *,
    near_angle: float | None = None,
) -> DescentDirection:
    r"""The direction of Lemma 8 with the weights of Theorem 4 of zhou2021local.

    .. math:: \sum_i \sum_{j \in T_i} \langle \nabla_{w_j} L,
              (I + \bar w_j \bar w_j^T)^{-1} (w_j - q_{ij} \mathrm{sgn}(w_j.w^*_i) w^*_i) \rangle
              = 2 L + E[R I_1] \ge L, \qquad
              q_{ij} = \frac{\|w_j\|}{\sum_{k \in T_i(\delta)} \|w_k\|^2}

    The ratio of the left side to L is about 2 where the flat part of the residual dominates, and
    tends to 3 where the spiky part does (derived here).

    Parameters
    ----------
    W
        Students.
    teacher
        Teacher neurons.
    near_angle
        Students within this angle of their teacher count as near. By default the lemma's
        ``r w_max w_min^{-5/3} L^{1/3}`` with constant 1, widened to the nearest student of each
        cluster.

    Raises
    ------
    ValueError
        If the arrays do not fit, or there are fewer students than teachers.

    Examples
    --------
    >>> W = np.array([[1.0, 0.1], [0.7, -0.1], [0.1, 0.9]])
    >>> found = descent_direction(W, np.eye(2))
    >>> bool(found.alignment >= found.loss), bool(found.gradient_bound <= found.gradient_norm)
    (True, True)
    """
    students, V = checked_pair(W, teacher)
    require_width(len(students), len(V))
    matching = match_neurons(students, V)
    value = decompose_residual(students, V).loss
    slope = gradient(students, V)
    norms = np.linalg.norm(V, axis=1)
    reach = near_angle
    if reach is None:
        scale = len(V) * norms.max() * norms.min() ** (-5 / 3) * max(value, 0.0) ** (1 / 3)
        reach = max(float(scale), _widest_nearest(matching))
    near = matching.near(reach) & (matching.mass > 0)
    mass = matching.near_mass(reach)[matching.cluster]
    weights = np.where(near, np.sqrt(matching.mass) / np.where(mass > 0, mass, 1.0), 0.0)
    toward = weights[:, None] * V[matching.cluster]
    aligned = matching.aligned - toward
    directions = unit(matching.aligned)
    inward = np.sum(aligned * directions, axis=1, keepdims=True)
    signs = np.where(np.sum(students * matching.aligned, axis=1) < 0, -1.0, 1.0)
    direction = signs[:, None] * (aligned - inward * directions / 2)
    return DescentDirection(
        direction,
        weights,
        float(np.sum(slope * direction)),
        value,
        float(np.linalg.norm(slope)),
        (*_assumptions(matching, reach, norms), below_threshold(V, value, "loss")),
    )


def _widest_nearest(matching: Matching) -> float:
    """The largest over the clusters of the angle of the nearest student, with a margin."""
    nearest = np.full(len(matching.cluster_mass), -np.inf)
    for i in range(len(nearest)):
        mine = matching.angle[(matching.cluster == i) & (matching.mass > 0)]
        nearest[i] = np.min(mine, initial=np.inf)
    reached = nearest[np.isfinite(nearest)]
    return float(np.max(reached, initial=0.0)) * (1 + 1e-12)


def _assumptions(
    matching: Matching, near_angle: float, norms: np.ndarray
) -> tuple[Assumption, ...]:
    share = float(np.min(matching.near_mass(near_angle) / norms))
    return (
        Assumption(
            "every teacher has a near student, Lemma 9",
            share > 0,
            share,
            f"near means within {near_angle:.3g}; margin: the least share of a teacher's norm",
        ),
        Assumption(
            "near students hold half of every teacher's norm, Lemma 9", share >= 0.5, share - 0.5
        ),
    )
