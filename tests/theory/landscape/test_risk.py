"""Risk, gradient and Hessian of ReLU students against quadrature and finite differences."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from helpers import assert_within_sem, finite_difference
from twolayer.teacher_student import TeacherStudent
from twolayer.theory.landscape import (
    least_eigenvalue,
    relu_risk,
    relu_risk_gradient,
    relu_risk_hessian,
    split_neuron,
)

RNG = np.random.default_rng(20180615)


def risk_on_circle(W, V):
    """In two dimensions: E r^2 = 2 times the mean over the circle, by SciPy's quadrature."""

    def residual_square(t):
        x = np.array([math.cos(t), math.sin(t)])
        return (np.sum(np.maximum(W @ x, 0)) - np.sum(np.maximum(V @ x, 0))) ** 2

    whole = 2 * math.pi
    kinks = [(math.atan2(w[1], w[0]) + s * math.pi / 2) % whole for w in [*W, *V] for s in (-1, 1)]
    edges = sorted({0.0, whole, *kinks})
    pieces = [
        integrate.quad(residual_square, low, high, epsabs=1e-13)[0]
        for low, high in itertools.pairwise(edges)
    ]
    return math.fsum(pieces) / (2 * math.pi)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 3), (4, 2)])
def test_risk_is_an_integral_over_the_circle(n, k):
    W, V = RNG.normal(size=(n, 2)), RNG.normal(size=(k, 2))
    # quad is asked for 13 digits on each of at most 13 pieces
    assert relu_risk(W, V) == pytest.approx(risk_on_circle(W, V), rel=1e-11)


def test_risk_is_a_mean_over_inputs():
    W, V = RNG.normal(size=(4, 5)), RNG.normal(size=(3, 5))
    x = RNG.normal(size=(200_000, 5))
    residual = np.maximum(x @ W.T, 0).sum(1) - np.maximum(x @ V.T, 0).sum(1)
    sample = residual**2 / 2
    assert_within_sem(sample.mean(), sample.std() / math.sqrt(len(x)), relu_risk(W, V))


def test_gradient_and_hessian_are_derivatives():
    W, V = RNG.normal(size=(3, 4)), RNG.normal(size=(2, 4))
    gradient = finite_difference(lambda w: relu_risk(w.reshape(3, 4), V), W.ravel())
    # central differences with step 1e-5: error 1e-10 from the step, 1e-11 from rounding
    np.testing.assert_allclose(relu_risk_gradient(W, V).ravel(), gradient, atol=2e-9)

    def entry(i):
        return lambda w: relu_risk_gradient(w.reshape(3, 4), V).ravel()[i]

    rows = [finite_difference(entry(i), W.ravel()) for i in range(12)]
    np.testing.assert_allclose(relu_risk_hessian(W, V), rows, atol=2e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-17, 1e-12, 1e-9])
@pytest.mark.parametrize("sign", [1, -1])
def test_hessian_is_continuous_at_parallel_neurons(angle, sign):
    """Turning a neuron by a small angle moves the Hessian by about as much, not more."""
    W = np.array([[1.0, 0.2, 0.0], [0.3, -1.0, 0.5]])
    direction = np.array([-0.2, 1.0, 0.0])
    parallel = np.vstack([W, sign * 0.7 * W[:1]])
    turned = np.vstack([W, sign * 0.7 * (W[:1] + angle * direction)])
    at, near = (relu_risk_hessian(U, np.eye(3)) for U in (parallel, turned))
    np.testing.assert_allclose(near, at, atol=3 * angle + 1e-14)
    # two equal neurons in one direction share the block I/2; opposite ones don't see each other
    block = np.eye(3) / 2 if sign == 1 else np.zeros((3, 3))
    np.testing.assert_allclose(at[:3, 6:], block, atol=1e-15)


def test_hessian_of_a_split_is_a_derivative():
    V = RNG.normal(size=(2, 3))
    W = split_neuron(RNG.normal(size=(2, 3)), 1, share=0.3)

    def entry(i):
        return lambda w: relu_risk_gradient(w.reshape(3, 3), V).ravel()[i]

    rows = [finite_difference(entry(i), W.ravel(), step=1e-6) for i in range(9)]
    # the third derivative jumps where neurons are parallel: the error is of first order
    np.testing.assert_allclose(relu_risk_hessian(W, V), rows, atol=1e-6)


def test_hessian_takes_back_the_homogeneity():
    """L(tW) is a parabola in t, so W.H.W is twice its leading coefficient."""
    W, V = RNG.normal(size=(4, 3)), RNG.normal(size=(2, 3))
    values = [relu_risk(t * W, V) for t in (1e-9, 1.0, 2.0)]
    leading = (values[2] - 2 * values[1] + values[0]) / 2
    assert W.ravel() @ relu_risk_hessian(W, V) @ W.ravel() == pytest.approx(2 * leading, rel=1e-7)


def test_zero_neurons_have_a_gradient_but_no_hessian():
    W = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert relu_risk(W, np.eye(2)) == pytest.approx(relu_risk(W[1:], np.eye(2)), rel=1e-15)
    assert np.all(np.isfinite(relu_risk_gradient(W, np.eye(2))))
    with pytest.raises(ValueError, match="student without zero neurons"):
        relu_risk_hessian(W, np.eye(2))


def test_least_eigenvalue_is_the_least():
    W = RNG.normal(size=(3, 3))
    H = relu_risk_hessian(W, np.eye(3))
    least = least_eigenvalue(W, np.eye(3))
    quotients = [u @ H @ u / (u @ u) for u in RNG.normal(size=(200, 9))]
    assert least <= min(quotients)
    assert abs(np.linalg.det(H - least * np.eye(9))) < 1e-10


@pytest.mark.parametrize(
    ("W", "V", "sentence"),
    [
        (np.ones(3), np.eye(3), "one row for each neuron"),
        (np.eye(2), np.eye(3), "one row for each neuron"),
        (np.eye(2), np.array([[1.0, 0.0], [0.0, 0.0]]), "teacher without zero neurons"),
        (np.full((2, 2), np.nan), np.eye(2), "finite weights"),
        (np.zeros((0, 2)), np.eye(2), "one row for each neuron"),
    ],
)
def test_bad_weights_are_refused(W, V, sentence):
    for function in (relu_risk, relu_risk_gradient, relu_risk_hessian):
        with pytest.raises(ValueError, match=sentence):
            function(W, V)


def test_theory_and_training_share_the_risk():
    """The NumPy formulas of the theory and the pair kernels that descent uses, written apart."""
    W, V = RNG.normal(size=(3, 4)), RNG.normal(size=(2, 4))
    problem = TeacherStudent(V)
    assert float(problem(jnp.asarray(W))) == pytest.approx(relu_risk(W, V), rel=1e-13)
    gradient = np.asarray(problem.gradient(jnp.asarray(W)))
    np.testing.assert_allclose(gradient, relu_risk_gradient(W, V), atol=1e-14)
    hessian = np.asarray(problem.hessian(jnp.asarray(W)))
    np.testing.assert_allclose(hessian, relu_risk_hessian(W, V), atol=1e-14)
