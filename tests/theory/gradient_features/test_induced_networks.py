"""The least hinge loss of induced networks, against its dual and against exhaustive search."""

import math

import numpy as np
import pytest

from helpers import assert_allclose
from twolayer.theory.gradient_features.hinge_programme import least_hinge
from twolayer.theory.gradient_features.induced_networks import (
    InducedNetworks,
    greedy_induced_networks,
    hinge_loss,
    optimal_induced_network,
    relu_network,
    values,
)


def problem(n=60, dim=3, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, dim))
    return x, np.where(x[:, 0] * x[:, 1] > 0, 1.0, -1.0)


@pytest.mark.parametrize(("bound", "norm"), [(0.7, math.inf), (math.inf, 1.3), (0.4, 1.0)])
def test_the_optimum_has_a_dual_certificate(bound, norm):
    """The dual value at the returned sample weights equals the loss: no weights do better."""
    x, y = problem()
    features = np.maximum(x @ np.random.default_rng(1).standard_normal((3, 12)), 0)
    a, loss, lower, weights = least_hinge(features, y, bound=bound, norm=norm)
    assert np.max(np.abs(a)) <= bound + 1e-9
    assert np.linalg.norm(a) <= norm * (1 + 1e-9)
    assert_allclose(loss, np.mean(np.maximum(1 - y * (features @ a), 0)), loss=1e-6)
    assert lower <= loss <= lower + 1e-5  # the programme's own gap
    assert np.all(weights >= -1e-12)
    assert np.all(weights <= 1 / len(y) + 1e-12)
    slope = features.T @ (weights * y)
    if math.isinf(norm):
        support = bound * np.sum(np.abs(slope))
    elif math.isinf(bound):
        support = norm * np.linalg.norm(slope)
    else:  # of the intersection: at most either, and attained at the solution
        support = slope @ a
    assert abs(np.sum(weights) - support - loss) < 1e-4  # tangents, not squares, to 1e-5 in loss


def test_bounds_matter():
    """A smaller ball has a larger loss, and a large box leaves the ball's solution alone."""
    x, y = problem()
    features = np.maximum(x @ np.random.default_rng(1).standard_normal((3, 12)), 0)
    losses = [least_hinge(features, y, norm=norm)[1] for norm in (0.5, 1.0, 2.0)]
    assert losses[0] > losses[1] + 0.05 > losses[2] + 0.1
    assert abs(least_hinge(features, y, norm=1.0, bound=1.0)[1] - losses[1]) < 1e-4


def test_one_neuron_by_exhaustive_search():
    """The first neuron of the greedy path is the best of all, found on a fine grid of weights."""
    x, y = problem()
    family = InducedNetworks(
        np.eye(3)[[0, 0, 1]], np.asarray([1.0, -1, 1]), 2.0, output_bound=3.0, num_biases=4
    )
    W, b = family.neurons
    columns = np.maximum(x @ W.T - b, 0)
    grid = np.linspace(-3, 3, 601)
    losses = np.mean(np.maximum(1 - y[:, None, None] * columns[:, :, None] * grid, 0), axis=0)
    path = greedy_induced_networks(family, x, y, max_neurons=3, trials=len(b))
    # the grid misses the best weight by at most 0.005 times the mean of the unit
    assert losses.min() - 0.005 * np.max(np.mean(columns, axis=0)) <= path[0].loss <= losses.min()
    assert len(path) == 3
    assert path[0].loss > path[1].loss > path[2].loss


def test_one_trial_takes_the_neuron_with_the_largest_slope():
    """At a = 0 the loss falls fastest along the neuron most correlated with the labels."""
    x, y = problem(40)
    family = InducedNetworks(np.eye(3), np.asarray([1.0, -1.0, -1.0]), 1.0, output_bound=2.0)
    W, b = family.neurons
    slopes = [abs(np.mean(y * np.maximum(x @ w - t, 0.0))) for w, t in zip(W, b, strict=True)]
    assert np.argmax(slopes) != np.argmax(np.maximum(x @ W.T - b, 0.0).mean(axis=0))
    path = greedy_induced_networks(family, x, y, max_neurons=1, trials=1)
    assert path[0].chosen.tolist() == [np.argmax(slopes)]


def test_greedy_is_between_the_optimum_and_nothing():
    """The path falls, stays above the optimum over all neurons, and has its networks' losses."""
    x, y = problem()
    family = InducedNetworks(np.eye(3)[[0, 0, 1, 1]], np.asarray([1, -1, 1, -1.0]), 1.0)
    path = greedy_induced_networks(family, x, y, max_neurons=6)
    losses = [step.loss for step in path]
    assert all(before > after for before, after in zip([1.0, *losses[:-1]], losses, strict=True))
    assert optimal_induced_network(family, x, y).loss <= losses[-1]
    for r, step in enumerate(path, 1):
        assert step.network.width == r == len(step.chosen)
        assert_allclose(step.loss, hinge_loss(step.network, x, y).mean, loss=1e-6)


def test_neurons_have_the_signs_of_their_features():
    """A feature with sign -1 gives neurons that subtract a negative bias, along both directions."""
    family = InducedNetworks(np.asarray([[0.0, 3.0]]), np.asarray([-1.0]), 2.0, num_biases=2)
    W, b = family.neurons
    assert_allclose(np.abs(W), [[0, 1]] * 4)
    assert sorted(zip(W[:, 1], b, strict=True)) == [(-1, -2), (-1, -1), (1, -2), (1, -1)]
    network = relu_network(np.ones(4), W, b)
    assert_allclose(values(network, np.zeros((1, 2))), [6.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"directions": np.zeros((1, 3))}, "positive length"),
        ({"directions": np.full((1, 3), np.nan)}, "finite directions"),
        ({"signs": np.ones(2)}, "one sign for each"),
        ({"signs": np.zeros(1)}, "signs 1 and -1"),
        ({"bias_bound": 0.0}, "positive bounds"),
        ({"output_bound": np.nan}, "positive bounds"),
        ({"num_biases": 0}, "at least one bias"),
    ],
)
def test_bad_families(change, message):
    """Directions of length 0, missing signs and bounds that are none are refused."""
    arguments = {"directions": np.eye(3)[:1], "signs": np.ones(1), "bias_bound": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        InducedNetworks(**arguments)


def test_weights_stand_for_copies():
    """Samples with weights have the optimum and the path of samples repeated."""
    x, y = problem(20)
    copies = np.random.default_rng(3).integers(1, 4, 20)
    family = InducedNetworks(np.eye(3)[:2], np.asarray([1.0, -1.0]), 1.0, output_bound=2.0)
    rows = np.repeat(np.arange(20), copies)
    weights = copies / copies.sum()
    known = optimal_induced_network(family, x[rows], y[rows]).loss
    assert_allclose(optimal_induced_network(family, x, y, weights=weights).loss, known, loss=1e-3)
    path = greedy_induced_networks(family, x, y, max_neurons=2, weights=weights)
    known = greedy_induced_networks(family, x[rows], y[rows], max_neurons=2)
    assert_allclose([s.loss for s in path], [s.loss for s in known], loss=1e-3)
    with pytest.raises(ValueError, match="of sum 1"):
        optimal_induced_network(family, x, y, weights=np.ones(20))


def test_bad_samples():
    """Labels other than 1 and -1, other dimensions and empty searches are refused."""
    family = InducedNetworks(np.eye(3)[:1], np.ones(1), 1.0)
    x, y = problem()
    for samples in ((x, 0 * y), (x * np.nan, y)):
        with pytest.raises(ValueError, match="labels 1 and -1"):
            optimal_induced_network(family, *samples)
    with pytest.raises(ValueError, match="inputs of 3 coordinates"):
        optimal_induced_network(family, x[:, :2], y)
    with pytest.raises(ValueError, match="at least one neuron"):
        greedy_induced_networks(family, x, y, max_neurons=0)
