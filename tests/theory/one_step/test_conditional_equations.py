"""The conditional equivalent's statistics and equations."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from conditional_problems import Problem, three
from helpers import gaussian_mean, numpy_value
from twolayer.activations import activation_of, relu, tanh
from twolayer.activations.hermite_equivalent import HermiteEquivalent
from twolayer.inputs import Gaussian, GaussianMixture, spiked_mixture
from twolayer.networks import TwoLayerNetwork
from twolayer.targets import SingleIndex
from twolayer.tasks import Classification, Regression
from twolayer.theory.one_step.conditional import conditional_equivalent
from twolayer.theory.one_step.conditional_fixed_point import solve
from twolayer.theory.one_step.conditional_statistics import (
    Features,
    Nodes,
    bulk_means,
    data_directions,
    feature_statistics,
    label_nodes,
    span_of,
)
from twolayer.theory.one_step.deterministic_equivalent import deterministic_equivalent

# Statistics ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relu", "abs", "tanh", "gelu", "(1+x)^3"])
def test_means_over_the_bulk_are_those_of_adaptive_quadrature(name):
    """E f, E z f and the rest at any shift and scale, against SciPy with the kink marked."""
    activation = activation_of(name)
    value = numpy_value(activation)
    for shift, scale in ((0.3, 1.0), (-2.5, 0.9), (7.0, 1.5), (-0.2, 3.0)):
        kink = float(np.clip(-shift / scale, -11, 11))

        def mean(power, moment, shift=shift, scale=scale, kink=kink):
            return gaussian_mean(
                lambda z: z**moment * value(shift + scale * z) ** power, breakpoints=[kink]
            )

        arrays = bulk_means(activation, np.array([shift]), np.array([scale]))
        found = [float(part[0]) for part in arrays]
        expected = [mean(1, 0), mean(1, 1), mean(2, 0) - mean(1, 0) ** 2 - mean(1, 1) ** 2]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_a_neuron_without_bulk_has_the_value_at_its_shift():
    """At scale 0 nothing varies."""
    mean, slope, rest = bulk_means(tanh, np.array([0.7, -0.3]), np.zeros(2))
    np.testing.assert_allclose(mean, np.tanh([0.7, -0.3]), rtol=1e-14)
    np.testing.assert_allclose([slope, rest], 0.0, atol=1e-15)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_nodes_have_the_moments_of_the_mixture(rank):
    """Mean and covariance of kappa are exact in every component, whatever the span's basis."""
    rng = np.random.default_rng(rank)
    dim = 12
    means = rng.standard_normal((2, dim))
    spikes = np.linalg.qr(rng.standard_normal((dim, dim)))[0][:2, None]
    inputs = GaussianMixture([0.3, 0.7], means, spikes, np.array([[4.0], [9.0]]))
    if rank == 1:
        inputs = GaussianMixture(
            [0.3, 0.7], means[:1] * [[1.0], [-2.0]], spikes[:, :0], np.zeros((2, 0))
        )
    if rank == 2:
        inputs = GaussianMixture([0.3, 0.7], 0 * means, spikes, np.array([[4.0], [-0.5]]))
    basis = span_of(np.vstack([data_directions(inputs), data_directions(inputs)[:1]]), dim)
    nodes = label_nodes(Classification(inputs, [1.0, -1.0]), basis, 40)
    assert nodes.kappa.shape[1] == {1: 1, 2: 2, 3: 4}[rank]
    for c, label in enumerate((1.0, -1.0)):
        mine = nodes.label == label
        weights = nodes.weights[mine]
        assert weights.sum() == pytest.approx(float(inputs.proportions[c]), abs=1e-6)
        centre = weights @ nodes.kappa[mine] / weights.sum()
        np.testing.assert_allclose(centre, np.asarray(inputs.means[c]) @ basis, atol=1e-6)
        apart = nodes.kappa[mine] - centre
        np.testing.assert_allclose(
            (apart.T * weights) @ apart / weights.sum(),
            basis.T @ np.asarray(inputs.covariances[c]) @ basis,
            atol=1e-5,
        )


def test_labels_at_the_nodes_have_their_moments():
    """ReLU of a Gaussian of variance xi Sigma xi: E y, E y^2 with noise, E y z across the span."""
    dim = 20
    rng = np.random.default_rng(0)
    xi, gamma = rng.standard_normal(dim) / 4, np.eye(dim)[0]
    inputs = spiked_mixture(jnp.asarray(gamma[None]), jnp.asarray(gamma[None]), 5.0)
    task = Regression(inputs, SingleIndex(xi, relu), 0.3)
    nodes = label_nodes(task, span_of([gamma, np.eye(dim)[1]], dim), 400)
    variance = xi @ xi + 5.0 * xi[0] ** 2
    assert nodes.weights @ nodes.label == pytest.approx(math.sqrt(variance / 2 / math.pi), rel=2e-3)
    assert nodes.weights @ nodes.label_power == pytest.approx(variance / 2 + 0.09, rel=2e-3)
    # E relu(u) z = cov(u, z) / 2, here with z along the teacher's part outside the span
    outside = math.sqrt(xi[2:] @ xi[2:])
    np.testing.assert_allclose(nodes.across[2:], xi[2:] / outside, rtol=1e-9)
    np.testing.assert_allclose(nodes.weights @ nodes.label_slope, outside / 2, rtol=2e-3)


def test_features_at_the_nodes_have_the_moments_of_the_network():
    """Over the nodes they are E s(u), E s(u)^2 and E s(u) y of each neuron (closed forms)."""
    dim, width = 60, 8
    rng = np.random.default_rng(1)
    W = rng.standard_normal((width, dim)) / math.sqrt(dim)
    W[0] = 3 * np.eye(dim)[0]  # no bulk at all
    bias = rng.standard_normal(width)
    xi = rng.standard_normal(dim) / math.sqrt(dim)
    network = TwoLayerNetwork(jnp.ones(width), jnp.asarray(W), jnp.asarray(bias), relu, 0.5)
    task = Regression(Gaussian(dim), SingleIndex(xi, activation_of("x")))
    basis = span_of([np.eye(dim)[0]], dim)
    nodes = label_nodes(task, basis, 48)
    found = feature_statistics(network, relu, basis, nodes)
    size = np.linalg.norm(W, axis=1)
    ratio = bias / size
    mean = bias * stats.norm.cdf(ratio) + size * stats.norm.pdf(ratio)
    power = (bias**2 + size**2) * stats.norm.cdf(ratio) + bias * size * stats.norm.pdf(ratio)
    # a Gauss rule meets the kink of the neuron without bulk: 1e-2 there, 1e-5 elsewhere
    rtol = np.array([3e-2] + [1e-4] * (width - 1))
    squares = found.mean**2 + found.slope**2 + found.rest
    cross = found.mean * nodes.label[:, None]
    cross += found.slope * found.teacher * nodes.label_slope[:, None]
    for values, expected in (
        (found.mean, mean / 2),
        (squares, power / 4),
        (cross, W @ xi * stats.norm.cdf(ratio) / 2),  # Stein: E s(u) y = E s' cov(u, y)
    ):
        assert np.all(np.abs(nodes.weights @ values - expected) < rtol * np.abs(expected) + 1e-6)


def test_hermite_equivalents_bring_their_noise():
    """Their rest has (h*)^2 more than their polynomial, in units of the network's scale."""
    problem = Problem((40, 10, 40), 0.5, 0.7)
    equivalent = HermiteEquivalent.of(relu, 2)
    basis = span_of(problem.directions, 40)
    nodes = label_nodes(problem.task, basis, 16)
    loud = feature_statistics(problem.network, equivalent, basis, nodes)
    silent = HermiteEquivalent(equivalent.coefficients, 0.0, 1.0)
    quiet = feature_statistics(problem.network, silent, basis, nodes)
    np.testing.assert_allclose(loud.rest - quiet.rest, float(equivalent.noise) ** 2 / 10, rtol=1e-9)
    np.testing.assert_array_equal(loud.mean, quiet.mean)


# Equations -------------------------------------------------------------------------------------


def random_case(q=7, k=9, seed=2):
    """Arbitrary consistent statistics."""
    rng = np.random.default_rng(seed)
    units = rng.standard_normal((k, 6))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    weights = rng.random(q)
    features = Features(
        rng.standard_normal((q, k)),
        rng.standard_normal((q, k)),
        rng.random((q, k)),
        units @ units.T,
        units[:, 0],
    )
    label, slope = rng.standard_normal(q), rng.standard_normal(q)
    power = label**2 + slope**2 + 0.5
    kappa = np.zeros((q, 1))
    nodes = Nodes(kappa, weights / weights.sum(), label, power, slope, np.eye(6)[0], 0.0)
    return features, nodes


def literal(features, nodes, m, ridge):
    """The equations as they are written, with every B_s in full and no shortcut."""
    q, k = features.mean.shape
    second = [
        np.outer(a, a) * features.overlaps + np.diag(e) + np.outer(mu, mu)
        for mu, a, e in zip(features.mean, features.slope, features.rest, strict=True)
    ]
    cross = [
        mu * y + a * features.teacher * dy
        for mu, a, y, dy in zip(
            features.mean, features.slope, nodes.label, nodes.label_slope, strict=True
        )
    ]
    h = np.full(q, 0.5)
    for _ in range(3000):
        Q = np.linalg.inv(
            ridge * np.eye(k)
            + sum(p * x * B for p, x, B in zip(nodes.weights, h, second, strict=True))
        )
        h = (h + 1 / (1 + np.array([np.trace(B @ Q) for B in second]) / m)) / 2
    fit = Q @ sum(p * x * c for p, x, c in zip(nodes.weights, h, cross, strict=True))
    bias = [
        y2 - 2 * fit @ c + fit @ B @ fit
        for y2, c, B in zip(nodes.label_power, cross, second, strict=True)
    ]
    K = [
        [
            p * x**2 * np.trace(B @ Q @ C @ Q) / m
            for p, x, C in zip(nodes.weights, h, second, strict=True)
        ]
        for B in second
    ]
    errors = np.linalg.solve(np.eye(q) - np.array(K), bias)
    objective = nodes.weights @ (
        h * [y2 - fit @ c for y2, c in zip(nodes.label_power, cross, strict=True)]
    )
    return nodes.weights @ errors, (nodes.weights * h**2) @ errors, objective


@pytest.mark.parametrize(("m", "ridge"), [(30, 0.1), (6, 0.5), (200, 1e-3)])
def test_solution_is_that_of_the_literal_equations(m, ridge):
    """No shortcut through low rank, symmetry or the Hadamard structure changes a digit."""
    features, nodes = random_case()
    found = solve(features, nodes, m, ridge)
    assert found.converged
    np.testing.assert_allclose(
        [found.test, found.train, found.objective], literal(features, nodes, m, ridge), rtol=1e-8
    )


def test_slope_of_the_objective_is_the_penalty():
    """d objective / d ridge = |w|^2 = (objective - train) / ridge: the envelope theorem."""
    features, nodes = random_case()
    for ridge in (0.03, 0.3):
        found, step = solve(features, nodes, 40, ridge), 1e-4 * ridge
        high, low = (solve(features, nodes, 40, ridge + s).objective for s in (step, -step))
        slope = (high - low) / (2 * step)
        assert slope == pytest.approx((found.objective - found.train) / ridge, rel=1e-5)


def test_one_node_is_the_plain_deterministic_equivalent():
    """Where the law does not depend on kappa, it is ridge regression with one covariance."""
    features, nodes = random_case(q=1)
    second = np.outer(features.slope[0], features.slope[0]) * features.overlaps
    second += np.diag(features.rest[0]) + np.outer(features.mean[0], features.mean[0])
    cross = features.mean[0] * nodes.label[0]
    cross = cross + features.slope[0] * features.teacher * nodes.label_slope[0]
    plain = deterministic_equivalent(
        second, cross, float(nodes.label_power[0]), num_samples=25, ridge=0.2
    )
    found = solve(features, nodes, 25, 0.2)
    np.testing.assert_allclose(
        [found.test / 2, found.train / 2, found.objective / 2], three(plain), rtol=1e-8
    )


def test_an_unfinished_iteration_says_so(monkeypatch):
    """A curve whose fixed point was not reached is marked as stopped, its assumption fails."""
    monkeypatch.setattr("twolayer.theory.one_step.conditional_fixed_point._ROUNDS", 2)
    problem = Problem((30, 10, 30), 0.5, 0.5)
    curves = conditional_equivalent(
        problem.network, problem.task, problem.directions, num_samples=30, ridge=1e-3, points=8
    )
    assert curves.test.status == "stopped"
    assert curves.test.assumptions[-1].holds is False
