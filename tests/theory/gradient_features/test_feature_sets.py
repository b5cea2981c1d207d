"""Feature sets, their probabilities, the cosine law and tickets."""

from math import asin, atan2, pi, sqrt

import jax
import numpy as np
import pytest
from scipy.stats import binom

from helpers import assert_allclose
from twolayer.inputs import Gaussian, Hypercube, isotropic_mixture
from twolayer.targets import MultiIndex, Parity, sign_product
from twolayer.tasks import Classification, Regression, xor_mixture
from twolayer.theory.gradient_features.feature_sets import (
    clopper_pearson,
    feature_set,
    hit_probability,
    signs_of,
)
from twolayer.theory.gradient_features.finite_sample import expected_cosine, samples_for_cosine
from twolayer.theory.gradient_features.hit_probabilities import (
    exclusive_hit_probability,
    planar_hit_probability,
    xor_hit_probability,
)
from twolayer.theory.gradient_features.simplified_gradient import (
    dataset_gradient,
    simplified_gradient,
)
from twolayer.theory.gradient_features.tickets import (
    longest_gradients,
    random_ticket,
    shortest_gradients,
    ticket_mask,
)


@pytest.mark.parametrize("hits", [0, 1, 7, 49, 50])
def test_clopper_pearson_inverts_binomial_tails(hits):
    """At either end of the interval what was seen is in a tail of 2.5 percent."""
    lower, upper = clopper_pearson(hits, 50)
    if hits:
        assert_allclose(binom.sf(hits - 1, 50, lower), 0.025)
    if hits < 50:
        assert_allclose(binom.cdf(hits, 50, upper), 0.025)
    assert (lower == 0) == (hits == 0)
    assert (upper == 1) == (hits == 50)


def brute_force(direction, sign, gradients, signs, gamma, least):
    """Hits counted one draw at a time, from the definition."""
    hits = 0
    for G, s in zip(gradients, signs, strict=True):
        length = sqrt(G @ G)
        along = abs(G @ direction) / sqrt(direction @ direction)
        hits += s == sign and length >= least and along > (1 - gamma) * length
    return hits / len(gradients)


def test_probabilities_by_brute_force():
    """Over a table of gamma and B_G, for both signs."""
    rng = np.random.default_rng(0)
    gradients, b = rng.standard_normal((300, 3)), rng.standard_normal(300)
    direction, gammas, norms = np.array([1.0, 2.0, -1.0]), np.array([0.02, 0.3]), np.array([0, 1.5])
    for sign in (1, -1):
        found = hit_probability(
            direction, sign, gradients, b, gamma=gammas[:, None], least_norm=norms[None]
        )
        expected = [
            [brute_force(direction, sign, gradients, np.sign(b), g, n) for n in norms]
            for g in gammas
        ]
        assert_allclose(found.value, expected)
        assert np.all((found.lower <= found.value) & (found.value <= found.upper))


def test_net_covers_planted_cones_and_nothing_else():
    """Three planted cones of known shares amid noise, one of them with the other sign."""
    rng = np.random.default_rng(1)
    dim, draws = 30, 6000
    planted = np.linalg.qr(rng.standard_normal((dim, 3)))[0].T
    kind = rng.choice(4, draws, p=[0.3, 0.2, 0.1, 0.4])
    gradients = rng.standard_normal((draws, dim))
    own = kind < 3
    flips = rng.choice([-1.0, 1.0], draws)[:, None]
    gradients[own] = (flips * planted[np.minimum(kind, 2)] + 0.02 * gradients)[own]
    b = np.where(kind == 1, -1.0, 1.0)
    found = feature_set(gradients, b, gamma=0.05, least_norm=0.0, least_probability=0.05)
    assert found.signs.tolist() == [1, -1, 1]
    cosines = np.abs(np.sum(found.directions * planted, axis=1))
    assert np.all(cosines > 0.999)
    assert np.all((found.lower <= [0.3, 0.2, 0.1]) & (found.upper >= [0.3, 0.2, 0.1]))
    assert found.num_draws == draws // 2
    short = feature_set(gradients, b, gamma=0.05, least_norm=1.5, least_probability=0.05)
    assert len(short) == 0  # planted ones are of length 1, noise is long but in no cone
    # Three of noise among 1800: in the cone of one of them there are no others.
    none = feature_set(gradients[~own], b[~own], gamma=0.05, least_norm=0, least_probability=0.01)
    assert len(none) == 0


def test_intervals_hold_jointly_and_decide_what_is_kept():
    """Two candidates share what may go wrong; a feature whose lower end is below p is left out."""
    gradients = np.eye(2)[np.arange(2000) % 10 // 7]  # shares of 0.7 and 0.3, in each half too
    options = {"gamma": 0.05, "least_norm": 0.0, "confidence": 0.9}
    found = feature_set(gradients, np.ones(2000), least_probability=0.25, **options)
    assert found.num_candidates == 2
    for k, hits in enumerate((700, 300)):
        # a tail of (1 - 0.9) / 2 candidates / 2 sides
        assert_allclose(binom.sf(hits - 1, 1000, found.lower[k]), 0.025)
        assert_allclose(binom.cdf(hits, 1000, found.upper[k]), 0.025)
    above = feature_set(gradients, np.ones(2000), least_probability=0.29, **options)
    assert above.num_candidates == 2
    assert_allclose(above.probability, [0.7])


def test_net_of_more_draws_than_candidates():
    """Some rows stand for all where there are many: the shares stay those of all draws."""
    rng = np.random.default_rng(2)
    gradients = np.eye(5)[rng.choice(5, 12_000)] + 0.01 * rng.standard_normal((12_000, 5))
    found = feature_set(
        gradients, np.ones(12_000), gamma=0.05, least_norm=0, least_probability=0.1, held_out=0.0
    )
    assert len(found) == 5
    assert found.num_draws == 12_000
    assert_allclose(found.probability.sum(), 1.0)


def test_probabilities_of_the_signs_add_up_to_at_most_one():
    """Without thresholds draws take either sign in turn; each has half of the chance."""
    gradients = np.tile([[1.0, 0.0]], (1000, 1))
    found = feature_set(gradients, np.zeros(1000), gamma=0.1, least_norm=0, least_probability=0.3)
    assert sorted(found.signs.tolist()) == [-1, 1]
    assert_allclose(found.probability, [0.5, 0.5])
    assert signs_of(np.zeros(4)).tolist() == [1, -1, 1, -1]


def test_features_of_a_uniform_parity():
    """Signs as weights: 2^k features counted with their signs, 2^-k each."""
    dim, rng = 51, np.random.default_rng(3)
    W = rng.choice([-1.0, 1.0], (8000, dim))
    found = simplified_gradient(Regression(Hypercube(dim), Parity((3, 7))), W)
    b = np.zeros(len(W))
    net = feature_set(found.value, b, gamma=0.05, least_norm=0.07, least_probability=0.2)
    assert len(net) == 4
    assert np.all((net.lower <= 0.25) & (net.upper >= 0.25))
    feature = np.zeros(dim)
    feature[[3, 7]] = 1
    assert np.max(np.abs(net.directions @ feature)) / sqrt(2) > 0.98
    assert len(feature_set(found.value, b, gamma=0.05, least_norm=0.09, least_probability=0.1)) == 0


def test_probability_of_means_of_an_xor_mixture():
    """The rule over the sphere against 60,000 independent gradients in full dimension."""
    dim, rng = 100, np.random.default_rng(4)
    first, second = 3 * np.eye(dim)[:2]
    W = rng.standard_normal((60_000, dim))
    gradients = simplified_gradient(xor_mixture(first, second), W).value
    for least in (0.0, 0.1):
        counted = [
            hit_probability(
                mean, sign, gradients, np.zeros(len(W)), gamma=0.05, least_norm=least
            ).value
            for mean in (first, second)
            for sign in (1, -1)
        ]
        predicted = xor_hit_probability(dim, 3.0, 1.0, gamma=0.05, least_norm=least)
        error = sqrt(4 * predicted * (1 - 4 * predicted) / len(W)) / 4  # exclusive events
        assert abs(np.mean(counted) - predicted) < 4 * error + 0.001 * predicted
    # Of short means the gradient is linear in them, and points anywhere in the plane.
    assert_allclose(
        xor_hit_probability(40_000, 1e-3, 1.0, gamma=0.05), planar_hit_probability(0.05), loss=2e5
    )


@pytest.mark.parametrize(("dim", "size"), [(3, 1.0), (4, 2.5), (6, 1.5)])
def test_probability_of_means_of_an_xor_mixture_in_few_dimensions(dim, size):
    """Where neither w's part in the plane nor the tilt towards w is small."""
    first, second = size * np.eye(dim)[:2]
    W = np.random.default_rng(dim).standard_normal((100_000, dim))
    gradients = simplified_gradient(xor_mixture(first, second, 0.8), W).value
    least = float(np.quantile(np.linalg.norm(gradients, axis=1), 0.1))
    along = np.abs(gradients[:, :2]) > 0.9 * np.linalg.norm(gradients, axis=1)[:, None]
    for norm in (0.0, least):
        hits = np.sum(along & (np.linalg.norm(gradients, axis=1) >= norm)[:, None], axis=1)
        error = np.std(hits) / sqrt(len(W)) / 4
        predicted = xor_hit_probability(dim, size, 0.8, gamma=0.1, least_norm=norm)
        assert abs(np.mean(hits) / 4 - predicted) < 4 * error + 0.001 * predicted


def test_exclusive_hits_count_the_other_clusters():
    """With three clusters: one is passed by the margin on its side, two are not."""
    z = np.random.default_rng(6).standard_normal((400_000, 3)) * 2.0  # w.mu_j over sqrt(d)
    for c, predicted in zip((0.5, 0.0), exclusive_hit_probability(0.6, 0.8, 2.0, 3), strict=True):
        one = (z[:, 0] > 0.6 + 0.8 * c) & np.all(z[:, 1:] < 0.6 - 0.8 * c, axis=1)
        share = np.mean(one) / 2  # one sign of the threshold
        assert abs(share - predicted) < 4 * sqrt(share / 2 / len(z))


def test_exclusive_hits_of_a_mixture():
    """Six clusters: the counted probability of each mean lies in the bracket."""
    dim, size, std, rng = 100, 10.0, 0.3, np.random.default_rng(5)
    task = Classification(isotropic_mixture(size * np.eye(dim)[:6], std), np.array([1.0, -1.0] * 3))
    W, b = rng.standard_normal((10_000, dim)), np.full(10_000, 14.0)
    gradients = simplified_gradient(task, W, b).value
    hits = [
        hit_probability(mean, 1, gradients, b, gamma=0.05, least_norm=0.8).value / 2  # one sign
        for mean in np.eye(dim)[:6]
    ]
    low, high = exclusive_hit_probability(1.4, std, size / sqrt(dim), 6)
    assert low < np.mean(hits) < high
    assert high / low < 1.6


def test_planar_probability_is_that_of_an_angle():
    """Directions evenly over half a turn: the share within the cone's angle of an axis."""
    angles = pi * (np.arange(20_000) + 0.5) / 20_000
    share = np.mean(np.abs(np.cos(angles)) > 0.95)
    assert_allclose(planar_hit_probability(0.05), share / 2, loss=1e5)
    assert_allclose(planar_hit_probability(0.05), asin(sqrt(1 - 0.95**2)) / pi)
    assert_allclose(planar_hit_probability(0.5), atan2(sqrt(3), 1) / pi)


def test_cosine_law_and_its_inverse():
    """Against planted noise of the stated size, and there and back again."""
    rng = np.random.default_rng(6)
    dim, n, noise = 400, 50, 30.0
    G = np.zeros(dim)
    G[0] = 0.8
    spread = sqrt(noise / dim / n)
    sampled = G + spread * rng.standard_normal((2000, dim))
    cosines = sampled[:, 0] / np.linalg.norm(sampled, axis=1)
    predicted = float(expected_cosine(0.8, noise, n))
    assert abs(cosines.mean() - predicted) < 4 * cosines.std() / sqrt(2000) + 1 / dim
    assert 0.6 < predicted < 0.75
    assert_allclose(samples_for_cosine(predicted, norm=0.8, noise=noise), n, loss=1e-3)
    # For a narrow cone, the samples that keep gradients inside: noise / (2 gamma B_G^2).
    assert_allclose(samples_for_cosine(1 - 1e-5, norm=0.1, noise=2.0), 1e7, loss=1e3)


@pytest.mark.parametrize(("n", "expected"), [(5000, 0.489), (20_000, 0.746)])
def test_cosine_law_of_a_uniform_parity(n, expected):
    """Samples of signs in NumPy, d = 101, k = 2: within 0.03 of the law."""
    dim, rng = 101, np.random.default_rng(n)
    W = rng.choice([-1.0, 1.0], (50, dim))
    exact = simplified_gradient(Regression(Hypercube(dim), Parity((0, 1))), W)
    law = expected_cosine(exact.norm, exact.noise, n)
    assert_allclose(law, np.full(50, expected), loss=1e5)
    found = []
    for _ in range(4):
        x = rng.choice([-1.0, 1.0], (n, dim)).astype(np.float32)
        sampled = dataset_gradient(x, x[:, 0] * x[:, 1], W)
        found.append(np.sum(sampled.value * exact.value, axis=1) / sampled.norm / exact.norm)
    assert abs(np.mean(found) - law[0]) < 0.03


def test_shuffled_labels_have_no_features():
    """The same sample has features with its labels, and none without."""
    dim, rng = 20, np.random.default_rng(7)
    task = xor_mixture(*(3 * np.eye(dim)[:2]))
    x, y = (np.asarray(part) for part in task.sample(8192, key=jax.random.key(7)))
    W = rng.standard_normal((2000, dim))
    settings = {"gamma": 0.05, "least_norm": 0.0, "least_probability": 0.01, "confidence": 0.9973}
    nets = [
        feature_set(dataset_gradient(x, labels, W).value, np.zeros(len(W)), **settings)
        for labels in (y, rng.permutation(y))
    ]
    assert len(nets[0]) >= 4
    assert len(nets[1]) == 0


def test_gradients_of_a_product_lie_in_its_plane():
    """What is outside, one minus the cosine with the plane, is ``1 / (8 d)`` on average."""
    dim, rng = 60, np.random.default_rng(8)
    W = rng.standard_normal((3000, dim))
    task = Regression(Gaussian(dim), MultiIndex(np.eye(dim)[:2], sign_product))
    found = simplified_gradient(task, W)
    outside = 1 - np.linalg.norm(found.value[:, :2], axis=1) / found.norm
    error = outside.std() / sqrt(len(W))
    assert abs(outside.mean() - 1 / (8 * dim)) < 4 * error + 5 / dim / (8 * dim)


def test_ticket_by_brute_force():
    """The mask from its definition; a threshold of 0 goes with either sign."""
    rng = np.random.default_rng(9)
    gradients, b = rng.standard_normal((200, 3)), rng.choice([-1.0, 0.0, 1.0], 200)
    directions, signs = rng.standard_normal((2, 3)), np.array([1, -1])
    mask = ticket_mask(gradients, b, directions, signs, gamma=0.2, least_norm=1.0)
    for G, threshold, chosen in zip(gradients, b, mask, strict=True):
        cosines = np.abs(directions @ G) / np.linalg.norm(directions, axis=1) / np.linalg.norm(G)
        allowed = threshold * signs >= 0
        assert chosen == (np.any((cosines > 0.8) & allowed) and np.linalg.norm(G) >= 1.0)
    assert 5 < mask.sum() < 100


def test_tickets_of_a_given_size():
    """Longest and shortest are disjoint halves; a random one has the right size."""
    gradients = np.random.default_rng(10).standard_normal((40, 3))
    winners, losers = longest_gradients(gradients, 20), shortest_gradients(gradients, 20)
    assert np.array_equal(winners, ~losers)
    norms = np.linalg.norm(gradients, axis=1)
    assert norms[winners].min() > norms[losers].max()
    assert random_ticket(40, 7, key=jax.random.key(0)).sum() == 7
    with pytest.raises(ValueError, match="1 to 40 neurons"):
        longest_gradients(gradients, 41)


def test_bad_input_is_refused():
    """One sentence each: what was expected and what was received."""
    good = np.ones((4, 2)), np.ones(4)
    settings = {"gamma": 0.1, "least_norm": 0.0, "least_probability": 0.1}
    for change in (
        {"gamma": 0.0}, {"gamma": 1.0}, {"least_norm": -1.0}, {"least_norm": float("nan")},
        {"least_probability": 1.0}, {"confidence": 1.0}, {"held_out": 1.0}, {"held_out": 0.1},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"Expected .* Received"):
            feature_set(*good, **(settings | change))
    for gradients, b in (
        (np.ones(3), np.ones(3)),
        (np.ones((4, 2)), np.ones(3)),
        (good[0] * np.nan, good[1]),
    ):
        with pytest.raises(ValueError, match=r"Expected .* Received"):
            feature_set(gradients, b, **settings)
    for direction, sign in ((np.zeros(2), 1), (np.ones(3), 1), (np.ones(2), 2)):
        with pytest.raises(ValueError, match="Expected a direction"):
            hit_probability(direction, sign, *good, gamma=0.1, least_norm=0.0)
    for least in np.array([[-1.0, 0.0], [np.nan, 1.0], [0.0, np.inf]]):
        with pytest.raises(ValueError, match="least norms from 0 on"):
            hit_probability(np.ones(2), 1, *good, gamma=0.1, least_norm=least)
    with pytest.raises(ValueError, match="hits from 0"):
        clopper_pearson(5, 4)
    with pytest.raises(ValueError, match="gradients that are not 0"):
        expected_cosine(0.0, 1.0, 10)
    with pytest.raises(ValueError, match="between 0 and 1"):
        samples_for_cosine(1.0, norm=1.0, noise=1.0)
    with pytest.raises(ValueError, match="positive length"):
        samples_for_cosine(0.5, norm=0.0, noise=1.0)
    with pytest.raises(ValueError, match="positive numbers"):
        exclusive_hit_probability(0.0, 1.0, 1.0, 3)
    with pytest.raises(ValueError, match="at least 3 dimensions"):
        xor_hit_probability(2, 1.0, 1.0, gamma=0.1)
    with pytest.raises(ValueError, match="gamma inside"):
        planar_hit_probability(1.0)
    with pytest.raises(ValueError, match="features that are not 0"):
        ticket_mask(*good, np.zeros((1, 2)), np.ones(1), gamma=0.1)
    with pytest.raises(ValueError, match="sign each"):
        ticket_mask(*good, np.ones((1, 3)), np.ones(1), gamma=0.1)
