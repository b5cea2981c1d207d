"""One small step: errors and spike against networks that take the whole gradient."""

import numpy as np
import pytest

from helpers import assert_allclose, assert_within_sem, numpy_value
from twolayer.activations import activation_of
from twolayer.theory.one_step import small_learning_rate as module
from twolayer.theory.one_step.coefficients import UnitRows, centred, coefficients
from twolayer.theory.one_step.random_features import random_features_ridge
from twolayer.theory.one_step.small_learning_rate import first_layer_spike, small_learning_rate

DIM = 200
SLOPES = {
    "tanh": lambda z: 1 / np.cosh(z) ** 2,
    "relu": lambda z: (z > 0).astype(float),
    "softplus": lambda z: (1 + np.tanh(z / 2)) / 2,
}
SOFTPLUS_MEAN = coefficients("softplus").mean
LINKS = {
    "tanh": np.tanh,
    "relu": numpy_value(activation_of("relu")),
    "centred softplus": lambda z: np.logaddexp(z, 0.0) - SOFTPLUS_MEAN,
}


def three(curves):
    return np.array([curves.test.value, curves.train.value, curves.objective.value])


def labelled(rng, samples, link, noise_std, dim):
    x = rng.standard_normal((samples, dim))
    return x, LINKS[link](x[:, 0]) + noise_std * rng.standard_normal(samples)


def stepped(rng, activation, link, case, *, noise_std, dim=DIM):
    """First-layer weights after one step of the whole gradient."""
    s, slope = numpy_value(activation_of(activation)), SLOPES[activation]
    width = round(case["width_ratio"] * dim)
    W = rng.standard_normal((width, dim)) / np.sqrt(dim)
    a = rng.standard_normal(width) / np.sqrt(width)
    x, y = labelled(rng, round(case["step_ratio"] * dim), link, noise_std, dim)
    z = x @ W.T
    residual = y - s(z) @ a / np.sqrt(width)
    gradient = (residual[:, None] * slope(z) * a).T @ x / (y.size * np.sqrt(width))
    return W + case["learning_rate"] * np.sqrt(width) * gradient


def simulated(activation, link, case, *, noise_std, draws=16, dim=DIM):
    """Mean errors of ridge regression after the step, on fresh data, and their SEM."""
    s, errors = numpy_value(activation_of(activation)), []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        W = stepped(rng, activation, link, case, noise_std=noise_std, dim=dim)
        width, ridge = W.shape[0], case["scaled_ridge"] / W.shape[0]
        x, y = labelled(rng, round(case["sample_ratio"] * dim), link, noise_std, dim)
        phi = s(x @ W.T) / np.sqrt(width)
        w = np.linalg.solve(phi.T @ phi / y.size + ridge * np.eye(width), phi.T @ y / y.size)
        train = np.mean((y - phi @ w) ** 2) / 2
        x, y = labelled(rng, 4000, link, noise_std, dim)
        test = np.mean((y - s(x @ W.T) @ w / np.sqrt(width)) ** 2) / 2
        errors.append([test, train, train + ridge / 2 * w @ w])
    errors = np.asarray(errors)
    return errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(draws)


@pytest.mark.parametrize(
    ("learning_rate", "expected"), [(0.0, 0.2903), (1.0, 0.2885), (2.0, 0.2833), (4.0, 0.2658)]
)
def test_agrees_with_an_independent_implementation(learning_rate, expected):
    """Twice the test error with a centred softplus teacher and noise 0.25, to four digits."""
    curves = small_learning_rate(
        "tanh",
        centred("softplus"),
        learning_rate=learning_rate,
        step_ratio=2.0,
        width_ratio=2.0,
        sample_ratio=2.0,
        scaled_ridge=1e-2 * 600,
        noise_std=0.25,
    )
    assert abs(2 * curves.test.value[0] - expected) < 5.1e-5


@pytest.mark.parametrize(
    ("learning_rate", "expected"), [(4.0, (2.358, 0.319)), (8.0, (3.528, 0.535))]
)
def test_spike_agrees_with_an_independent_implementation(learning_rate, expected):
    """Singular value and squared alignment at width 450, dimension 300, to the digits computed."""
    spike = first_layer_spike(
        "tanh",
        centred("softplus"),
        learning_rate=learning_rate,
        step_ratio=2.0,
        width_ratio=1.5,
        noise_std=0.25,
    )
    np.testing.assert_allclose(
        [spike.singular_value, spike.alignment_squared], expected, atol=5.1e-4
    )


CASES = {
    "odd": (
        "tanh",
        "tanh",
        {"learning_rate": 5.0, "step_ratio": 2.0, "width_ratio": 1.5, "sample_ratio": 2.0,
         "scaled_ridge": 0.3},
    ),
    "constant that cannot be fitted": (
        "tanh",
        "relu",
        {"learning_rate": 4.0, "step_ratio": 4.0, "width_ratio": 0.7, "sample_ratio": 1.5,
         "scaled_ridge": 0.1},
    ),
    "kink": (
        "relu",
        "tanh",
        {"learning_rate": 6.0, "step_ratio": 3.0, "width_ratio": 2.0, "sample_ratio": 2.0,
         "scaled_ridge": 0.5},
    ),
    "mean": (
        "softplus",
        "relu",
        {"learning_rate": 5.0, "step_ratio": 2.0, "width_ratio": 2.0, "sample_ratio": 1.0,
         "scaled_ridge": 0.2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_networks_that_take_the_whole_gradient(name):
    """All three errors; without the step they would be far off."""
    activation, link, case = CASES[name]
    mean, sem = simulated(activation, link, case, noise_std=0.2)
    predicted = three(small_learning_rate(activation, link, noise_std=0.2, **case))[:, 0]
    # besides its noise, a network of dimension d differs by order 1/d, relatively
    assert_within_sem(mean, sem + predicted / DIM / 2, predicted)
    before = three(
        small_learning_rate(activation, link, noise_std=0.2, **{**case, "learning_rate": 0})
    )
    assert mean[0] < before[0, 0] - 4 * sem[0]


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_wrong_strength_of_the_spike_is_seen(factor, monkeypatch):
    """mu_1^2 r^2 zeta^2 off by a factor 2 misses the networks by more than 5 standard errors."""
    activation, link, case = CASES["kink"]
    mean, sem = simulated(activation, link, case, noise_std=0.2)
    right = module._gain_with_spike

    def wrong(features, bulk, size, zeta):
        with_spike = right(features, bulk, size, zeta)
        without = bulk.gain, bulk.gain_change
        return tuple(w + factor * (g - w) for w, g in zip(without, with_spike, strict=True))

    monkeypatch.setattr(module, "_gain_with_spike", wrong)
    predicted = three(small_learning_rate(activation, link, noise_std=0.2, **case))[:, 0]
    assert abs(mean[0] - predicted[0]) > 5 * sem[0]


@pytest.mark.parametrize("learning_rate", [1.0, 5.0, 10.0])
def test_spike_is_that_of_the_first_layer(learning_rate):
    """Largest singular value and its vector in input space, below the threshold and above."""
    dim, case = 400, {"learning_rate": learning_rate, "step_ratio": 2.0, "width_ratio": 1.5}
    found = []
    for seed in range(6):
        W = stepped(
            np.random.default_rng(seed), "tanh", "centred softplus", case, noise_std=0.25, dim=dim
        )
        _, singular_values, vectors = np.linalg.svd(W, full_matrices=False)
        found.append([singular_values[0], vectors[0, 0] ** 2])
    mean, sem = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(6)
    spike = first_layer_spike("tanh", centred("softplus"), noise_std=0.25, **case)
    expected = np.array([spike.singular_value, spike.alignment_squared])
    if spike.size <= spike.threshold:
        assert_allclose(expected, [1 + np.sqrt(1.5), 0.0])
        # at the edge the finite matrix differs by order d^{-2/3}, its vector by 1/d
        np.testing.assert_allclose(mean, expected, atol=dim ** (-2 / 3))
    else:
        # besides its noise, a network of dimension d differs by order 1/d, relatively
        assert_within_sem(mean, sem + expected / dim, expected)
        assert spike.alignment_squared < spike.direction_alignment


def test_spike_leaves_the_bulk_continuously():
    """At the threshold r = psi^{1/4} its singular value is the bulk's edge, its alignment 0."""
    psi, unit = 2.5, first_layer_spike("erf", "x", learning_rate=1.0, step_ratio=3.0, width_ratio=1)
    critical = psi**0.25 / unit.size
    for factor in (1 - 1e-6, 1 + 1e-6):
        spike = first_layer_spike(
            "erf", "x", learning_rate=critical * factor, step_ratio=3.0, width_ratio=psi
        )
        np.testing.assert_allclose(spike.singular_value, 1 + np.sqrt(psi), rtol=1e-10)
        assert 0 <= spike.alignment_squared < 1e-5


def test_without_a_step_it_is_random_features():
    """Learning rate 0, or an activation without slope, whose step has no spike."""
    case = {"width_ratio": [0.5, 2.0], "sample_ratio": 1.5, "scaled_ridge": 0.2, "noise_std": 0.1}
    for activation, rate in (("tanh", 0.0), ("abs", 3.0), (UnitRows(centred("relu")), 0.0)):
        after = small_learning_rate(activation, "relu", learning_rate=rate, step_ratio=1.0, **case)
        before = random_features_ridge(activation, "relu", **case)
        assert_allclose(three(after), three(before), loss=1e-6)


def test_a_perfect_large_step_learns_the_linear_part():
    """Endless data and learning rate: the spike is xi and only the rest of the link is left."""
    case = {"width_ratio": 1.5, "sample_ratio": 1.5, "scaled_ridge": 0.2}
    curves = small_learning_rate("tanh", "erf", learning_rate=1e7, step_ratio=1e14, **case)
    rest = random_features_ridge("tanh", "abs", **case)  # a link without slope
    share = coefficients("abs").second_moment / coefficients("erf").rest
    assert_allclose(three(curves) * share, three(rest), loss=10.0)


def test_assumptions_and_refusals():
    """Oddness is stated; rates below 0 and steps without samples are refused."""
    case = {"width_ratio": 1.0, "sample_ratio": 1.0, "scaled_ridge": 0.1}
    for activation, odd in (("erf", True), ("relu", False)):
        curves = small_learning_rate(activation, "tanh", learning_rate=1.0, step_ratio=1.0, **case)
        assert {a.name: a.holds for a in curves.test.assumptions}["activation odd"] is odd
    for wrong in ({"learning_rate": -1.0}, {"learning_rate": np.nan}, {"step_ratio": 0.0}):
        with pytest.raises(ValueError, match=r"^Expected .* Received: "):
            small_learning_rate(
                "tanh", "tanh", **{"learning_rate": 1.0, "step_ratio": 1.0, **case, **wrong}
            )
    with pytest.raises(ValueError, match=r"^Expected width_ratio as one number"):
        first_layer_spike("x", "x", learning_rate=1.0, step_ratio=1.0, width_ratio=[1.0])


def test_labels_of_zero_give_no_step():
    """No label, no gradient, no spike."""
    spike = first_layer_spike("x", "0*x", learning_rate=1.0, step_ratio=1.0, width_ratio=1.0)
    assert spike.size == spike.alignment_squared == 0.0
