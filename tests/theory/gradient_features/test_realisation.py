"""Induced networks realised by the neurons of a first layer, and how many there are of them."""

import math

import numpy as np
import pytest

from twolayer.theory.gradient_features.induced_networks import relu_network, values
from twolayer.theory.gradient_features.realisation import expected_hits, realise

OPTIMUM = relu_network(
    np.asarray([2.0, -1.0, 0.5]),
    np.asarray([[1.0, 0, 0], [-1, 0, 0], [0, 3.0, 4.0]]),  # the last is not of length 1
    np.asarray([0.5, -0.7, 2.0]),
)


def first_layer(width=4000, spread=0.2, seed=0):
    generator = np.random.default_rng(seed)
    centres = np.asarray([[1.0, 0, 0], [-1, 0, 0], [0, 0.6, 0.8]])
    W = centres[generator.integers(3, size=width)] + spread * generator.standard_normal((width, 3))
    W *= generator.lognormal(size=(width, 1))
    return relu_network(np.zeros(width), W, 0.8 * generator.choice([-1.0, 1.0], width))


def test_the_realised_network_stays_within_its_bounds():
    """At every input the two networks differ by at most distance |x|, and this by bound |x|."""
    x = np.random.default_rng(1).standard_normal((200, 3)) * 3
    realised = realise(OPTIMUM, first_layer(), gamma=0.05, tolerance=0.3)
    assert np.all(realised.hits > 5)
    gap = np.abs(values(realised.network, x) - values(OPTIMUM, x)) / np.linalg.norm(x, axis=1)
    assert np.max(gap) <= realised.distance <= realised.bound
    assert np.max(gap) > realised.distance / 10  # the bound is of the right order
    # |a_j| of unit neurons: 2 + 1 + 0.5 * 5
    assert abs(realised.bound - 5.5 * (math.sqrt(0.1) + 0.3)) < 1e-12
    a = np.asarray(realised.network.a)
    assert abs(realised.output_norm - np.linalg.norm(a)) < 1e-12


def test_exact_copies_are_realised_exactly():
    """Neurons that are multiples of those of the optimum give the same function."""
    scale = np.asarray([[3.0], [0.2], [0.7]])
    W, b = np.asarray(OPTIMUM.W) * scale, -np.asarray(OPTIMUM.b) * scale[:, 0]
    layer = relu_network(np.zeros(6), np.tile(W, (2, 1)), np.tile(b, 2))
    realised = realise(OPTIMUM, layer, gamma=0.01, tolerance=1e-9)
    x = np.random.default_rng(2).standard_normal((50, 3)) * 3
    np.testing.assert_allclose(values(realised.network, x), values(OPTIMUM, x), atol=1e-12)
    assert realised.hits.tolist() == [2, 2, 2]
    assert realised.distance < 1e-7  # a square root of the last digit


def test_shares_of_one_neuron_add_up():
    """A neuron that stands in for two of the optimum's carries both, and the norm says so."""
    twice = relu_network(np.ones(2), np.ones((2, 1)), np.asarray([1.0, 1.05]))
    layer = relu_network(np.zeros(1), np.ones((1, 1)), np.ones(1))
    realised = realise(twice, layer, gamma=0.1, tolerance=0.1)
    assert abs(realised.output_norm - 2.05) < 1e-12


def test_missing_stand_ins_make_the_bound_infinite():
    """Where a neuron has no stand-in, nothing is promised."""
    layer = relu_network(np.zeros(1), np.asarray([[1.0, 0, 0]]), np.asarray([0.5]))
    realised = realise(OPTIMUM, layer, gamma=0.1, tolerance=0.1)
    assert realised.hits.tolist() == [1, 0, 0]
    assert realised.bound == realised.distance == math.inf


def test_expected_hits_against_draws():
    """The number of stand-ins in random first layers of Algorithm 1, within its sampling error."""
    generator = np.random.default_rng(3)
    m, draws, rate, bias, kink, output_std, tolerance = 500, 200, 2.0, 0.6, 1.5, 0.8, 0.3
    norms = generator.uniform(0.2, 1.0, 1000)
    counts = []
    for _ in range(draws):
        a = output_std * generator.standard_normal(m)
        a = np.concatenate([a, -a, -a, a])
        norm = np.tile(generator.choice(norms, m), 4)  # of the gradient G(w, b), in the cone
        b = bias * np.repeat([1.0, -1, 1, -1], m)
        towards = np.tile(generator.choice([-1.0, 1.0], m), 4)  # sign <G, D>
        hit = generator.random(m) < 0.4  # whether the gradient lies in the cone at all
        rho = kink * rate * np.abs(a) * norm / bias
        near = (np.abs(rho - 1) <= tolerance) & (a * towards > 0) & (b > 0) & np.tile(hit, 4)
        counts.append(np.sum(near))
    expected = expected_hits(
        norms, width=4 * m, probability=0.4 / 2, kink=kink, bias=bias, rate=rate,
        output_std=output_std, tolerance=tolerance,
    )  # fmt: skip
    error = np.std(counts) / math.sqrt(draws)
    assert abs(np.mean(counts) - expected) < 4 * error
    assert error < expected / 20


def test_expected_hits_of_a_wide_window():
    """A tolerance above 1 leaves only kinks that are too far, as Monte Carlo counts them."""
    a = np.abs(np.random.default_rng(6).standard_normal(100_000))
    share = np.mean(np.abs(a * 0.7 - 1) <= 1.8)
    expected = expected_hits(
        np.asarray([0.7]), width=2, probability=1.0, kink=1.0, bias=1.0, rate=1.0,
        output_std=1.0, tolerance=1.8,
    )  # fmt: skip
    assert abs(share - expected) < 5 * math.sqrt(share * (1 - share) / len(a))


def neuron(dim, bias):
    return relu_network(np.ones(1), np.ones((1, dim)), np.asarray([bias]))


def test_bad_input():
    """Openings and sizes out of range, and networks without biases, are refused."""
    with pytest.raises(ValueError, match="gamma inside"):
        realise(OPTIMUM, first_layer(10), gamma=0.0, tolerance=0.1)
    with pytest.raises(ValueError, match="none of them 0"):
        realise(neuron(3, 0.0), OPTIMUM, gamma=0.1, tolerance=0)
    with pytest.raises(ValueError, match="3 coordinates"):
        realise(OPTIMUM, neuron(2, 1.0), gamma=0.1, tolerance=0)
    sizes = dict.fromkeys(("width", "kink", "bias", "rate", "output_std", "tolerance"), 1)
    with pytest.raises(ValueError, match="a probability"):
        expected_hits(np.ones(1), probability=1.5, **sizes)
    with pytest.raises(ValueError, match="lengths of gradients"):
        expected_hits(np.zeros(1), probability=0.5, **sizes)
