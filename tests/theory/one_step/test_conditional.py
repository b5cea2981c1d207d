"""The conditional equivalent: Monte Carlo on the same W, and what it refuses."""

import math

import numpy as np
import pytest

from conditional_problems import MaximalStep, Problem, agree, three
from twolayer.activations import relu, tanh
from twolayer.activations.hermite_equivalent import HermiteEquivalent
from twolayer.inputs import Gaussian, GaussianMixture
from twolayer.targets import Polynomial
from twolayer.tasks import Classification, Dataset, Regression
from twolayer.theory.one_step.conditional import conditional_equivalent
from twolayer.theory.one_step.conditional_fixed_point import solve
from twolayer.theory.one_step.conditional_statistics import (
    Features,
    data_directions,
    feature_statistics,
    label_nodes,
    span_of,
)
from twolayer.theory.one_step.deterministic_equivalent import deterministic_equivalent

# Monte Carlo on the same first layer -----------------------------------------------------------

SMALL = {
    "regression, .74, .5": ((140, 80, 140), 0.5, 0.74, "relu", {}),
    "regression, 1, 0": ((140, 80, 140), 0.0, 1.0, "relu", {}),
    "regression, tanh, 1, 1": ((140, 80, 140), 1.0, 1.0, "tanh", {}),
    "classes, .74, 0": ((140, 80, 140), 0.0, 0.74, "relu", {"classes": True}),
    "classes with means": ((140, 80, 140), 0.5, 0.6, "relu", {"classes": True, "mean": 1.5}),
}


@pytest.mark.parametrize("case", SMALL)
def test_errors_are_those_of_monte_carlo_on_the_same_first_layer(case):
    """Test, train and objective over training sets at fixed W; a doubled slope would be off."""
    size, alpha, beta, name, more = SMALL[case]
    problem = Problem(size, alpha, beta, name, **more)
    mean, sem = problem.monte_carlo(size[2], 1e-3, 30)
    curves = conditional_equivalent(
        problem.network, problem.task, problem.directions, num_samples=size[2], ridge=1e-3,
        points=80,
    )  # fmt: skip
    assert np.all(agree(three(curves), mean, sem)), (three(curves), mean, sem)
    basis = span_of(problem.directions, size[0])
    nodes = label_nodes(problem.task, basis, 80)
    kept = feature_statistics(problem.network, problem.network.activation, basis, nodes)
    wrong = Features(kept.mean, 2 * kept.slope, kept.rest, kept.overlaps, kept.teacher)
    off = solve(wrong, nodes, size[2], 1e-3)
    assert not np.all(agree(np.array([off.test, off.train, off.objective]) / 2, mean, sem))


@pytest.mark.parametrize("degree", [1, 3])
def test_hermite_models_have_their_own_curve(degree):
    """Theorem 4's model sampled with its noise; of degree 1 it differs from the network."""
    size = (120, 60, 120)
    problem = Problem(size, 0.0, 0.74)
    theta = float(problem.theta)
    equivalent = HermiteEquivalent.of(relu, degree, scale=math.sqrt(120 / (120 + theta)))
    mean, sem = problem.monte_carlo(120, 1e-3, 30, equivalent=equivalent)
    both = [
        three(conditional_equivalent(
            problem.network, problem.task, problem.directions, num_samples=120, ridge=1e-3,
            activation=activation, points=128,
        ))
        for activation in (equivalent, None)
    ]  # fmt: skip
    assert np.all(agree(both[0], mean, sem)), (both, mean, sem)
    if degree == 1:
        assert both[0][0] > 1.3 * both[1][0]


def test_training_error_at_the_maximal_rate_needs_the_dependence_on_kappa():
    """One covariance for all samples gets the test error, but not the training error."""
    dim = 150
    step = MaximalStep("tanh", "sin", dim, 3.0, 20.0)
    ridge = 0.1 / dim
    mean, sem = step.monte_carlo(dim, ridge, 80)
    network, task, directions = step.parts()
    found = three(conditional_equivalent(network, task, directions, num_samples=dim, ridge=ridge))
    assert np.all(
        np.abs(found - mean) < np.maximum(3 * sem, [0.03 * mean[0], 0.15 * mean[1], 0.07 * mean[2]])
    )
    basis = span_of(directions, dim)
    nodes = label_nodes(task, basis, 48)
    f = feature_statistics(network, tanh, basis, nodes)
    p = nodes.weights
    second = f.overlaps * ((f.slope.T * p) @ f.slope) + (f.mean.T * p) @ f.mean
    second[np.diag_indices(dim)] += p @ f.rest
    cross = (p * nodes.label) @ f.mean + f.teacher * ((p * nodes.label_slope) @ f.slope)
    plain = three(deterministic_equivalent(
        second, cross, float(p @ nodes.label_power), num_samples=dim, ridge=ridge
    ))  # fmt: skip
    assert abs(plain[0] - mean[0]) < 0.1 * mean[0]
    assert mean[1] - plain[1] > max(0.2 * mean[1], 5 * sem[1])


# Refusals --------------------------------------------------------------------------------------


def test_grid_of_sample_sizes():
    """A list of sizes gives what each gives alone; training errors are below test errors."""
    problem = Problem((40, 20, 40), 0.5, 0.6)
    arguments = (problem.network, problem.task, problem.directions)
    curves = conditional_equivalent(*arguments, num_samples=[20, 80], ridge=[1e-2, 1e-3], points=8)
    for i, (m, ridge) in enumerate(((20, 1e-2), (80, 1e-3))):
        alone = conditional_equivalent(*arguments, num_samples=m, ridge=ridge, points=8)
        assert curves.test.value[i] == pytest.approx(alone.test.value[0], rel=1e-12)
    assert curves.test.grid_name == "num_samples"
    assert np.all(curves.train.value < curves.test.value)


def refused(message, task=None, directions=None, **changes):
    problem = Problem((20, 6, 20), 0.5, 0.6)
    task = problem.task if task is None else task
    directions = problem.directions if directions is None else directions
    arguments = {"num_samples": 20, "ridge": 1e-3, "points": 8} | changes
    with pytest.raises(ValueError, match=message):
        conditional_equivalent(problem.network, task, directions, **arguments)


def test_structure_outside_the_span_is_refused():
    """A spike, a mean or full covariances that the span does not hold, with the way to mend it."""
    problem = Problem((20, 6, 20), 0.5, 0.6, classes=True, mean=1.0)
    refused("data_directions", problem.task, problem.directions[:2])
    refused("data_directions", problem.task, problem.directions[:3])
    full = np.stack([np.diag(np.linspace(0.5, 3, 20))] * 2)
    inputs = GaussianMixture.from_covariances(np.zeros((2, 20)), full, [0.5, 0.5])
    refused("no such span", Classification(inputs, [1.0, -1.0]))
    everything = np.vstack([problem.directions[:1], data_directions(problem.task.inputs)])
    curves = conditional_equivalent(
        problem.network, problem.task, everything, num_samples=20, ridge=1e-3, points=8
    )
    assert curves.test.assumptions[1].margin > 0


def test_bad_input_is_refused():
    """One sentence each."""
    refused("SingleIndex", Regression(Gaussian(20), Polynomial("z1")))
    refused("Received: Dataset", Dataset(np.eye(20), np.ones(20)))
    refused("20 coordinates", directions=np.ones((1, 3)))
    refused("finite vectors", directions=np.full((1, 20), np.nan))
    refused("not 0", directions=np.zeros((1, 20)))
    refused("at least 6 points", points=5)
    refused("at least 6 points", points=True)
    refused("num_samples", num_samples=0)
    refused("ridge", ridge=0.0)


# Slow ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "alpha", "beta", "name", "classes"),
    [
        ((300, 150, 300), 0.5, 0.5, "relu", False),
        ((300, 400, 300), 0.5, 0.74, "relu", False),
        ((300, 400, 300), 0.0, 1.0, "relu", False),
        ((300, 300, 300), 0.5, 1.0, "tanh", False),
        ((300, 400, 300), 0.0, 0.74, "relu", True),
        ((300, 150, 300), 0.0, 1.0, "tanh", True),
    ],
)
def test_errors_in_the_setting_of_the_paper(size, alpha, beta, name, classes):
    """Larger networks, wider than their samples are many: 3 standard errors, or 3 % and 7 %."""
    problem = Problem(size, alpha, beta, name, classes=classes)
    mean, sem = problem.monte_carlo(size[2], 1e-3, 24)
    curves = conditional_equivalent(
        problem.network, problem.task, problem.directions, num_samples=size[2], ridge=1e-3
    )
    assert np.all(agree(three(curves), mean, sem)), (three(curves), mean, sem)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "link", "rate", "step_ratio", "lam", "ratio"),
    [("relu", "tanh", 2.0, 4.0, 0.1, 1.0), ("tanh", "tanh", 1.0, 0.5, 0.01, 3.0)],
)
def test_errors_at_the_maximal_rate(name, link, rate, step_ratio, lam, ratio):
    """At d = k = 400, ReLU included, for which the theory without W is some percent high."""
    dim = 400
    step = MaximalStep(name, link, dim, rate, step_ratio)
    m = int(ratio * dim)
    mean, sem = step.monte_carlo(m, lam / m, 30)
    network, task, directions = step.parts()
    found = three(conditional_equivalent(network, task, directions, num_samples=m, ridge=lam / m))
    assert np.all(agree(found, mean, sem)), (found, mean, sem)
