"""Training a student on a teacher, against plain loops, SciPy and exactly known late times."""

from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from helpers import assert_within_sem
from twolayer.dynamics.teacher_student import (
    descend,
    flow,
    perturbed_descent,
    random_initialisation,
    sampled_descent,
    scaled_to_fit,
    subspace_initialisation,
    teacher_subspace,
)
from twolayer.pair_kernels import abs_pairs, erf_pairs
from twolayer.teacher_student import TeacherStudent

GENERATOR = np.random.default_rng(7)
RELU = TeacherStudent(np.eye(3))
NORM = TeacherStudent(np.array([[1.0, 0.0]]), pairs=abs_pairs, student="norm")


def relu_gradient(W, V):
    """The ReLU gradient neuron by neuron, as in (4) of xu2023over."""
    gradient = np.zeros_like(W)
    for i, w in enumerate(W):
        for sign, others in ((1, W), (-1, V)):
            for v in others:
                c = w @ v / np.linalg.norm(w) / np.linalg.norm(v)
                th = np.arccos(np.clip(c, -1, 1))
                along = np.sin(th) * np.linalg.norm(v) / np.linalg.norm(w)
                gradient[i] += sign * (along * w + (pi - th) * v) / (2 * pi)
    return gradient


def test_descent_of_many_runs_is_descent_of_each():
    """Eleven runs through a pool of eight places: each is where a plain loop brings it."""
    starts = GENERATOR.normal(size=(11, 3, 3))
    run = descend(RELU, starts, learning_rate=0.3, gradient_norm=1e-300, max_steps=64)
    for start, end in zip(starts, run.W, strict=True):
        W = start
        for _ in range(64):
            W = W - 0.3 * relu_gradient(W, np.eye(3))
        np.testing.assert_allclose(end, W, atol=1e-11)
    assert run.status == ("stopped",) * 11
    np.testing.assert_array_equal(run.steps, 64)
    np.testing.assert_allclose(run.losses, [RELU(W) for W in run.W], atol=1e-14)
    norms = [np.linalg.norm(relu_gradient(W, np.eye(3))) for W in run.W]
    np.testing.assert_allclose(run.gradient_norms, norms, rtol=1e-8)
    # the first run has finished there if asked for no less than that norm, and else not
    for share, steps in ((1.01, 64), (0.99, 128)):
        again = descend(RELU, starts, learning_rate=0.3, gradient_norm=share * norms[0],
                        max_steps=128)  # fmt: skip
        assert again.steps[0] == steps


def test_descent_ends_at_stationary_points_with_any_first_step():
    """A step of 50 diverges; halved often enough it ends where the gradient is as small."""
    starts = GENERATOR.normal(size=(11, 3, 3))
    run = descend(RELU, starts, learning_rate=50.0, gradient_norm=1e-9, max_steps=50_000)
    assert run.status == ("finished",) * 11
    assert np.all(run.learning_rates < 8)
    assert np.all(np.log2(50 / run.learning_rates) % 1 == 0)
    for W in run.W:
        assert np.linalg.norm(relu_gradient(W, np.eye(3))) < 2e-9


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "rtol"), [("implicit", 1e-9), ("stabilised", 1e-6)])
def test_late_times_are_the_known_powers(solver, rtol):
    """Two symmetric students: angle ~ pi / (2 t). An orthogonal one: L ~ t^-2 / (32 - 128/pi^2).

    Both limits derived here, within .3% at t = 20000, where the leading corrections are .1%.
    """
    times = np.array([0.0, 2e4])
    W = np.array([[1.0, 0.4], [1.0, -0.4]]) / 2**0.5
    end = flow(NORM, W, times=times, solver=solver, rtol=rtol).W[-1]
    angles = np.abs(np.arctan2(end[:, 1], end[:, 0]))
    np.testing.assert_allclose(angles * 2e4, pi / 2, rtol=3e-3)
    path = flow(NORM, np.diag([1.0, 0.5]), times=times, solver=solver, rtol=rtol)
    limit = 1 / (32 * (1 - 4 / pi**2))
    np.testing.assert_allclose(path.losses[-1] * 4e8, limit, rtol=3e-3)


def test_flow_in_the_span_is_the_flow():
    """SciPy's LSODA on the plain gradient in all nine dimensions finds the same student."""
    teacher, W = GENERATOR.normal(size=(2, 9)), GENERATOR.normal(size=(3, 9))
    path = flow(TeacherStudent(teacher), W, times=[0.0, 0.5, 3.0], rtol=1e-10)
    assert path.finished
    referee = solve_ivp(
        lambda t, w: -relu_gradient(w.reshape(3, 9), teacher).ravel(), (0.0, 3.0), W.ravel(),
        method="LSODA", t_eval=path.times, rtol=1e-10, atol=1e-11,
    )  # fmt: skip
    np.testing.assert_allclose(path.W.reshape(3, -1), referee.y.T, atol=1e-8)
    np.testing.assert_allclose(path.losses[-1], TeacherStudent(teacher)(path.W[-1]), rtol=1e-10)


def test_sampled_descent_steps_along_the_gradient_on_average():
    """One step's mean over 40 batches is the population's step, within its standard error."""
    W = np.array([[0.6, 0.5], [0.3, -1.0]])
    ends = [
        sampled_descent(NORM, W, learning_rate=0.5, batch_size=500, steps=[1], key=key).W[0]
        for key in jax.random.split(jax.random.key(0), 40)
    ]
    step = np.stack(ends) - W
    expected = -0.5 * NORM.gradient(jnp.asarray(W))
    assert_within_sem(step.mean(axis=0), step.std(axis=0, ddof=1) / 40**0.5, expected)


def test_perturbations_are_common_to_all_neurons():
    """With a vanishing step the student walks by N(0, noise^2 / sqrt(d)), all neurons alike."""
    path = perturbed_descent(
        NORM, np.ones((2, 2)), learning_rate=1e-15, noise=0.1, steps=np.arange(401),
        key=jax.random.key(1),
    )  # fmt: skip
    moves = np.diff(path.W, axis=0)
    np.testing.assert_allclose(moves[:, 0], moves[:, 1], atol=1e-12)
    squares = moves[:, 0].ravel() ** 2
    assert_within_sem(squares.mean(), squares.std() / 800**0.5, 0.1**2 / 2**0.5)
    # with a visible step the gradient is that of the perturbed student
    step = perturbed_descent(
        NORM, np.ones((2, 2)), learning_rate=0.1, noise=0.1, steps=np.arange(401),
        key=jax.random.key(1),
    )  # fmt: skip
    expected = path.W[1] - 0.1 * NORM.gradient(jnp.asarray(path.W[1]))
    np.testing.assert_allclose(step.W[1], expected, atol=1e-13)


def test_recorded_steps_do_not_depend_on_what_is_recorded():
    """Step 30 is the same whether or not step 10 was looked at; no noise is plain descent."""
    W = np.array([[0.6, 0.5], [0.3, -1.0]])
    options = {"learning_rate": 0.1, "noise": 0.05, "key": jax.random.key(2)}
    often = perturbed_descent(NORM, W, steps=[0, 10, 30], **options)
    once = perturbed_descent(NORM, W, steps=[3, 29, 30], **options)
    np.testing.assert_array_equal(often.W[2], once.W[2])
    np.testing.assert_array_equal(often.W[0], W)
    plain = perturbed_descent(NORM, W, steps=[0, 1, 2], **{**options, "noise": 0.0})
    expected = plain.W[1] - 0.1 * NORM.gradient(jnp.asarray(plain.W[1]))
    np.testing.assert_allclose(plain.W[2], expected, atol=1e-15)


DIRECTIONS = np.random.default_rng(11).normal(size=(12, 4))


@pytest.mark.parametrize("student", ["plain", "norm"])
def test_fitted_lengths_are_optimal(student):
    """Karush, Kuhn, Tucker: no weight's slope is negative, and zero where the weight is not."""
    teacher = GENERATOR.normal(size=(3, 4))
    pairs = abs_pairs
    W = scaled_to_fit(TeacherStudent(teacher, pairs=pairs, student=student), DIRECTIONS)
    norms = np.linalg.norm(W, axis=1)
    weights = norms**2 if student == "norm" else norms
    unit = DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
    slope = np.asarray(TeacherStudent(teacher, pairs=pairs).output_gradient(unit, weights))
    assert np.any(weights > 0)
    assert np.any(weights == 0)
    np.testing.assert_allclose(slope[weights > 0], 0, atol=1e-10)
    assert np.all(slope > -1e-10)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, -2.0]])
def test_the_subspace_of_teachers_of_either_sign(weights):
    """Negative teachers have negative eigenvalues: they count by their size."""
    problem = TeacherStudent(np.eye(2, 6)[::-1] @ np.roll(np.eye(6), 2, axis=1), np.array(weights))
    basis = teacher_subspace(problem, 40_000, key=jax.random.key(4))
    assert basis.shape == (6, 2)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)
    # the sine of the largest angle: errors of order 1 / sqrt(samples) over gaps of order 1/4
    assert np.linalg.norm(problem.teacher - problem.teacher @ basis @ basis.T, 2) < 0.2


def test_bad_input():
    """One sentence names what is wrong."""
    key, W = jax.random.key(0), np.ones((2, 3))
    with pytest.raises(ValueError, match="starts"):
        descend(RELU, np.full((1, 2, 3), np.nan), learning_rate=0.1)
    with pytest.raises(ValueError, match="learning_rate"):
        descend(RELU, W[None], learning_rate=0.0)
    with pytest.raises(ValueError, match="max_steps"):
        descend(RELU, W[None], learning_rate=0.1, max_steps=True)
    with pytest.raises(ValueError, match="shape"):
        descend(RELU, np.ones((1, 2, 4)), learning_rate=0.1)
    with pytest.raises(ValueError, match="times"):
        flow(RELU, W, times=[1.0, 0.0])
    with pytest.raises(ValueError, match="finite"):
        flow(RELU, np.inf * W, times=[0.0, 1.0])
    with pytest.raises(ValueError, match="step numbers"):
        sampled_descent(RELU, W, learning_rate=0.1, batch_size=2, steps=[2, 1], key=key)
    with pytest.raises(ValueError, match="batch_size"):
        sampled_descent(RELU, W, learning_rate=0.1, batch_size=0, steps=[1], key=key)
    with pytest.raises(ValueError, match="noise"):
        perturbed_descent(RELU, W, learning_rate=0.1, noise=-1.0, steps=[1], key=key)
    with pytest.raises(ValueError, match="at least as many students"):
        random_initialisation(RELU, 2, key=key)
    with pytest.raises(ValueError, match="homogeneous"):
        subspace_initialisation(TeacherStudent(np.eye(3), pairs=erf_pairs), 5, 10, key=key)
