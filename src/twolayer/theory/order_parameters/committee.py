"""Student and teacher as far as their overlaps describe them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.theory.order_parameters.integrals import Integrals


@dataclass(frozen=True)
class Committee:
    """A student ``sum_i v_i g(w_i . x)`` and a teacher ``sum_n A_n g(w*_n . x)`` by overlaps.

    The inputs are Gaussian with unit covariance, so that the overlaps are the covariance of the
    fields. In the convention of nn2pp and of Saad and Solla (fields ``w . x / sqrt N``) pass the
    overlaps ``W W^T / N``.

    Attributes
    ----------
    Q
        ``w_i . w_j``, shape ``[m, m]``.
    R
        ``w_i . w*_n``, shape ``[m, r]``.
    T
        ``w*_n . w*_p``, shape ``[r, r]``.
    student_weights
        The v_i; all 1 if left out.
    teacher_weights
        The A_n; all 1 if left out.

    Raises
    ------
    ValueError
        If shapes don't fit, a number is not finite, or the overlaps belong to no vectors.

    Examples
    --------
    >>> committee = Committee(np.eye(2), np.zeros((2, 1)), np.eye(1))
    >>> committee.num_students, committee.num_teachers
    (2, 1)
    """

    Q: Float[np.ndarray, "m m"]
    R: Float[np.ndarray, "m r"]
    T: Float[np.ndarray, "r r"]
    student_weights: Float[np.ndarray, " m"] | None = None
    teacher_weights: Float[np.ndarray, " r"] | None = None

    def __post_init__(self):
        for name in ("Q", "R", "T"):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=np.float64))
        shapes = self.Q.shape, self.R.shape, self.T.shape
        if any(len(s) != 2 or 0 in s for s in shapes) or shapes != (
            (shapes[1][0],) * 2, shapes[1], (shapes[1][1],) * 2
        ):  # fmt: skip
            message = "Expected overlaps Q [m, m], R [m, r] and T [r, r]. "
            message += f"Received: shapes {shapes[0]}, {shapes[1]} and {shapes[2]}."
            raise ValueError(message)
        for name, number in (("student_weights", shapes[1][0]), ("teacher_weights", shapes[1][1])):
            given = getattr(self, name)
            weights = np.ones(number) if given is None else np.array(given, dtype=np.float64)
            if weights.shape != (number,) or not np.all(np.isfinite(weights)):
                message = f"Expected {name} as {number} finite numbers. Received: {given!r}."
                raise ValueError(message)
            object.__setattr__(self, name, weights)
        self._check_overlaps()

    def _check_overlaps(self) -> None:
        C = self.covariance
        size = float(np.max(np.abs(C)))
        if not np.isfinite(size) or not np.allclose(C, C.T, rtol=0, atol=1e-9 * size):
            message = "Expected finite, symmetric overlaps. Received: "
            message += f"Q = {self.Q.tolist()}, T = {self.T.tolist()}."
            raise ValueError(message)
        least = float(np.linalg.eigvalsh(C)[0])
        if least < -1e-8 * size:
            message = "Expected overlaps of vectors, whose joint matrix [[Q, R], [R^T, T]] has no "
            message += f"negative eigenvalue. Received: one of {least:.3g}. Did you perhaps divide "
            message += "only some of the overlaps by the dimension?"
            raise ValueError(message)

    @property
    def num_students(self) -> int:
        """The number m of student neurons."""
        return self.R.shape[0]

    @property
    def num_teachers(self) -> int:
        """The number r of teacher neurons."""
        return self.R.shape[1]

    @property
    def covariance(self) -> Float[np.ndarray, "n n"]:
        """The covariance of all fields, students first."""
        return np.block([[self.Q, self.R], [self.R.T, self.T]])

    @property
    def signs(self) -> Float[np.ndarray, " n"]:
        """The weight of each neuron in teacher minus student."""
        return np.concatenate([
            -np.asarray(self.student_weights),
            np.asarray(self.teacher_weights),
        ])


def committee_of(
    W: Float[np.ndarray, "m d"],
    teacher: Float[np.ndarray, "r d"],
    student_weights: Float[np.ndarray, " m"] | None = None,
    teacher_weights: Float[np.ndarray, " r"] | None = None,
) -> Committee:
    """The overlaps of given weights, for inputs ``x ~ N(0, I)`` and fields ``w . x``.

    Raises
    ------
    ValueError
        If the weights are no two matrices with as many columns.

    Examples
    --------
    >>> committee_of(np.array([[1.0, 1.0]]), np.array([[0.0, 2.0]])).R
    array([[2.]])
    """
    W, teacher = np.asarray(W, dtype=np.float64), np.asarray(teacher, dtype=np.float64)
    if W.ndim != 2 or teacher.ndim != 2 or W.shape[1] != teacher.shape[1]:
        message = "Expected weights [m, d] and teacher [r, d]. "
        message += f"Received: shapes {W.shape} and {teacher.shape}."
        raise ValueError(message)
    return Committee(W @ W.T, W @ teacher.T, teacher @ teacher.T, student_weights, teacher_weights)


def generalisation_error(committee: Committee, integrals: Integrals) -> float:
    """``1/2 E (student - teacher)^2``, without the label noise.

    The double sum of ``I2`` over all neurons; saad1995online, and the code of goldt2019dynamics.
    Digits are lost below about 1e-14 of the single terms.

    Examples
    --------
    >>> from twolayer.theory.order_parameters.integrals import square_integrals
    >>> generalisation_error(committee_of(np.eye(1), 2 * np.eye(1)), square_integrals)
    13.5
    """
    signs = committee.signs
    return float(signs @ integrals.values(committee.covariance) @ signs) / 2
