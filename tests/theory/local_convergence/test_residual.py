"""Closed forms of the absolute-value student against quadrature, sampling and long arithmetic."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate

from helpers import assert_within_sem, finite_difference
from twolayer.theory.local_convergence import (
    absolute_kernel,
    balanced_pair_loss,
    decompose_residual,
    exact_hessian,
    flatness_matrix,
    gradient,
    hermite_coefficient,
    least_flatness,
    least_flatness_of_pair,
    loss,
    match_neurons,
    sign_covariance,
)

ROUNDING = 1e-9  # of quadrature, far below any wrong factor


def planar_mean(function, *vectors):
    """``E function(x)`` for a function homogeneous of degree 2, x standard normal in the plane.

    ``E |x|^2 = 2``, and the angle is uniform; kinks lie where a vector's inner product vanishes.
    """
    kinks = sorted(
        (math.atan2(v[1], v[0]) + shift) % (2 * math.pi)
        for v in vectors
        for shift in (math.pi / 2, -math.pi / 2)
    )
    edges = [0.0, *kinks, 2 * math.pi]
    total = sum(
        integrate.quad(lambda t: function(np.array([math.cos(t), math.sin(t)])), low, high)[0]
        for low, high in itertools.pairwise(edges)
    )
    return total / math.pi


def around(teacher, sizes, spread, rng):
    """So many students for each teacher, of random signs, near it up to `spread`."""
    cluster = np.repeat(np.arange(len(teacher)), sizes)
    norms = np.linalg.norm(teacher, axis=1)
    W = teacher[cluster] / np.sqrt(norms * sizes)[cluster][:, None]
    W += spread * rng.normal(size=W.shape)
    return W * rng.choice([-1.0, 1.0], len(W))[:, None]


def long_loss(W, teacher):
    """The loss as a sum of kernels in extended precision, 19 digits on this processor."""
    W, teacher = np.asarray(W, np.longdouble), np.asarray(teacher, np.longdouble)
    vectors = np.concatenate([np.sqrt(np.sum(W**2, axis=1))[:, None] * W, teacher])
    norms = np.sqrt(np.sum(vectors**2, axis=1))
    units = vectors / norms[:, None]
    apart = np.sqrt(np.sum((units[:, None] - units[None]) ** 2, axis=2))
    together = np.sqrt(np.sum((units[:, None] + units[None]) ** 2, axis=2))
    theta = 2 * np.arctan2(apart, together)
    pi = 4 * np.arctan(np.longdouble(1))
    kernel = np.sin(theta) + (pi / 2 - theta) * np.cos(theta)
    signed = norms * np.where(np.arange(len(norms)) < len(W), 1, -1)
    return float(signed @ kernel @ signed / pi)


@pytest.mark.parametrize("angle", [0.0, 1e-3, 0.7, np.pi / 2, 2.0, np.pi])
def test_the_kernel_is_the_mean_product(angle):
    u, v = np.array([1.3, 0.0]), 0.7 * np.array([math.cos(angle), math.sin(angle)])
    exact = planar_mean(lambda x: abs(u @ x) * abs(v @ x), u, v)
    assert absolute_kernel(u[None], v[None])[0, 0] == pytest.approx(exact, rel=ROUNDING)


@pytest.mark.parametrize("angle", [1e-4, 0.4, np.pi / 2, 2.5, np.pi - 1e-4])
def test_the_sign_covariance_is_the_mean_product(angle):
    a, b = np.array([1.0, 0.0]), np.array([math.cos(angle), math.sin(angle)])
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    M = turn.T @ sign_covariance(turn @ [*a, 0.0], turn @ [*b, 0.0]) @ turn

    def exact(i, j):
        return planar_mean(lambda x: x[i] * x[j] * np.sign(a @ x) * np.sign(b @ x), a, b)

    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert M[i, j] == pytest.approx(exact(i, j), abs=ROUNDING)
    assert M[2, 2] == pytest.approx(1 - 2 * angle / np.pi, abs=ROUNDING)
    np.testing.assert_allclose(M[2, :2], 0, atol=ROUNDING)


def test_a_neuron_with_itself_has_the_identity():
    a = np.array([0.3, -0.4, 1.2])
    np.testing.assert_allclose(sign_covariance(a, a), np.eye(3), atol=1e-15)
    np.testing.assert_allclose(sign_covariance(a, -a), -np.eye(3), atol=1e-15)


@pytest.mark.parametrize("angle", [0.05, 0.5, 1.5, 2.8])
def test_least_flatness_of_two(angle):
    teacher = np.array([[1.0, 0, 0], [math.cos(angle), math.sin(angle), 0]])
    M = flatness_matrix(teacher)
    # eigenvalues of size 1 are right to 1e-15, whatever their size
    assert least_flatness(teacher) == pytest.approx(np.linalg.eigvalsh(M)[0], abs=1e-15)
    assert least_flatness(teacher) == pytest.approx(least_flatness_of_pair(angle), abs=2e-15)


def test_least_flatness_is_cubic_in_the_separation():
    ratios = [least_flatness_of_pair(t) / (t**3 / (3 * np.pi)) for t in (1e-6, 1e-3, np.pi - 1e-6)]
    np.testing.assert_allclose(ratios[:2], 1, rtol=1e-6)
    assert least_flatness_of_pair(np.pi - 1e-6) == pytest.approx(1e-18 / (3 * np.pi), rel=1e-5)


def test_parts_of_the_residual_against_sampling():
    """Flat, mixed and spiky second moments, of near and of far students."""
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(3, 4))
    W = np.concatenate([around(teacher, [2, 1, 2], 0.2, rng), rng.normal(size=(2, 4))])
    matching = match_neurons(W, teacher)
    x = rng.normal(size=(200_000, 4))
    signs = np.sign(x @ teacher.T)
    flat = np.sum((x @ matching.deviation.T) * signs, axis=1)
    residual = np.abs(x @ W.T) @ np.linalg.norm(W, axis=1) - np.sum(np.abs(x @ teacher.T), axis=1)
    spiky = residual - flat
    assert spiky.min() > -1e-12
    parts = decompose_residual(W, teacher)
    samples = np.stack([flat**2, flat * spiky, spiky**2], axis=1)
    assert_within_sem(
        samples.mean(axis=0),
        samples.std(axis=0) / math.sqrt(len(x)),
        [parts.flat, parts.cross, parts.spiky],
    )


@pytest.mark.parametrize("spread", [3e-4, 0.02, 0.15, 0.6, 3.0])
@pytest.mark.parametrize("separation", [0.1, 1.0])
def test_decomposed_loss_is_the_loss(spread, separation):
    """Near students, far students, mixtures of both, well separated and close teachers."""
    rng = np.random.default_rng(2)
    t = separation
    teacher = np.array([[1.0, 0, 0], [2 * np.cos(t), 2 * np.sin(t), 0], [0, 0.1, -0.8]])
    W = around(teacher, [3, 2, 1], spread, rng)
    W[-1] = rng.normal(size=3) * math.sqrt(spread)
    size = np.sum(W**2) ** 2
    assert decompose_residual(W, teacher).loss == pytest.approx(
        long_loss(W, teacher), rel=1e-11, abs=2e-15 * size
    )


@pytest.mark.parametrize("spread", [1e-5, 1e-4, 1e-3])
def test_small_losses_keep_their_digits(spread):
    """Against extended precision, which has four digits more than a sum of doubles."""
    rng = np.random.default_rng(3)
    teacher = np.array([[1.0, 0, 0], [0.5, 1.5, 0], [0, -0.4, 0.9]])
    W = around(teacher, [2, 3, 2], spread, rng)
    matching = match_neurons(W, teacher)  # averages onto teachers, so that the cubic part counts
    share = matching.mass / matching.cluster_mass[matching.cluster]
    u = np.sqrt(matching.mass)[:, None] * matching.aligned
    u -= share[:, None] * matching.deviation[matching.cluster]
    W = u / np.sqrt(np.linalg.norm(u, axis=1))[:, None]
    parts, exact = decompose_residual(W, teacher), long_loss(W, teacher)
    assert parts.spiky > 0.5 * exact
    error = abs(parts.loss - exact)
    assert error <= 1e-6 * exact + 3e-18, (parts, exact)


@pytest.mark.parametrize("delta", [1e-9, 1e-6, 1e-3, 0.5])
def test_the_loss_of_a_balanced_pair(delta):
    """Claim 2 with its constant; the leading term is right to the square of the angle."""
    W = np.array([[1.0, math.tan(delta)], [1.0, -math.tan(delta)]])
    W *= math.sqrt(math.cos(delta) / 2)
    predicted = balanced_pair_loss(delta)
    assert decompose_residual(W, [[1.0, 0.0]]).loss == pytest.approx(predicted, rel=1e-6)
    assert predicted == pytest.approx(2 * delta**3 / (3 * np.pi), rel=2 * delta**2 + 1e-9)
    # a teacher three times as long has students sqrt(3) times as long and a loss nine times as big
    longer = decompose_residual(math.sqrt(3) * W, [[3.0, 0.0]]).loss
    assert balanced_pair_loss(delta, norm=3.0) == pytest.approx(longer, rel=1e-6)
    if delta == 0.5:  # where a plain sum has all digits
        assert predicted == pytest.approx(loss(W, [[1.0, 0.0]]), rel=1e-13)


def test_thirty_decades_of_loss():
    """The loss of a balanced pair falls by 1000 for each decade of its angle, down to 1e-31."""
    values = [float(balanced_pair_loss(10.0**-k, norm=3.0)) for k in range(2, 11)]
    np.testing.assert_allclose(np.array(values[:-1]) / values[1:], 1000, rtol=1e-4)
    assert 1e-31 < values[-1] < 1e-29


def test_gradient_against_differences():
    rng = np.random.default_rng(4)
    teacher, W = rng.normal(size=(2, 3)), rng.normal(size=(4, 3))
    slope = finite_difference(lambda w: loss(w.reshape(4, 3), teacher), W.ravel())
    np.testing.assert_allclose(gradient(W, teacher).ravel(), slope, atol=1e-7 * np.abs(slope).max())


def test_gradient_at_the_edges():
    """Zero students, students on teachers, opposite and coinciding students."""
    teacher = np.eye(3)[:2]
    W = np.array([[0.0, 0, 0], [1, 0, 0], [0, -1, 0]])
    np.testing.assert_allclose(gradient(W, teacher), 0, atol=1e-15)
    W = np.array([[1.0, 1, 0], [-1, -1, 0], [1, 1, 0]])
    slope = gradient(W, teacher)
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(slope[0], -slope[1], rtol=1e-14)
    np.testing.assert_allclose(slope[0], slope[2], rtol=1e-14)


def test_hermite_coefficients():
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z = 6 * (nodes + 1)  # |z| is even: twice the integral over [0, 12]
    density = 2 * 6 * weights * np.exp(-(z**2) / 2) / math.sqrt(2 * np.pi)
    for degree in (0, 1, 2, 4, 6, 12):
        h = np.polynomial.hermite_e.HermiteE.basis(degree)(z) / math.sqrt(math.factorial(degree))
        exact = float(density @ (z * h)) if degree % 2 == 0 else 0.0
        assert hermite_coefficient(degree) == pytest.approx(exact, abs=1e-12)
    # Parseval: E z^2 = 1; the rest of a sum of terms ~ k^-3/2 / 2
    total = sum(hermite_coefficient(k) ** 2 for k in range(0, 4000, 2))
    assert 1 - 0.02 < total < 1


def test_the_hessian_of_an_exact_student():
    """Differences of the gradient at the minimum, where both sides of the kinks agree."""
    teacher = np.array([[1.0, 0.3, 0], [-0.5, 1.6, 0.2]])
    W = teacher / np.sqrt(np.linalg.norm(teacher, axis=1))[:, None]
    H, step = exact_hessian(teacher), 1e-6
    for k in range(6):
        shift = (step * np.eye(6)[k]).reshape(2, 3)
        column = (gradient(W + shift, teacher) - gradient(W - shift, teacher)) / (2 * step)
        # third derivatives jump by a number of order 1 there
        np.testing.assert_allclose(column.ravel(), H[:, k], atol=10 * step)
