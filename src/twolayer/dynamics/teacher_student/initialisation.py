"""Starts close to the teacher: the two initialisation algorithms of zhou2021local."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import nnls

from twolayer.networks import check_positive
from twolayer.numerics.precision import in_float64
from twolayer.teacher_student import TeacherStudent

_BATCH = 2**14  # samples in memory at a time
_LEAST_EIGENVALUE = 1e-13  # of the largest: what lies below is rounding


@in_float64
def random_initialisation(
    problem: TeacherStudent, width: int, *, key: PRNGKeyArray
) -> Float[np.ndarray, "m d"]:
    """Random directions with the best non-negative weights: Algorithm 1 of zhou2021local.

    ``w_j ~ N(0, I_d)``, then ``z = argmin_{z >= 0} E (sum_j z_j s(w_j.x) - f*(x))^2 / 2`` in the
    population, and each neuron is scaled so that it enters with weight ``z_j``. Most of them end
    at zero: as in every non-negative least squares, about twice as many as teachers stay.

    Parameters
    ----------
    problem
        A risk whose activation is positively homogeneous (ReLU, absolute value).
    width
        Number of students.
    key
        Source of the directions.

    Raises
    ------
    ValueError
        If the width is below the number of teachers, or the activation is not homogeneous.

    Examples
    --------
    >>> from twolayer.pair_kernels import abs_pairs
    >>> problem = TeacherStudent(np.eye(2), pairs=abs_pairs, student="norm")
    >>> W = random_initialisation(problem, 50, key=jax.random.key(0))
    >>> bool(problem(W) < 1e-3 < problem(0 * W))
    True
    """
    _check(problem, width)
    directions = jax.random.normal(key, (width, problem.dim))
    return scaled_to_fit(problem, np.asarray(directions, np.float64))


@in_float64
def subspace_initialisation(
    problem: TeacherStudent, width: int, num_samples: int, *, key: PRNGKeyArray
) -> Float[np.ndarray, "m d"]:
    """The same in the span of the teachers, found from samples: Algorithm 2 of zhou2021local.

    The r eigenvectors of ``(1/N) sum_n f*(x_n) (x_n x_n^T - I)`` of largest absolute eigenvalue
    span the teachers as N grows; the directions are normal in that subspace. (The weights are
    fitted in the population.)

    Parameters
    ----------
    problem
        A risk whose activation is positively homogeneous.
    width
        Number of students.
    num_samples
        Samples N of the teacher.
    key
        Source of samples and directions.

    Raises
    ------
    ValueError
        If a size is too small, or the activation is not homogeneous.

    Examples
    --------
    >>> from twolayer.pair_kernels import abs_pairs
    >>> problem = TeacherStudent(np.eye(2, 9), pairs=abs_pairs, student="norm")
    >>> W = subspace_initialisation(problem, 20, 10_000, key=jax.random.key(0))
    >>> bool(problem(W) < 0.05)
    True
    """
    _check(problem, width)
    check_positive(num_samples=num_samples)
    sample_key, direction_key = jax.random.split(key)
    basis = teacher_subspace(problem, num_samples, key=sample_key)
    coordinates = jax.random.normal(direction_key, (width, basis.shape[1]))
    return scaled_to_fit(problem, np.asarray(coordinates, np.float64) @ basis.T)


@in_float64
def teacher_subspace(
    problem: TeacherStudent, num_samples: int, *, key: PRNGKeyArray
) -> Float[np.ndarray, "d k"]:
    """An orthonormal basis of the teachers' span, estimated from samples of the teacher.

    ``E f*(x) (x x^T - I) = sqrt(2/pi) sum_i b_i |v_i| vb_i vb_i^T`` for the absolute value, and
    half of it for ReLU (zhou2021local, Lemma E.2; the constant derived here).

    Examples
    --------
    >>> problem = TeacherStudent(np.eye(2, 5))
    >>> basis = teacher_subspace(problem, 20_000, key=jax.random.key(0))
    >>> bool(np.linalg.norm(basis[2:]) < 0.2)
    True
    """
    total = jnp.zeros((problem.dim, problem.dim))
    for k, start in enumerate(range(0, num_samples, _BATCH)):
        size = min(_BATCH, num_samples - start)
        total = total + _weighted_second_moment(problem, size, jax.random.fold_in(key, k))
    eigenvalues, vectors = np.linalg.eigh(np.asarray(total / num_samples))
    rank = min(problem.teacher.shape)
    return vectors[:, np.argsort(-np.abs(eigenvalues))[:rank]]


@in_float64
def scaled_to_fit(
    problem: TeacherStudent, directions: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "m d"]:
    """Students along given directions, their lengths the best non-negative fit of the teacher.

    Minimises ``z^T G z / 2 - c^T z``, ``G = K(w_i, w_j)``, ``c_i = sum_l b_l K(w_i, v_l)``, by
    non-negative least squares with a square root of G from its eigenvectors.

    Examples
    --------
    >>> problem = TeacherStudent(np.diag([1.0, 3.0]))
    >>> scaled_to_fit(problem, np.array([[4.0, 0.0], [0.0, 1.0], [1.0, 1.0]])).round(6).tolist()
    [[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]]
    """
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    pairs, teacher = problem.pairs, problem.teacher
    value = eqx.filter_jit(pairs.value)
    neurons: Array = jnp.asarray(directions)
    eigenvalues, vectors = np.linalg.eigh(np.asarray(value(neurons, neurons)))
    kept = eigenvalues > _LEAST_EIGENVALUE * eigenvalues[-1]
    root = np.sqrt(eigenvalues[kept])
    c = np.asarray(value(neurons, jnp.asarray(teacher))) @ np.asarray(problem.teacher_weights)
    whitened = vectors[:, kept]
    weights, _ = nnls(root[:, None] * whitened.T, (whitened.T @ c) / root)
    lengths = np.sqrt(weights) if problem.student == "norm" else weights
    return lengths[:, None] * directions


@eqx.filter_jit
def _weighted_second_moment(problem: TeacherStudent, size: int, key: PRNGKeyArray) -> Array:
    """The sum of ``f*(x) (x x^T - I)`` over fresh samples."""
    x = jax.random.normal(key, (size, problem.dim))
    y = problem.target(x)
    return (y[:, None] * x).T @ x - jnp.sum(y) * jnp.eye(problem.dim)


def _check(problem: TeacherStudent, width: int) -> None:
    check_positive(width=width)
    teachers = problem.teacher.shape[0]
    if width < teachers:
        message = f"Expected at least as many students as teachers, {teachers}. "
        message += f"Received: width {width}."
        raise ValueError(message)
    if problem.pairs.kinks is None:
        message = "Expected a positively homogeneous activation (ReLU or absolute value). "
        message += "Received: another, whose neurons cannot be weighted by their length."
        raise ValueError(message)
