"""Neurons and teacher as checked arrays in double precision."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import angle, supplement

_PARALLEL = 1e-12  # angles up to sign below this are rounding of parallel vectors


def checked_teacher(teacher: Float[np.ndarray, "r d"]) -> Float[np.ndarray, "r d"]:
    """The teacher in double precision.

    Raises
    ------
    ValueError
        If it is no matrix of finite rows, one row is zero, or two rows are parallel.

    Examples
    --------
    >>> checked_teacher([[1, 0], [0, 1]]).dtype
    dtype('float64')
    """
    V = _matrix("the teacher", teacher)
    norms = np.linalg.norm(V, axis=1)
    if not np.all(norms > 0):
        message = "Expected teacher neurons different from zero. Received: neuron "
        message += f"{int(np.argmin(norms))} is zero. Leave it out."
        raise ValueError(message)
    apart = sign_free_angles(V, V) + np.pi * np.eye(len(V))
    if np.min(apart) < _PARALLEL:
        first, second = sorted(np.unravel_index(np.argmin(apart), apart.shape))
        message = "Expected teacher neurons of which no two are parallel. Received: neurons "
        message += f"{first} and {second} are. Merge them into one, their norms added."
        raise ValueError(message)
    return V


def checked_pair(
    W: Float[np.ndarray, "m d"], teacher: Float[np.ndarray, "r d"]
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "r d"]]:
    """Students and teacher in double precision.

    Raises
    ------
    ValueError
        If the teacher is none, or students and teacher have different dimensions.

    Examples
    --------
    >>> W, V = checked_pair([[1.0, 2.0]], [[3, 0]])
    >>> W.shape, V.shape
    ((1, 2), (1, 2))
    """
    V = checked_teacher(teacher)
    students = _matrix("the students", W)
    if students.shape[1] != V.shape[1]:
        message = "Expected students and teacher of one dimension, one neuron a row. "
        message += f"Received: shapes {students.shape} and {V.shape}."
        raise ValueError(message)
    return students, V


def require_width(num_students: int, num_teachers: int) -> None:
    """Refuse students that are fewer than the teachers.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    if num_students < num_teachers:
        message = "Expected at least as many students as teachers, or the loss cannot vanish. "
        message += f"Received: {num_students} students, {num_teachers} teachers."
        raise ValueError(message)


def sign_free_angles(
    U: Float[np.ndarray, "m d"], V: Float[np.ndarray, "r d"]
) -> Float[np.ndarray, "m r"]:
    """``arccos(|u.v| / |u||v|)`` in [0, pi/2] for all pairs, accurate near 0.

    Examples
    --------
    >>> float(sign_free_angles(np.array([[1.0, 1e-9]]), np.array([[-1.0, 0.0]]))[0, 0])
    1e-09
    """
    left, right = U[:, None, :], V[None, :, :]
    return np.minimum(angle(left, right), supplement(left, right))


def separation(teacher: Float[np.ndarray, "r d"]) -> float:
    """The least angle Delta between two teacher neurons, up to sign; pi/2 for one neuron.

    Assumption 1 of zhou2021local.

    Examples
    --------
    >>> round(separation(np.array([[1.0, 0.0], [-1.0, 0.1]])), 6)
    0.099669
    """
    V = checked_teacher(teacher)
    if len(V) == 1:
        return np.pi / 2
    return float(np.min(sign_free_angles(V, V)[np.triu_indices(len(V), 1)]))


def _matrix(name: str, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape or not np.all(np.isfinite(array)):
        message = f"Expected {name} as a matrix of finite numbers, one neuron a row. Received: "
        message += f"shape {array.shape}" + ("." if array.ndim != 2 else ", or not finite.")
        raise ValueError(message)
    return array
