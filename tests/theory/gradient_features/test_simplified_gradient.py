"""Simplified gradients: each closed form against sampling in NumPy, enumeration or quadrature."""

from fractions import Fraction
from itertools import product
from math import sqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from scipy.stats import norm

from helpers import assert_allclose, assert_within_sem
from twolayer.activations import relu
from twolayer.inputs import Gaussian, GaussianMixture, Hypercube, isotropic_mixture
from twolayer.networks import TwoLayerNetwork
from twolayer.sparse_coding import StructuredParity
from twolayer.targets import (
    MultiIndex,
    Parity,
    Polynomial,
    SingleIndex,
    halfspace,
    sign_product,
)
from twolayer.tasks import Classification, Dataset, Regression, xor_mixture
from twolayer.theory.gradient_features.parity_coefficients import (
    parity_coefficients,
    parity_cosine,
    parity_gradient_norm,
    threshold_coefficient,
)
from twolayer.theory.gradient_features.simplified_gradient import (
    dataset_gradient,
    sampled_gradient,
    simplified_gradient,
)

SAMPLES = 100_000
DIM, WIDTH = 8, 6


def neurons(seed=0, dim=DIM, spread=1.0):
    """Gaussian weights and thresholds of both signs."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((WIDTH, dim)), spread * rng.standard_normal(WIDTH)


def by_sampling(x, y, W, b):
    """Mean and standard error of ``y x 1(w.x > b)``, and of ``y^2 |x|^2 1(w.x > b)``."""
    seen = (x @ W.T > b).astype(float).T / len(x)
    terms = np.column_stack([y[:, None] * x, y**2 * np.sum(x**2, axis=1)])
    mean = seen @ terms
    return mean, np.sqrt((seen @ terms**2 - mean**2) / len(x))


def assert_same_moments(found, x, y, W, b):
    """Gradient and second moment within five standard errors of the sample's."""
    mean, error = by_sampling(x, y, W, b)
    assert_within_sem(mean[:, :-1], error[:, :-1] + found.error, found.value, z=5)
    assert_within_sem(mean[:, -1], error[:, -1], found.second_moment, z=5)


def mixture_samples(rng, proportions, means, covariances):
    """Samples of a mixture of Gaussians and their components, in NumPy."""
    c = rng.choice(len(proportions), SAMPLES, p=proportions)
    x = np.stack([
        rng.multivariate_normal(m, s, SAMPLES) for m, s in zip(means, covariances, strict=True)
    ])
    return x[c, np.arange(SAMPLES)], c


def test_xor_mixture_matches_samples():
    """Closed form of four clusters against samples drawn in NumPy."""
    rng = np.random.default_rng(1)
    first, second = np.eye(DIM)[0] * 2, np.eye(DIM)[1] * 3
    W, b = neurons()
    found = simplified_gradient(xor_mixture(first, second, 0.7), W, b)
    means = [first, -first, second, -second]
    x, c = mixture_samples(rng, np.full(4, 0.25), means, [0.49 * np.eye(DIM)] * 4)
    assert found.kind == "exact"
    assert_same_moments(found, x, np.where(c < 2, 1.0, -1.0), W, b)


def test_mixture_with_any_covariances_matches_samples():
    """Three components, full covariances, unequal shares, labels that are not signs."""
    rng = np.random.default_rng(2)
    roots = rng.standard_normal((3, DIM, DIM))
    covariances = roots @ np.swapaxes(roots, 1, 2) / DIM
    means, shares = rng.standard_normal((3, DIM)), np.array([0.2, 0.3, 0.5])
    labels = np.array([1.0, -1.0, 2.0])
    W, b = neurons(3)
    mixture = GaussianMixture.from_covariances(means, covariances, shares)
    found = simplified_gradient(Classification(mixture, labels), W, b)
    x, c = mixture_samples(rng, shares, means, covariances)
    assert_same_moments(found, x, labels[c], W, b)


def test_two_dimensional_mixture_by_quadrature():
    """One entry to nine digits by SciPy's adaptive rule over the plane."""
    w, b, mu, std = np.array([0.8, -0.5]), 0.3, np.array([0.4, 1.1]), 0.6

    def integrand(v, u):
        x = mu + std * np.array([u, v])
        return x[0] * norm.pdf(u) * norm.pdf(v) if w @ x > b else 0.0

    def edge(u):
        """Where v crosses the neuron's line."""
        return (b - w @ mu - std * w[0] * u) / (std * w[1])

    value = integrate.dblquad(integrand, -9, 9, -9, edge, epsabs=1e-9)[0]  # w_2 < 0: v below
    task = Classification(isotropic_mixture(mu[None], std), [1.0])
    assert_allclose(simplified_gradient(task, w[None], b).value[0, 0], value, loss=1e-1)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_products_of_signs_match_samples(degree):
    """``y = sign(z_1 ... z_k)`` of a Gaussian input, rotated, with label noise."""
    rng = np.random.default_rng(degree)
    directions = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0][:degree]
    W, b = neurons(degree)
    found = simplified_gradient(
        Regression(Gaussian(DIM), MultiIndex(directions, sign_product), 0.5), W, b
    )
    x = rng.standard_normal((SAMPLES, DIM))
    y = np.prod(np.sign(x @ directions.T), axis=1) + 0.5 * rng.standard_normal(SAMPLES)
    assert found.kind == "exact"
    assert np.max(found.error) < 1e-4
    assert_same_moments(found, x, y, W, b)


def test_polynomials_and_single_index_targets_match_samples():
    """Other functions of a few projections, one that is smooth and one with a scale."""
    rng = np.random.default_rng(5)
    W, b = neurons(5)
    x = rng.standard_normal((SAMPLES, DIM))
    found = simplified_gradient(Regression(Gaussian(DIM), Polynomial("z1 + z1*z2")), W, b)
    assert_same_moments(found, x, x[:, 0] + x[:, 0] * x[:, 1], W, b)
    direction = rng.standard_normal(DIM)
    found = simplified_gradient(Regression(Gaussian(DIM), SingleIndex(direction, relu)), W, b)
    assert_same_moments(found, x, np.maximum(x @ direction, 0), W, b)


def test_halfspace_points_at_its_direction():
    """At b = 0 the gradient is ``u / sqrt(2 pi)`` for every w, also one along or across u."""
    u = np.array([0.6, 0.8, 0.0])
    W = np.stack([[1.0, 2.0, 3.0], u, -u, [0.0, 0.0, 1.0]])
    found = simplified_gradient(Regression(Gaussian(3), halfspace(5 * u)), W)
    assert_allclose(found.value, np.tile(u / sqrt(2 * np.pi), (4, 1)), loss=1e-6)


@pytest.mark.parametrize("threshold", [-0.7, 0.0, 1.2])
def test_halfspace_formula_is_the_general_one(threshold):
    """Stein's identity against the quadrature over projections, near and far from alignment."""
    W, _ = neurons(6)
    W[0], W[1] = np.eye(DIM)[0] + 0.3 * W[0], 5 * W[1]
    closed = simplified_gradient(Regression(Gaussian(DIM), halfspace(np.eye(DIM)[0])), W, threshold)

    def link(z):
        return jnp.sign(z[0])

    general = simplified_gradient(
        Regression(Gaussian(DIM), MultiIndex(np.eye(DIM)[:1], link)), W, threshold
    )
    assert_allclose(closed.value, general.value, loss=1e-2)
    assert_allclose(closed.second_moment, general.second_moment, loss=1e-2)


def enumerated(dim, coordinates, w, b):
    """The gradient of a parity by exact rational sums over all corners."""
    total = [Fraction(0)] * dim
    for x in product((1, -1), repeat=dim):
        if sum(Fraction(str(v)) * s for v, s in zip(w, x, strict=True)) > b:
            y = np.prod([x[i] for i in coordinates])
            total = [t + int(y) * s for t, s in zip(total, x, strict=True)]
    return [t / 2**dim for t in total]


@pytest.mark.parametrize(("coordinates", "b"), [((0, 3), 0), ((1, 2, 4), 1), ((0, 1, 2, 3), 2)])
def test_parity_with_signs_as_weights_is_exact(coordinates, b):
    """Coefficients of thresholds against sums over all corners; also for scaled weights."""
    dim = 7
    w = np.array([1, -1, -1, 1, 1, -1, 1.0])
    expected = [float(v) for v in enumerated(dim, coordinates, w, b)]
    task = Regression(Hypercube(dim), Parity(coordinates))
    found = simplified_gradient(task, np.stack([w, 0.25 * w]), np.array([b, 0.25 * b]))
    assert_allclose(found.value, [expected, expected], loss=1e-6)
    assert found.kind == "exact"


def test_parity_with_other_weights_is_exact_in_few_dimensions():
    """Corner by corner, against rational sums; ties don't count as seen."""
    w = np.array([0.5, -1.5, 2.0, 1.0, -0.5, 1.0])
    expected = [float(v) for v in enumerated(6, (0, 2, 5), w, 1)]
    found = simplified_gradient(Regression(Hypercube(6), Parity((0, 2, 5))), w[None], 1.0)
    assert_allclose(found.value[0], expected, loss=1e-6)
    seen = np.mean([np.dot(w, x) > 1 for x in product((1, -1), repeat=6)])
    assert_allclose(found.second_moment[0], 6 * seen, loss=1e-6)


def test_parity_of_many_dimensions_matches_samples():
    """The central limit theorem over 57 coordinates of other sizes, within its 1/d."""
    rng = np.random.default_rng(8)
    W, b = rng.standard_normal((WIDTH, 60)), 4 * rng.standard_normal(WIDTH)
    found = simplified_gradient(Regression(Hypercube(60), Parity((0, 1))), W, b)
    x = rng.choice([-1.0, 1.0], (SAMPLES, 60))
    mean, error = by_sampling(x, x[:, 0] * x[:, 1], W, b)
    assert found.kind == "asymptotic"
    slack = 3 / 60 * found.norm[:, None] / sqrt(2)  # 3/d of an entry's size: a relative order 1/d
    assert np.all(np.abs(mean[:, :-1] - found.value) <= 5 * error[:, :-1] + slack)
    assert np.all(found.norm > 20 * slack[:, 0])


@pytest.mark.parametrize(("dim", "degree"), [(51, 2), (41, 4), (101, 6)])
def test_ratio_of_parity_coefficients(dim, degree):
    """Even degree, odd dimension: exactly ``-(k - 1) / (d - k)``, and the cosine it gives."""
    inside, outside = parity_coefficients(dim, degree)
    assert outside / inside == Fraction(-(degree - 1), dim - degree)
    expected = 1 / sqrt(1 + (degree - 1) ** 2 / (degree * (dim - degree)))
    assert_allclose(parity_cosine(dim, degree), expected, loss=1e-6)


def test_sizes_of_parity_gradients():
    """Lengths and entries that a separate program found, for odd degree at its best threshold."""
    for dim, degree, size in ((51, 2, 0.0798), (51, 4, 0.00235), (101, 6, 3.1e-5)):
        assert_allclose(parity_gradient_norm(dim, degree), size, loss=1e6)  # printed digits
    entries = [sqrt(3) * float(parity_coefficients(30, 3, b)[0]) for b in range(0, 12)]
    assert int(np.argmax(np.abs(entries))) in (4, 5)  # sums of 30 signs are even
    assert_allclose(abs(entries[5]), 0.0144, loss=1e6)
    assert_allclose(parity_cosine(30, 3, 5), 0.973, loss=1e5)
    with pytest.raises(ValueError, match="odd degree needs another"):
        parity_cosine(30, 3, 40)


def test_threshold_coefficients_by_brute_force():
    """Every order and threshold in five dimensions, from the definition."""
    corners = list(product((1, -1), repeat=5))
    for order in range(6):
        for threshold in (-6, -1, 0, 1, 2.5, 5):
            terms = [int(np.prod(x[:order])) for x in corners if sum(x) > threshold]
            assert threshold_coefficient(5, order, threshold) == Fraction(sum(terms), 32)


@pytest.mark.parametrize(("blocks", "size", "probability"), [(1, 5, 0.25), (3, 5, 0.1)])
def test_structured_parity_matches_samples(blocks, size, probability):
    """The central limit theorem over the background, in 80 dimensions and another basis."""
    rng = np.random.default_rng(9)
    dim = 80
    task = StructuredParity(
        np.linalg.qr(rng.standard_normal((dim, dim)))[0], blocks, size, probability, 0.1
    )
    W, b = neurons(9, dim, spread=2.0)
    found = simplified_gradient(task, W, b)
    x, y = (np.asarray(part) for part in task.sample(20_000, key=jax.random.key(9)))
    mean, error = by_sampling(x, y, W, b)
    gap = np.linalg.norm(mean[:, :-1] - found.value, axis=1)
    chance = np.linalg.norm(error[:, :-1], axis=1)
    assert np.all(gap <= 2 * chance + found.norm / dim)  # |noise| is its expectation +- 10 %
    assert np.all(chance < found.norm / 5)
    assert_within_sem(mean[:, -1], error[:, -1] + found.second_moment / dim, found.second_moment)


def test_structured_parity_without_background_is_exact():
    """Eight uniform patterns and two of the structure, summed by hand."""
    task = StructuredParity(jnp.eye(5), 1, 3, 0.1, 0.0)
    W, b = neurons(dim=5)
    found = simplified_gradient(task, W, b)
    patterns = [(p, 0.8 / 8) for p in product((1.0, -1.0), repeat=3)]
    patterns += [((s, s, s), 0.1) for s in (1.0, -1.0)]
    value, second = np.zeros_like(W), np.zeros(len(W))
    for p, share in patterns:
        x = np.asarray([*p, 0.0, 0.0])
        seen = x @ W.T > b
        value += share * np.prod(p) * seen[:, None] * x
        second += share * 3 * seen
    assert_allclose(found.value, value)
    assert_allclose(found.second_moment, second)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 2.0])
def test_second_moment_of_a_parity_is_that_of_what_a_neuron_sees(threshold):
    """``|x|^2`` is the dimension, at each of the corners beyond the threshold."""
    dim = 6
    corners = np.asarray(list(product((1.0, -1.0), repeat=dim)))
    W = np.where(np.arange(dim) % 2, 2.0, -2.0)[None]
    task = Regression(Hypercube(dim), Parity((0, 1)), 0.5)  # type: ignore[arg-type]
    found = simplified_gradient(task, W, 2 * threshold)
    share = np.mean(corners @ W[0] > 2 * threshold)
    assert_allclose(found.second_moment, [1.25 * dim * share])


def test_first_gradient_of_a_network_that_starts_at_zero():
    """``dL/dw_i = l'(0) a_i G(w_i, b_i)`` by automatic differentiation, biases minus thresholds."""
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal((40, 5)), np.sign(rng.standard_normal(40))
    W, b = rng.standard_normal((6, 5)), rng.standard_normal(6)
    W, b, a = np.tile(W, (2, 1)), np.tile(b, 2), np.repeat([0.7, -0.7], 6)

    def loss(W):
        network = TwoLayerNetwork(jnp.asarray(a), W, -jnp.asarray(b), relu, 1.0)
        return jnp.mean(jax.nn.softplus(-y * jax.vmap(network)(jnp.asarray(x))))

    gradient = jax.grad(loss)(jnp.asarray(W))
    found = simplified_gradient(Dataset(x, y), W, b)
    assert_allclose(gradient, -0.5 * a[:, None] * found.value, loss=10)  # single precision


def test_streamed_samples_agree_with_their_law():
    """Many blocks: the estimate within its own errors, which are of the right size."""
    task = xor_mixture(np.eye(DIM)[0] * 2, np.eye(DIM)[1] * 2)
    W, b = neurons(11)
    found = sampled_gradient(task, W, b, num_samples=SAMPLES - 77, key=jax.random.key(0))
    exact = simplified_gradient(task, W, b)
    assert found.kind == "estimate"
    assert_within_sem(found.value, found.error, exact.value, z=5)
    # The trace of the noise over n is the sum of squared standard errors: 48 entries, 128 blocks.
    total = np.sum(found.error**2)
    assert found.num_samples == SAMPLES - 77
    assert abs(total / (np.sum(exact.noise) / found.num_samples) - 1) < 0.15
    assert_allclose(found.second_moment, exact.second_moment, loss=2e6)


@pytest.mark.parametrize("count", [33, 1001])
def test_the_last_block_is_cut_to_the_samples_asked_for(count):
    """Each corner has ``|x|^2 = d``: the mean of what a neuron that sees all sees is d."""
    task = Regression(Hypercube(3), Parity((0,)))
    found = sampled_gradient(task, np.zeros((1, 3)), -1.0, num_samples=count, key=jax.random.key(1))
    assert_allclose(found.second_moment, [3.0])


def test_noise_is_the_trace_of_the_covariance():
    """Of the summands ``y x 1(w.x > b)`` over a data set."""
    generator = np.random.default_rng(8)
    x, y = generator.standard_normal((50, 3)) + 1, generator.choice([-1.0, 1.0], 50)
    W, b = neurons(dim=3)
    summands = (y[:, None] * (x @ W.T > b))[:, :, None] * x[:, None]
    expected = np.sum(np.var(summands, axis=0), axis=1)
    assert_allclose(dataset_gradient(x, y, W, b).noise, expected, loss=100)


def test_blocks_of_a_data_set_make_no_difference():
    """More rows than a block holds, the last block smaller, against one product in NumPy."""
    rng = np.random.default_rng(12)
    x, y = rng.standard_normal((5000, 3)), np.sign(rng.standard_normal(5000))
    W, b = neurons(12, 3)
    found = dataset_gradient(x, y, W, b)
    expected = ((x @ W.T > b) * y[:, None]).T @ x / 5000
    assert_allclose(found.value, expected.astype(np.float32))
    assert found.num_samples == 5000
    part = simplified_gradient(Dataset(x, y), W, b, num_samples=100)
    assert_allclose(part.value, dataset_gradient(x[:100], y[:100], W, b).value)


def test_weights_of_length_zero_see_all_or_nothing():
    """``1(0 > b)``: everything for a negative threshold, nothing else."""
    W, b = np.zeros((3, 2)), np.array([-1.0, 0.0, 1.0])
    mixture = Classification(isotropic_mixture(np.array([[1.0, 2.0]]), 0.5), [1.0])
    assert_allclose(simplified_gradient(mixture, W, b).value, [[1, 2], [0, 0], [0, 0]])
    u = Regression(Gaussian(2), halfspace(np.array([1.0, 0.0])))
    assert_allclose(
        simplified_gradient(u, W, b).value, [[sqrt(2 / np.pi), 0], [0, 0], [0, 0]], loss=1e-3
    )
    task = Regression(Gaussian(2), MultiIndex(np.eye(2), sign_product))
    assert np.max(np.abs(simplified_gradient(task, W, b).value)) < 1e-15


def test_bad_input_is_refused():
    """One sentence each: what was expected and what was received."""
    task = Regression(Gaussian(3), halfspace(np.eye(3)[0]))
    for W, b in (
        (np.ones(3), 0.0),
        (np.ones((2, 3)), np.ones(3)),
        (np.ones((2, 4)), 0.0),
        (np.full((2, 3), np.nan), 0.0),
        (np.ones((2, 3)), np.inf),
    ):
        with pytest.raises(ValueError, match=r"Expected .* Received"):
            simplified_gradient(task, W, b)
    without = Regression(Hypercube(3), Polynomial("z1"))
    with pytest.raises(ValueError, match="no closed form"):
        simplified_gradient(without, np.ones((1, 3)), num_samples=100)
    with pytest.raises(ValueError, match="at least 32 samples"):
        sampled_gradient(task, np.ones((1, 3)), num_samples=5, key=jax.random.key(0))
    with pytest.raises(ValueError, match="to the 4 given ones"):
        simplified_gradient(Dataset(np.ones((4, 3)), np.ones(4)), np.ones((1, 3)), num_samples=5)
    with pytest.raises(ValueError, match="finite samples"):
        dataset_gradient(np.full((2, 3), np.nan), np.ones(2), np.ones((1, 3)))
    with pytest.raises(ValueError, match="one label for each"):
        dataset_gradient(np.ones((2, 3)), np.ones(3), np.ones((1, 3)))
    with pytest.raises(ValueError, match="order from 0"):
        threshold_coefficient(3, 4)
    with pytest.raises(ValueError, match="finite threshold"):
        threshold_coefficient(3, 1, float("nan"))
    with pytest.raises(ValueError, match="degree from 1"):
        parity_coefficients(3, 0)
