"""Descent in steps, recorded on the way: exact, with fresh samples, with perturbed weights."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from twolayer.dynamics.teacher_student.flow import StudentPath, observe
from twolayer.networks import check_positive
from twolayer.numerics.precision import in_float64
from twolayer.teacher_student import TeacherStudent


@in_float64
def perturbed_descent(
    problem: TeacherStudent,
    W: Float[ArrayLike, "m d"],
    *,
    learning_rate: float,
    noise: float,
    steps: Int[ArrayLike, " t"],
    key: PRNGKeyArray,
) -> StudentPath:
    """Gradient descent from a perturbed point in each step: Algorithm D.2 of safran2021effects.

    ``W' = W + noise xi``, ``W <- W' - learning_rate grad L(W')`` with ``xi ~ N(0, I / sqrt(d))``,
    the same for all neurons. With noise 0 it is gradient descent.

    Parameters
    ----------
    problem
        The risk.
    W
        The student at step 0.
    learning_rate
        The step.
    noise
        The factor of the perturbation.
    steps
        Increasing step numbers at which the student is recorded.
    key
        Source of the perturbations.

    Raises
    ------
    ValueError
        If the steps do not increase, or a number is not positive (the noise: negative).

    Examples
    --------
    >>> problem, key = TeacherStudent(np.eye(2)), jax.random.key(0)
    >>> path = perturbed_descent(
    ...     problem, np.eye(2) + 0.1, learning_rate=0.5, noise=0.0, steps=[0, 100], key=key
    ... )
    >>> bool(path.losses[-1] < 1e-10)
    True
    """
    _check_rates(learning_rate, noise)
    numbers = tuple(map(jnp.asarray, (float(learning_rate), float(noise))))
    return _march(problem, W, steps, _PerturbedStep(problem, *numbers), key)


@in_float64
def sampled_descent(
    problem: TeacherStudent,
    W: Float[ArrayLike, "m d"],
    *,
    learning_rate: float,
    batch_size: int,
    steps: Int[ArrayLike, " t"],
    key: PRNGKeyArray,
) -> StudentPath:
    """Stochastic gradient descent with a fresh batch in each step: Theorem 7 of zhou2021local.

    ``W <- W - learning_rate grad (1 / 2N) sum_n (f(x_n) - f*(x_n))^2``.

    Parameters
    ----------
    problem
        The risk; what is recorded is the population's.
    W
        The student at step 0, its output weights 1.
    learning_rate
        The step.
    batch_size
        Samples N of a batch.
    steps
        Increasing step numbers at which the student is recorded.
    key
        Source of the samples.

    Raises
    ------
    ValueError
        If the steps do not increase, or a number is not positive.

    Examples
    --------
    >>> problem, key = TeacherStudent(np.eye(2)), jax.random.key(0)
    >>> path = sampled_descent(
    ...     problem, np.eye(2) + 0.1, learning_rate=0.5, batch_size=16, steps=[0, 200], key=key
    ... )
    >>> bool(path.losses[-1] < 1e-10)
    True
    """
    _check_rates(learning_rate, 0.0)
    check_positive(batch_size=batch_size)
    step = _SampledStep(problem, jnp.asarray(float(learning_rate)), batch_size)
    return _march(problem, W, steps, step, key)


class _PerturbedStep(eqx.Module):
    problem: TeacherStudent
    learning_rate: Array
    noise: Array

    def __call__(self, W: Array, key: PRNGKeyArray) -> Array:
        xi = jax.random.normal(key, (1, W.shape[1]), W.dtype) * W.shape[1] ** -0.25
        W = W + self.noise * xi
        return W - self.learning_rate * self.problem.gradient(W)


class _SampledStep(eqx.Module):
    problem: TeacherStudent
    learning_rate: Array
    batch_size: int = eqx.field(static=True)

    def __call__(self, W: Array, key: PRNGKeyArray) -> Array:
        x = jax.random.normal(key, (self.batch_size, W.shape[1]), W.dtype)
        y = self.problem.target(x)
        slope = jax.grad(lambda W: jnp.mean((self.problem.predict(W, x) - y) ** 2) / 2)(W)
        return W - self.learning_rate * slope


def _march(
    problem: TeacherStudent,
    W: Float[ArrayLike, "m d"],
    steps: Int[ArrayLike, " t"],
    step: Callable[[Array, PRNGKeyArray], Array],
    key: PRNGKeyArray,
) -> StudentPath:
    numbers = np.asarray(steps)
    whole = np.issubdtype(numbers.dtype, np.integer) and numbers.ndim == 1 and numbers.size > 0
    if not whole or numbers[0] < 0 or not np.all(np.diff(numbers) > 0):
        message = f"Expected increasing step numbers, from 0 on. Received: {steps!r}."
        raise ValueError(message)
    start = jnp.asarray(np.asarray(W, np.float64))
    states = _recorded(step, start, jnp.asarray(numbers), key)
    losses, norms = observe(problem, states, None)
    finished = bool(np.all(np.isfinite(losses)))
    return StudentPath(numbers.astype(np.float64), np.asarray(states), losses, norms, finished)


@eqx.filter_jit
def _recorded(
    step: Callable[[Array, PRNGKeyArray], Array], W: Array, numbers: Array, key: PRNGKeyArray
) -> Array:
    """The student at each step number; the randomness of a step depends on its number alone."""

    def reach(W: Array, edge: tuple[Array, Array]) -> tuple[Array, Array]:
        W = jax.lax.fori_loop(*edge, lambda n, W: step(W, jax.random.fold_in(key, n)), W)
        return W, W

    before = jnp.concatenate([jnp.zeros_like(numbers[:1]), numbers[:-1]])
    return jax.lax.scan(reach, W, (before, numbers))[1]


def _check_rates(learning_rate: float, noise: float) -> None:
    if isinstance(learning_rate, bool) or not 0 < learning_rate < np.inf:
        message = f"Expected a positive learning_rate. Received: {learning_rate!r}."
        raise ValueError(message)
    if isinstance(noise, bool) or not 0 <= noise < np.inf:
        message = f"Expected a noise of at least 0. Received: {noise!r}."
        raise ValueError(message)
