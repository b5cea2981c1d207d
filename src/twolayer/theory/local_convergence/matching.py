"""Which student belongs to which teacher, and how far each cluster is from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from twolayer.numerics.angles import unit
from twolayer.theory.local_convergence.absolute_value import output_vectors
from twolayer.theory.local_convergence.configuration import checked_pair, sign_free_angles


@dataclass(frozen=True)
class Matching:
    """The partition of Section 5 of zhou2021local and what it says of a configuration.

    Attributes
    ----------
    cluster
        The teacher i nearest to each student in angle up to sign (``j`` in ``T_i``), ``[m]``.
    angle
        The angle delta_j to it, ``[m]``.
    aligned
        The students with signs such that ``w_j . w*_i >= 0``, ``[m, d]``.
    mass
        ``|w_j|^2``, to be compared with norms of teachers, ``[m]``.
    cluster_mass
        ``sum_{j in T_i} |w_j|^2``, ``[r]``.
    average
        The average neurons ``sum_{j in T_i} |w_j| w_j`` of the aligned students, ``[r, d]``.
    deviation
        ``v_i``: the average neurons less their teachers, ``[r, d]``.
    """

    cluster: Int[np.ndarray, " m"]
    angle: Float[np.ndarray, " m"]
    aligned: Float[np.ndarray, "m d"]
    mass: Float[np.ndarray, " m"]
    cluster_mass: Float[np.ndarray, " r"]
    average: Float[np.ndarray, "r d"]
    deviation: Float[np.ndarray, "r d"]

    @property
    def spread(self) -> float:
        """``sum_j |w_j|^2 delta_j^2``, of order ``sqrt(L)`` (Lemma C.6): small at a matching."""
        return float(np.sum(self.mass * self.angle**2))

    def near(self, largest_angle: float) -> Bool[np.ndarray, " m"]:
        """Which students are within `largest_angle` of their teacher: the sets ``T_i(delta)``."""
        return self.angle <= largest_angle

    def near_mass(self, largest_angle: float) -> Float[np.ndarray, " r"]:
        """``sum |w_j|^2`` over the near students of each teacher, ``[r]``."""
        mass = np.where(self.near(largest_angle), self.mass, 0.0)
        return np.bincount(self.cluster, mass, len(self.cluster_mass))


def match_neurons(W: Float[np.ndarray, "m d"], teacher: Float[np.ndarray, "r d"]) -> Matching:
    """Give every student to the teacher nearest in angle up to sign; ties go to the first.

    zhou2021local, Section 5. A zero student goes to the first teacher with angle pi/2.

    Examples
    --------
    >>> W = np.array([[1.0, 0.1], [-0.1, 0.5], [-0.1, -0.5]])
    >>> found = match_neurons(W, np.eye(2))
    >>> found.cluster.tolist(), found.cluster_mass.round(2).tolist()
    ([0, 1, 1], [1.01, 0.52])
    """
    students, V = checked_pair(W, teacher)
    angles = sign_free_angles(students, V)
    cluster = np.argmin(angles, axis=1)
    own = V[cluster]
    sign = np.where(np.sum(students * own, axis=1) < 0, -1.0, 1.0)
    aligned = sign[:, None] * students
    average = np.zeros_like(V)
    np.add.at(average, cluster, output_vectors(aligned))
    mass = np.sum(students**2, axis=1)
    return Matching(
        cluster,
        angles[np.arange(len(students)), cluster],
        aligned,
        mass,
        np.bincount(cluster, mass, len(V)),
        average,
        average - V,
    )


def match_one_to_one(
    W: Float[np.ndarray, "r d"], teacher: Float[np.ndarray, "r d"]
) -> Int[np.ndarray, " r"]:
    """For as many students as teachers: the permutation of greatest total ``|cos|``.

    Entry j is the teacher of student j (the Hungarian algorithm).

    Raises
    ------
    ValueError
        If the numbers differ.

    Examples
    --------
    >>> match_one_to_one(np.array([[0.1, -1.0], [0.2, 1.0]]), np.eye(2)).tolist()
    [1, 0]
    """
    from scipy.optimize import linear_sum_assignment

    students, V = checked_pair(W, teacher)
    if len(students) != len(V):
        message = "Expected as many students as teachers; match_neurons takes any number. "
        message += f"Received: {len(students)} and {len(V)}."
        raise ValueError(message)
    return linear_sum_assignment(np.abs(unit(students) @ unit(V).T), maximize=True)[1]
