"""Networks of gradient features by hand: zero loss on parities, bounded loss on mixtures."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from helpers import gaussian_mean
from twolayer.inputs import GaussianMixture, isotropic_mixture
from twolayer.tasks import Classification, xor_mixture
from twolayer.theory.gradient_features.constructions import (
    halfspace_hinge,
    halfspace_network,
    mixture_hinge_bound,
    mixture_network,
    parity_network,
)
from twolayer.theory.gradient_features.induced_networks import hinge_loss, values


def structured_parities(dictionary, r, k, generator, num_samples=1500):
    """Samples of the model in NumPy: structured with probability 0.4, background 0.1."""
    d = len(dictionary)
    phi = generator.choice([-1.0, 0.0, 1.0], (num_samples, d), p=[0.1, 0.8, 0.1])
    phi[:, : r * k] = generator.choice([-1.0, 1.0], (num_samples, r * k))
    for i in np.flatnonzero(generator.random(num_samples) < 0.4):
        block, sign = generator.integers(r), generator.choice([-1.0, 1.0])
        phi[i, : r * k] = np.repeat(sign * (np.arange(r) == block), k)
    y = np.sign(np.sum(np.prod(phi[:, : r * k].reshape(-1, r, k), axis=2), axis=1))
    return phi @ dictionary.T, y


def draw(task, num_samples, generator):
    """Samples of a mixture in NumPy."""
    inputs = task.inputs
    component = generator.choice(len(inputs.proportions), num_samples, p=inputs.proportions)
    x = np.empty((num_samples, inputs.dim))
    for c, (mean, covariance) in enumerate(zip(inputs.means, inputs.covariances, strict=True)):
        own = component == c
        x[own] = generator.multivariate_normal(np.asarray(mean), np.asarray(covariance), own.sum())
    return x, np.asarray(task.labels)[component]


@pytest.mark.parametrize(("k", "r"), [(5, 3), (7, 1), (9, 5)])
def test_parity_networks_have_no_loss(k, r):
    """Sums of units alone give structured parities: hinge loss 0, with the stated sizes."""
    generator = np.random.default_rng(k)
    dictionary = np.linalg.qr(generator.standard_normal((60, 60)))[0]
    features = dictionary[:, : r * k].reshape(60, r, k).sum(axis=2).T / math.sqrt(k)
    network = parity_network(features, k)
    x, y = structured_parities(dictionary, r, k, generator)
    assert float(hinge_loss(network, x, y).mean) < 1e-9
    assert network.width == 3 * r * (k + 1)
    root = math.sqrt(k)
    a, b = np.asarray(network.a), -np.asarray(network.b)
    assert np.max(np.abs(a)) <= 4 * root + 1e-12
    assert abs(np.min(np.abs(b)) - 1 / (2 * root)) < 1e-12
    assert abs(np.max(np.abs(b)) - (k + 0.5) / root) < 1e-12
    assert {*np.sign(b)} == {-1.0, 1.0}
    # a network of the wrong block size is no better than none
    assert float(hinge_loss(parity_network(features, k - 2), x, y).mean) > 0.1


def test_parity_of_all_corners():
    """At every corner of the cube the network is the product of its signs, also for even k."""
    for k in (3, 4):
        x = 1.0 - 2.0 * (np.arange(2**k)[:, None] >> np.arange(k) & 1)
        network = parity_network(np.ones((1, k)) / math.sqrt(k), k)
        np.testing.assert_allclose(values(network, x), np.prod(x, axis=1), atol=1e-12)


@pytest.mark.parametrize(("std", "known", "measured"), [(2.0, 0.048, 0.040), (3.0, 0.255, 0.131)])
def test_mixture_bound_is_above_the_loss(std, known, measured):
    """Six orthogonal clusters: the sampled loss is below the bound, and this below its first form.

    The two numbers are those of an independent program.
    """
    task = Classification(
        isotropic_mixture(10 * jnp.eye(6), std), jnp.asarray([1.0, -1, 1, -1, 1, -1])
    )
    x, y = draw(task, 20_000, np.random.default_rng(0))
    mean, error = hinge_loss(mixture_network(task), x, y)
    bound = mixture_hinge_bound(task)
    assert mean - 4 * error < bound < known + 0.0005
    assert abs(mean - measured) < 4 * error + 0.0005


def test_mixture_bound_is_tight_for_narrow_clusters():
    """Two clusters on one line: within 10 % of the loss by quadrature where they are narrow."""
    means = np.asarray([[4.0, 3.0], [-4.0, -3.0]])

    def excess(std):
        task = Classification(isotropic_mixture(jnp.asarray(means), std), jnp.asarray([1.0, -1.0]))
        network = mixture_network(task)

        def hinge(g):
            x = means[:1] * (1 + std * g / 5)
            return max(1 - values(network, x)[0], 0.0)

        kinks = [-2.5 / std, -1.25 / std, -7.5 / std]
        return mixture_hinge_bound(task) / gaussian_mean(hinge, breakpoints=kinks)

    assert 1 < excess(0.8) < 1.1 < excess(2.0)


def test_mixture_bound_of_unequal_clusters():
    """Other covariances, lengths and shares: the sampled loss stays below."""
    generator = np.random.default_rng(5)
    roots = generator.standard_normal((3, 4, 4)) / 2
    means = 4 * generator.standard_normal((3, 4))
    inputs = GaussianMixture.from_covariances(
        means, roots @ np.swapaxes(roots, 1, 2), [0.5, 0.3, 0.2]
    )
    task = Classification(inputs, jnp.asarray([1.0, -1.0, 1.0]))
    x, y = draw(task, 20_000, generator)
    mean, error = hinge_loss(mixture_network(task), x, y)
    assert 0 < mean - 4 * error < mixture_hinge_bound(task)


def test_mixture_bound_of_uneven_clusters():
    """Lengths, shares and covariances all different: both parts integrated one by one."""
    means = np.asarray([[3.0, 0, 0], [1.0, 2.0, 0], [0, 0.5, -1.5]])
    labels, shares = np.asarray([1.0, -1.0, 1.0]), np.asarray([0.5, 0.3, 0.2])
    variances = np.asarray([[0.5, 0.2, 1.0], [0.1, 0.9, 0.4], [1.5, 0.3, 0.6]])
    mixture = GaussianMixture.from_covariances(means, np.stack([*map(np.diag, variances)]), shares)
    total = 0.0
    for j in range(3):
        for i in range(3):
            length = np.linalg.norm(means[i])
            u = means[i] / length
            middle, std = u @ means[j] - length / 2, math.sqrt(u**2 @ variances[j])
            if i == j:  # (1 - 4 / |mu| * argument)_+, its argument not cut off at 0
                part, kink = (
                    lambda g, m=middle, s=std, n=length: max(1 - 4 / n * (m + s * g), 0.0),
                    (length / 4 - middle) / std,
                )
            elif labels[i] != labels[j]:
                part, kink = (
                    lambda g, m=middle, s=std, n=length: 4 / n * max(m + s * g, 0.0),
                    -middle / std,
                )
            else:
                continue
            total += shares[j] * gaussian_mean(part, breakpoints=[kink])
    assert abs(mixture_hinge_bound(Classification(mixture, labels)) - total) < 1e-5


def test_mixture_bound_of_flat_clusters():
    """Clusters without spread along a direction: the bound is the limit of small spreads."""
    means = np.asarray([[4.0, 0, 0], [2.5, 3.0, 0]])

    def bound(least):
        covariances = np.stack([np.diag([least**2, 1.0, 1.0]), least**2 * np.eye(3)])
        mixture = GaussianMixture.from_covariances(means, covariances, [0.5, 0.5])
        return mixture_hinge_bound(Classification(mixture, [1.0, -1.0]))

    # by hand: D_1.mu_2 = 2.5 is 0.5 above 4 / 2; the other way the first cluster has a spread
    u, length = np.asarray([2.5, 3.0]) / math.hypot(2.5, 3.0), math.hypot(2.5, 3.0)
    wrong = gaussian_mean(
        lambda g: max(4 * u[0] + abs(u[1]) * g - length / 2, 0.0),
        breakpoints=[(length / 2 - 4 * u[0]) / u[1]],
    )
    assert abs(bound(0.0) - (4 / 4 * 0.5 + 4 / length * wrong) / 2) < 1e-6
    assert abs(bound(0.0) - bound(0.03)) < 0.01


def test_halfspace():
    """The ramp's loss is the Gaussian mean of (1 - R |g|)_+, below 1 / (R sqrt(2 pi))."""
    for slope in (0.5, 3.0):
        exact = gaussian_mean(
            lambda g, R=slope: max(1 - R * abs(g), 0.0), breakpoints=[-1 / slope, 0, 1 / slope]
        )
        assert abs(halfspace_hinge(slope) - exact) < 1e-10
        assert halfspace_hinge(slope) < 1 / (slope * math.sqrt(2 * math.pi))
    network = halfspace_network(np.asarray([3.0, 4.0]), 2.0)
    np.testing.assert_allclose(values(network, np.asarray([[1.0, -2.0]])), [-2.0])


def test_bad_input():
    """No unit vectors, clusters at the origin and labels of no class are refused."""
    with pytest.raises(ValueError, match="unit vectors"):
        parity_network(np.ones((1, 3)), 3)
    with pytest.raises(ValueError, match="at least one unit"):
        parity_network(np.eye(3)[:1], 0)
    origin = Classification(isotropic_mixture(jnp.zeros((2, 2)), 1.0), jnp.asarray([1.0, -1.0]))
    with pytest.raises(ValueError, match="away from the origin"):
        mixture_network(origin)
    three = Classification(xor_mixture(np.eye(2)[0], np.eye(2)[1]).inputs, jnp.arange(4.0))
    with pytest.raises(ValueError, match="labels 1 and -1"):
        mixture_hinge_bound(three)
    with pytest.raises(ValueError, match="not zero"):
        halfspace_network(np.zeros(2), 1.0)
    for slope in (0.0, -1.0):
        with pytest.raises(ValueError, match="positive slope"):
            halfspace_hinge(slope)
