"""Gradient flow of a student on a teacher, in the span of their neurons."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from twolayer.numerics.ode import Solver, integrate
from twolayer.numerics.precision import in_float64
from twolayer.teacher_student import TeacherStudent


class StudentPath(NamedTuple):
    """A student in training, at the times (or steps) asked for.

    Attributes
    ----------
    times
        When.
    W
        The student, NaN from where training left the finite numbers.
    losses
        Its population risk; below 1e-15 of the risk of the zero student it is rounding.
    gradient_norms
        The Frobenius norm of the risk's gradient, good far below that.
    finished
        Whether the last time was reached with finite numbers.
    """

    times: Float[np.ndarray, " t"]
    W: Float[np.ndarray, "t m d"]
    losses: Float[np.ndarray, " t"]
    gradient_norms: Float[np.ndarray, " t"]
    finished: bool


@in_float64
def flow(
    problem: TeacherStudent,
    W: Float[ArrayLike, "m d"],
    a: Float[ArrayLike, " m"] | None = None,
    *,
    times: Float[ArrayLike, " t"],
    solver: Solver = "explicit",
    rtol: float = 1e-8,
) -> StudentPath:
    r"""Gradient flow ``dW/dt = -grad L(W)``, the output weights fixed, by adaptive integration.

    It runs in the span of students and teachers, which it never leaves: dimension at most m + r,
    exactly (derived here). Explicit steps are bound by the largest eigenvalue of the Hessian
    however slow the flow has become. Over long times take the stabilised solver, whose steps grow
    with time (of second order: ask for no more than 1e-5 or 1e-6), or for few neurons and many
    digits the implicit one, at the price of linear systems of ``m min(d, m + r)`` unknowns.

    Parameters
    ----------
    problem
        The risk.
    W
        The student at ``times[0]``.
    a
        Its output weights, 1 by default.
    times
        Increasing times.
    solver
        ``"explicit"``, ``"implicit"`` or ``"stabilised"``.
    rtol
        Relative tolerance of a step; the absolute one is a hundredth of it.

    Raises
    ------
    ValueError
        If the shapes do not fit, the student is not finite, or the times do not increase.

    Examples
    --------
    >>> path = flow(TeacherStudent(np.eye(2)), np.eye(2) + 0.1, times=[0.0, 1.0, 50.0])
    >>> bool(path.losses[2] < 1e-9 < path.losses[1] < path.losses[0])
    True
    """
    W, times = np.asarray(W, np.float64), np.asarray(times, np.float64)
    if not np.all(np.isfinite(W)):
        message = "Expected a finite student. Received: one that is not finite."
        raise ValueError(message)
    if times.ndim != 1 or times.size < 2 or not np.all(np.diff(times) > 0):
        message = f"Expected increasing times, two or more. Received: {times!r}."
        raise ValueError(message)
    outputs = None if a is None else jnp.asarray(a, float)
    reduced, start, basis = problem.reduce(jnp.asarray(W))
    solution = integrate(
        _Descent(reduced, outputs), start, jnp.asarray(times), rtol=rtol, atol=rtol / 100,
        solver=solver,
    )  # fmt: skip
    losses, norms = observe(reduced, solution.states, outputs)
    states = np.asarray(solution.states @ basis.T)
    return StudentPath(times, states, losses, norms, bool(solution.finished))


class _Descent(eqx.Module):
    problem: TeacherStudent
    a: Array | None

    def __call__(self, t: Array, W: Array) -> Array:
        del t
        return -self.problem.gradient(W, self.a)


def observe(
    problem: TeacherStudent, states: Array, a: Array | None
) -> tuple[np.ndarray, np.ndarray]:
    """Risks and gradient norms of students along the first axis."""
    losses, norms = _observe(problem, states, a)
    return np.asarray(losses), np.asarray(norms)


@eqx.filter_jit
def _observe(problem: TeacherStudent, states: Array, a: Array | None) -> tuple[Array, Array]:
    def one(W: Array) -> tuple[Array, Array]:
        return problem(W, a), jnp.linalg.norm(problem.gradient(W, a))

    return jax.lax.map(one, states)
