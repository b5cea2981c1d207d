"""The population risk of teacher and student, its gradient and its Hessian."""

from math import cos, pi, sin, tan

import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_within_sem, finite_difference
from twolayer.pair_kernels import abs_pairs, erf_pairs, relu_pairs, square_pairs
from twolayer.teacher_student import TeacherStudent

GENERATOR = np.random.default_rng(3)
TEACHER = GENERATOR.normal(size=(2, 3))
W = GENERATOR.normal(size=(4, 3))
A = np.array([1.0, -0.5, 2.0, 1.5])
B = np.array([1.0, -2.0])
PROBLEMS = {
    "relu": TeacherStudent(TEACHER, B, relu_pairs),
    "abs": TeacherStudent(TEACHER, B, abs_pairs),
    "erf": TeacherStudent(TEACHER, B, erf_pairs),
    "square": TeacherStudent(TEACHER, B, square_pairs),
    "norm": TeacherStudent(TEACHER, B, abs_pairs, "norm"),
}
# A second derivative of each takes a second to compile; two stand for them in the fast tier.
NAMES = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in {"relu", "norm"} else pytest.mark.slow)
        for name in PROBLEMS
    ],
)


def students(name, W):
    """The vectors u whose activations are summed."""
    return np.linalg.norm(W, axis=1)[:, None] * W if name == "norm" else W


@NAMES
def test_risk_is_half_the_mean_square_error(name):
    """Against a Monte Carlo of 4e5 samples and its standard error."""
    value = {"relu": lambda z: np.maximum(z, 0), "square": np.square}.get(name, np.abs)
    if name == "erf":
        value = PROBLEMS[name].pairs.activation
    x = np.random.default_rng(0).normal(size=(400_000, 3))
    error = np.asarray(value(x @ students(name, W).T)) @ A - np.asarray(value(x @ TEACHER.T)) @ B
    half = error**2 / 2
    assert_within_sem(half.mean(), half.std() / 400_000**0.5, float(PROBLEMS[name](W, A)))
    few = x[:5]
    residual = PROBLEMS[name].predict(W, few, A) - PROBLEMS[name].target(few)
    np.testing.assert_allclose(residual, error[:5], rtol=1e-10)


@NAMES
def test_gradients_are_differences_of_the_risk(name):
    """Both gradients against central differences, whose error is 1e-9 of the risk."""
    problem = PROBLEMS[name]
    size = float(problem(W, A))
    by_weights = finite_difference(lambda w: problem(w.reshape(4, 3), A), W.ravel())
    np.testing.assert_allclose(np.ravel(problem.gradient(W, A)), by_weights, atol=1e-8 * size)
    by_outputs = finite_difference(lambda a: problem(W, a), A)
    np.testing.assert_allclose(problem.output_gradient(W, A), by_outputs, atol=1e-8 * size)


@NAMES
def test_hessian_is_differences_of_the_gradient(name):
    """All entries against central differences of the gradient, and symmetric."""
    problem = PROBLEMS[name]
    hessian = np.asarray(problem.hessian(W, A))
    step = 1e-5
    columns = [
        (problem.gradient(W + e, A) - problem.gradient(W - e, A)).ravel() / (2 * step)
        for e in step * np.eye(12).reshape(12, 4, 3)
    ]
    size = np.abs(hessian).max()
    np.testing.assert_allclose(hessian, np.stack(columns, axis=1), atol=1e-8 * size)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-14 * size)


def test_hessian_of_coinciding_and_opposite_relu_neurons():
    """Off the diagonal it is I/2 at angle 0 and 0 at angle pi; it keeps Euler's relation."""
    problem = PROBLEMS["relu"]
    W = np.array([[0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 2.0, 1.0]])
    blocks = np.asarray(problem.hessian(W, A)).reshape(4, 3, 4, 3)
    np.testing.assert_allclose(blocks[0, :, 1], A[0] * A[1] * np.eye(3) / 2, atol=1e-15)
    np.testing.assert_allclose(blocks[0, :, 2], 0, atol=1e-15)
    # The gradient is piecewise linear in the length of all students: its slope is exact.
    slope = (problem.gradient(1.5 * W, A) - problem.gradient(W, A)) / 0.5
    np.testing.assert_allclose(np.tensordot(blocks, W, 2), slope, atol=1e-13)


@pytest.mark.parametrize("delta", [0.8, 0.1, 1e-3, 1e-6])
def test_two_symmetric_students(delta):
    """Claim 2 of zhou2021local, exactly: (delta sec^2 delta - tan delta) / pi (derived here)."""
    problem = TeacherStudent(np.array([[1.0, 0.0]]), pairs=abs_pairs, student="norm")
    W = np.array([[cos(delta), sin(delta)], [cos(delta), -sin(delta)]]) / (2 * cos(delta)) ** 0.5
    exact = (delta / cos(delta) ** 2 - tan(delta)) / pi
    # the sum of kernels of size 1 loses what is below 1e-15
    np.testing.assert_allclose(problem(W), exact, rtol=1e-12, atol=2e-15)
    # Turning both outwards costs (2/pi) delta tan delta: quadratic, and seen down to rounding.
    turned = np.stack([-W[:, 1], W[:, 0]], axis=1) * np.array([[1.0], [-1.0]])
    slope = np.sum(problem.gradient(W) * turned)
    np.testing.assert_allclose(slope, 2 / pi * delta * tan(delta), rtol=1e-12, atol=3e-16)


def test_global_minimum_has_the_closed_spectrum():
    """Safran, Yehudai, Shamir: n = k = d orthonormal; least eigenvalue 1/4 - 1/(2 pi)."""
    k = 4
    eigenvalues = np.linalg.eigvalsh(TeacherStudent(np.eye(k)).hessian(np.eye(k)))
    low, high = 1 / 4 - 1 / (2 * pi), 1 / 4 + 1 / (2 * pi)
    assert np.sum(np.abs(eigenvalues - low) < 1e-12) == k * (k - 1) // 2
    assert np.sum(np.abs(eigenvalues - high) < 1e-12) == k * (k - 3) // 2
    assert eigenvalues[0] == pytest.approx(low, rel=1e-12)


@pytest.mark.parametrize("name", ["relu", "norm"])
def test_zero_neurons_are_harmless(name):
    """A zero student weighs as much as one without output weight; its own gradient is finite."""
    problem = PROBLEMS[name]
    without, silent = W.copy(), A.copy()
    without[3] = silent[3] = 0
    np.testing.assert_allclose(problem(without, A), problem(W, silent), rtol=1e-13)
    gradient = problem.gradient(without, A)
    np.testing.assert_allclose(gradient[:3], problem.gradient(W, silent)[:3], atol=1e-13)
    assert np.all(np.isfinite(gradient))
    if name == "norm":
        assert not np.any(gradient[3])
    assert np.all(np.isfinite(problem.hessian(without, A)))


def test_reduction_is_a_rotation():
    """In the span of its neurons the problem has the same risk and the rotated gradient."""
    generator = np.random.default_rng(5)
    wide = TeacherStudent(generator.normal(size=(2, 9)), B, abs_pairs, "norm")
    W = generator.normal(size=(3, 9))
    problem, small, basis = wide.reduce(jnp.asarray(W))
    assert small.shape == (3, 5)
    np.testing.assert_allclose(small @ basis.T, W, atol=1e-13)
    np.testing.assert_allclose(problem(small), wide(W), rtol=1e-13)
    np.testing.assert_allclose(problem.gradient(small) @ basis.T, wide.gradient(W), atol=1e-12)
    assert problem.reduce(small).problem is problem


@pytest.mark.parametrize(
    ("teacher", "weights", "pairs", "message"),
    [
        (np.ones(3), None, relu_pairs, "shape"),
        (np.ones((0, 3)), None, relu_pairs, "shape"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), None, relu_pairs, "teacher 1"),
        (np.eye(2), np.array([1.0, 0.0]), relu_pairs, "teacher 1"),
        (np.eye(2), np.ones(3), relu_pairs, "output weight"),
        (np.array([[1.0, np.nan]]), None, relu_pairs, "finite"),
        (np.array([[1.0, 2.0], [2.0, 4.0]]), None, relu_pairs, "parallel"),
        (np.array([[1.0, 2.0], [-2.0, -4.0]]), None, abs_pairs, "parallel"),
        (np.array([[1.0, 2.0], [-2.0, -4.0]]), None, erf_pairs, "parallel"),
    ],
)
def test_bad_teachers(teacher, weights, pairs, message):
    """One sentence names what is wrong with the teacher."""
    with pytest.raises(ValueError, match=message):
        TeacherStudent(teacher, weights, pairs)


def test_bad_students():
    """Wrong shapes and an unknown parameterisation; opposite ReLU teachers are two teachers."""
    problem = TeacherStudent(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    with pytest.raises(ValueError, match="shape"):
        problem(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="output weights"):
        problem(jnp.ones((2, 2)), jnp.ones(3))
    with pytest.raises(ValueError, match="student"):
        TeacherStudent(np.eye(2), student="other")


def test_wide_students_are_pulled_block_by_block():
    """Three hundred students, more than a block: the same forces as from all pairs at once."""
    generator = np.random.default_rng(9)
    W, a = generator.normal(size=(300, 3)), generator.normal(size=300)
    problem = PROBLEMS["relu"]
    neurons, c = np.concatenate([W, TEACHER]), np.concatenate([a, -B])
    expected = problem.pairs.pull(W, neurons, jnp.asarray(a[:, None] * c))
    np.testing.assert_allclose(problem.gradient(W, a), expected, atol=1e-10)
