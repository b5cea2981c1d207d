"""Experiments on error curves: what they measure, and what their verdicts mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_allclose, assert_within_sem
from twolayer.dynamics.one_step import Errors
from twolayer.dynamics.readout import Ridge
from twolayer.experiments import find_experiment
from twolayer.experiments.one_step import curves, curves_conditional, curves_staircase
from twolayer.experiments.one_step.isotropic import (
    Case,
    check_functions,
    finer,
    function_of,
    held,
    prediction,
    told_apart,
    trained,
    trajectories,
    trajectory,
)
from twolayer.networks import TwoLayerNetwork
from twolayer.outcomes import Prediction
from twolayer.theory.one_step.errors import error_curves, grid_of

CASE = Case(
    dim=40, width_ratio=1.5, sample_ratio=2.0, step_ratio=4.0, scaled_ridge=0.3, noise_std=0.5,
    trials=3, seed=1,
)  # fmt: skip
NAMES = (
    "deterministic-equivalent",
    "random-features-curve",
    "small-learning-rate-curve",
    "staircase-curve",
    "maximal-learning-rate-curve",
    "conditional-equivalent",
)


def curve(values):
    grid = np.arange(1.0, len(values) + 1)
    return Prediction(
        "curve", grid, np.asarray(values), "asymptotic", "derived here", grid_name="size"
    )


def measured(means, spread, trials=9):
    """Trials whose mean is exact and whose standard deviation is `spread`."""
    noise = np.linspace(-1, 1, trials)
    noise /= noise.std(ddof=1)
    values = np.asarray(means)[None] + spread * noise[:, None]
    return trajectory("curve", "size", range(1, len(means) + 1), values)


def test_sizes_and_scalings_of_a_case():
    """Ratios times the dimension; the ridge over the width; one step only where there is a rate."""
    assert (CASE.width, CASE.num_samples, CASE.num_step_samples) == (60, 80, 160)
    step, none = CASE.algorithm(7.0), CASE.algorithm(0.0)
    assert step.readout == Ridge(0.3 / 60)
    assert (step.steps, step.num_step_samples, none.steps) == (1, 160, 0)
    assert step.num_test % 1000 == 0
    assert step.num_test >= 5 * 80


def test_labels_depend_on_the_first_coordinate():
    """``y - link(x_1)`` is noise of the given standard deviation."""
    x, y = CASE.task("tanh").sample(4000, key=jax.random.key(0))
    rest = np.asarray(y) - np.tanh(np.asarray(x)[:, 0])
    # the standard deviation of a normal sample has a standard error of sigma / sqrt(2 n)
    assert_within_sem(rest.std(), 0.5 / np.sqrt(8000), 0.5)
    assert abs(np.corrcoef(rest, np.asarray(x)[:, 0])[0, 1]) < 4 / np.sqrt(4000)


@pytest.mark.parametrize("constant", [False, True])
def test_initial_networks(constant):
    """Rows of squared length 1 on average; output weights random or all 1 / sqrt(width)."""
    network = CASE.initial("tanh", constant=constant)(key=jax.random.key(3))
    W = np.asarray(network.W, dtype=np.float64)
    assert network.W.dtype == jnp.float32
    assert_within_sem((W**2).mean(), np.sqrt(2 / W.size) / 40, 1 / 40)
    a = np.asarray(network.a)
    assert_allclose(float(network.scale), 60**-0.5)
    if constant:
        assert_allclose(a, np.full(60, 60**-0.5, dtype=np.float32))
    else:
        assert_within_sem((a**2).mean(), np.sqrt(2 / 60) / 60, 1 / 60)


def test_second_moments_are_those_of_sampled_features():
    """``E phi phi^T``, ``E phi y``, ``E y^2`` of a network with unequal rows, by Monte Carlo."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((3, 4)) * np.array([[0.5], [1.0], [1.7]])
    network = TwoLayerNetwork(jnp.ones(3), jnp.asarray(W), None, function_of("relu"), 0.3)
    covariance, cross, power = curves.second_moments(network, 0.5)
    n = 200_000
    x = rng.standard_normal((n, 4))
    phi, y = 0.3 * np.maximum(x @ W.T, 0), np.maximum(x[:, 0], 0) + 0.5 * rng.standard_normal(n)
    for exact, samples in (
        (covariance, phi[:, :, None] * phi[:, None, :]),
        (cross, phi * y[:, None]),
        (power, y**2),
    ):
        assert_within_sem(samples.mean(axis=0), samples.std(axis=0) / np.sqrt(n), exact)


def test_centred_functions_are_one_object_a_name():
    """The mean is taken off, and programs compiled for a name are found again."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    values = np.asarray(function_of("centred softplus")(jnp.asarray(nodes)))
    assert abs(weights @ values / weights.sum()) < 1e-12  # softplus is analytic: 80 nodes resolve
    assert function_of("centred softplus") is function_of("centred softplus")
    assert function_of("tanh") is function_of(" tanh ".strip())
    with pytest.raises(ValueError, match="Did you mean"):
        check_functions("tanh", "centred softpluss")


def test_curves_are_named_after_what_was_measured():
    """Test, train and objective are generalization, residual and training error."""
    errors = [Errors(*(np.full(2, 10.0 * k + j) for j in range(4))) for k in range(3)]
    found = trajectories("net", "size", [1, 2, 3], errors)
    assert_allclose(found["test"].value, [[0.0, 10.0, 20.0]] * 2)
    assert_allclose(found["objective"].value, [[2.0, 12.0, 22.0]] * 2)
    assert_allclose(found["train"].value, [[3.0, 13.0, 23.0]] * 2)
    assert found["train"].name == "train, net"
    nan = trajectory("net", "size", [1, 2], np.array([[1.0, np.nan], [1.0, 2.0]]))
    assert nan.status == ("diverged", "finished")


@pytest.mark.parametrize(
    ("means", "spread", "verdict"),
    [
        ([1.0, 2.0, 3.05], 0.01, "agrees"),
        ([1.0, 2.0, 3.2], 0.01, "disagrees"),
        ([1.0, 2.0, 3.2], 0.3, "agrees"),
        ([1.0, 2.0, 3.2], 3.0, "undecided"),
    ],
)
def test_held_grants_chance_and_a_share_of_the_value(means, spread, verdict):
    """2 % of the value 3 covers a gap of 0.05, not of 0.2; more noise does, or leaves it open."""
    predicted = curve([1.0, 1.5, 2.0, 3.0])
    predicted = prediction("curve", "size", [1.0, 1.5, 2.0, 3.0], [predicted])
    finding = held("", predicted, measured(means, spread), bias=0.02)
    assert finding.verdict == verdict
    assert_allclose([finding.predicted, finding.measured], [3.0, means[-1]])


@pytest.mark.parametrize(
    ("last", "spread", "verdict"),
    [(3.2, 0.01, "agrees"), (3.0, 0.01, "disagrees"), (3.2, 3.0, "undecided")],
)
def test_told_apart_turns_the_verdict(last, spread, verdict):
    """A control agrees where its prediction is refused, and says nothing in the noise."""
    finding = told_apart(
        "control", "", curve([1, 2, 3.0]), measured([9, 9, last], spread), bias=0.02
    )
    assert (finding.verdict, finding.predicted) == (verdict, "not 3")


def test_finer_grids_keep_what_was_measured():
    """Between the ends, sorted, nothing twice."""
    grid = finer([0.5, 1.3, 2.0], 4)
    assert_allclose(grid, [0.5, 1.0, 1.3, 1.5, 2.0])


@pytest.mark.parametrize(
    ("first", "last", "spread", "verdict"),
    [
        (0.6, 0.4, 0.01, "agrees"),
        (0.4, 0.6, 0.01, "disagrees"),
        (0.4, 0.15, 0.01, "disagrees"),  # below the stair
        (0.6, 0.4, 0.5, "undecided"),
    ],
)
def test_a_stair_is_approached_from_above(first, last, spread, verdict):
    """The error falls with the size, and never below its stair."""
    runs = [measured([first], spread), measured([0.5], spread), measured([last], spread)]
    finding = curves_staircase._approach(0.4, curve([0.2]), runs, 0)
    assert finding.verdict == verdict
    assert_allclose([finding.predicted, finding.measured], [0.2, last])


@pytest.mark.parametrize(
    ("mean", "spread", "verdict"),
    [(0.3, 0.01, "agrees"), (0.5, 0.01, "disagrees"), (0.3, 1.0, "undecided")],
)
def test_below_the_first_stair(mean, spread, verdict):
    """Told by the last exponent alone."""
    run = measured([9.0, mean], spread)
    assert curves_staircase._below_first(curve([0.4]), run).verdict == verdict


def test_stairs_end_with_that_of_the_largest_exponent():
    """Flat between 0 and 1/4, and between 1/4 and 1/3; a drop at 1/4."""
    line = curves_staircase._stairs(CASE, "relu", "x + x^2", 0.3)
    assert_allclose(line.grid, [0.001, 0.249, 0.251, 1 / 3 - 0.001])
    assert line.value[0] == line.value[1] > line.value[2] == line.value[3]


def test_cases_are_read_as_typed():
    """Five words a case; the first of them says which labels."""
    first, second = curves_conditional.cases_of("regression relu 0.74 .5 30; classes x^3 1 0 20")
    assert (first.beta, first.alpha, first.width) == (0.74, 0.5, 30)
    assert (second.labels, second.activation) == ("classes", "x^3")


@pytest.mark.parametrize(
    "text",
    ["", "regression relu 1 0", "sums relu 1 0 30", "classes relu 1 0 3.5", "classes relu 1 0 0",
     "classes reluu 1 0 30", "classes relu 1 0 30; classes relu 1 0 30"],
)  # fmt: skip
def test_other_cases_are_refused(text):
    """One sentence, with what was received."""
    with pytest.raises(ValueError, match=r"Expected|unknown"):
        curves_conditional.cases_of(text)


def test_the_control_of_strength_one():
    """Where the two theories differ most among the cases of strength 1, if there is one."""
    cases = curves_conditional.cases_of(
        "classes relu 1 0 30; classes relu 0.5 0.5 30; classes tanh 1 0 30"
    )

    def theory(test):
        return error_curves(grid_of(m=9.0), (test, test, test), reference="derived here")

    spread = np.linspace(0.29, 0.31, 9)
    network = [(theory(0.3), Errors(spread, spread, spread, spread))] * 3
    model = {0: theory(0.4), 1: theory(0.9), 2: theory(0.31)}
    [finding] = curves_conditional._control(cases, 3, network, model)
    assert (finding.verdict, finding.predicted) == ("agrees", "not 0.4")
    assert "classes, relu, beta 1, alpha 0" in finding.statement
    assert curves_conditional._control(cases, 3, network, {1: theory(0.9)}) == []


@pytest.mark.slow
def test_the_layer_after_its_step():
    """The step of the mixture experiment, and the directions that theory conditions on."""
    [case] = curves_conditional.cases_of("regression tanh 0.74 0.5 12")
    setting = curves_conditional.Setting(20, 30, 0.5, 0.74, 1e-3, 2, 0)
    layer = curves_conditional._train(case, setting)
    key_network, key_data = jax.random.split(jax.random.key(0))
    x, y = (np.asarray(v) for v in layer.problem.task.sample(30, key=key_data))
    W = np.asarray(jax.random.normal(jax.random.split(key_network)[1], (12, 20)))
    W = W / np.sqrt(layer.problem.trace)
    a = np.asarray(jax.random.normal(jax.random.split(key_network)[0], (12,))) / np.sqrt(12)
    z = x @ W.T
    residual = y - np.tanh(z) @ a / np.sqrt(12)
    gradient = (residual[:, None] * (1 - np.tanh(z) ** 2) * a / np.sqrt(12)).T @ x / 30
    # theta and eta are both 20^(0.37); the step was taken in single precision
    assert_allclose(layer.problem.trace, 20 + 20**0.37)
    np.testing.assert_allclose(layer.network.W, W + 20**0.37 * gradient, atol=1e-5)
    np.testing.assert_allclose(layer.directions[0], x.T @ y, atol=1e-4)
    spikes = layer.problem.task.inputs.directions[:, 0]
    assert_allclose(layer.directions[1:], spikes)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deterministic-equivalent", {"activations": "reluu"}),
        ("random-features-curve", {"sample_ratios": "2,1"}),
        ("random-features-curve", {"width_ratio": -1.0}),
        ("small-learning-rate-curve", {"noise_std": -1.0}),
        ("small-learning-rate-curve", {"learning_rates": "0,x"}),
        ("staircase-curve", {"dims": "50"}),
        ("staircase-curve", {"exponents": "0.1,0.5"}),
        ("maximal-learning-rate-curve", {"learning_rate": 0.0}),
        ("maximal-learning-rate-curve", {"trials": 1}),
        ("conditional-equivalent", {"points": 1}),
    ],
)
def test_bad_options_are_refused_before_anything_is_trained(name, options):
    """One sentence that names the option."""
    with pytest.raises(ValueError, match=r"Expected|unknown"):
        find_experiment(name).run(**options)


@pytest.mark.parametrize(("constant", "factor"), [(False, 60**0.5), (True, 60.0)])
def test_learning_rates_are_in_the_units_of_theory(constant, factor, monkeypatch):
    """sqrt(width) times the rate with weights of order 1 / sqrt(width), width with equal ones."""
    taken = []
    monkeypatch.setattr(
        "twolayer.dynamics.one_step.train_one_step",
        lambda algorithm, *_, **__: taken.append(algorithm) or [None],
    )
    trained(CASE, "tanh", "tanh", 2.0, constant=constant)
    assert_allclose(taken[0].learning_rate, 2 * factor)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_quick_sizes_agree(name):
    """Every finding of the quick tier agrees, controls and rates included."""
    experiment = find_experiment(name)
    result = experiment.run(**experiment.quick)
    assert {finding.name: finding.verdict for finding in result.findings} == {
        finding.name: "agrees" for finding in result.findings
    }
    assert all(np.isfinite(finding.error) for finding in result.findings)
