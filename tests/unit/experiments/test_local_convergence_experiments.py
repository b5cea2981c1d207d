"""Experiments on local convergence: options, verdicts, quick sizes."""

import math

import numpy as np
import pytest

from twolayer.experiments import find_experiment
from twolayer.experiments.teacher_student import late, local_convergence, single_neuron
from twolayer.experiments.teacher_student.worst_case import least_gradients
from twolayer.theory.local_convergence import loss, worst_far_neurons

EXPERIMENTS = ("local-convergence", "lojasiewicz-exponents", "single-neuron")


@pytest.mark.parametrize(
    ("numbers", "allowed", "verdict"),
    [
        ((-3.0, -2.95, 0.02), 0.15, "agrees"),
        ((-3.0, -2.8, 0.02), 0.15, "disagrees"),
        ((-3.0, -3.2, 0.02), 0.15, "disagrees"),
        ((-3.0, -2.95, 0.1), 0.15, "undecided"),
        ((-3.0, -2.0, 0.5), 0.15, "undecided"),
        ((-3.0, -2.75, 0.09), 0.15, "undecided"),  # beyond what is allowed, by less than its error
        ((2.83, 2.831, 0.001), 0.0, "agrees"),
        ((2.83, 2.84, 0.001), 0.0, "disagrees"),
        ((-3.0, math.nan, 0.02), 0.15, "failed"),
        ((-3.0, -math.inf, 0.02), 0.15, "failed"),
    ],
)
def test_verdicts_on_numbers(numbers, allowed, verdict):
    finding = late.judged("name", "statement", numbers, "derived here", allowed=allowed)
    assert finding.verdict == verdict


@pytest.mark.parametrize(
    ("measured", "verdict"), [(1.5, "agrees"), (0.9, "disagrees"), (math.nan, "failed")]
)
def test_verdicts_on_bounds(measured, verdict):
    assert late.bounded("n", "s", (1.0, measured, 0.01), "derived here").verdict == verdict


def test_slopes_of_other_powers_disagree():
    """A loss like 1/t^2 or 1/t, or of a slower exponential, is told from what is predicted."""
    times = np.concatenate([[0.0], np.geomspace(0.1, 1e4, 48)])
    teacher = np.eye(3)[:2]

    def verdict(multiple, losses):
        return local_convergence._rate_finding(multiple, times, losses, teacher).verdict

    start = np.array([[1.0], [1.2]])
    for power, expected in ((3, "agrees"), (2, "disagrees"), (1, "disagrees")):
        losses = 0.01 * start / (1 + times) ** power
        assert verdict(2, losses) == expected
        assert single_neuron._rate_finding(2, times, losses).verdict == expected
    rate = 4 * (1 - 2 / np.pi) / 2  # the least eigenvalue of M is 1 - 2/pi, and J is at least 1
    assert verdict(1, 0.01 * start * np.exp(-rate * times)) == "agrees"
    assert verdict(1, 0.01 * start * np.exp(-0.9 * rate * times)) == "disagrees"
    assert verdict(1, 0.01 * start / (1 + times) ** 9) in {"disagrees", "failed"}
    assert (
        single_neuron._rate_finding(1, times, start * np.exp(-1.1 * times)).verdict == "disagrees"
    )


def test_runs_that_end_early_fail():
    """NaN curves become a verdict, not an error."""
    times = np.concatenate([[0.0], np.geomspace(0.1, 1e4, 48)])
    teacher, lost = np.eye(3)[:2], np.full((2, 49), np.nan)
    for multiple in (1, 2):
        found = local_convergence._rate_finding(multiple, times, lost, teacher)
        assert found.verdict == "failed"
    for n in (1, 2):
        assert single_neuron._rate_finding(n, times, lost).verdict == "failed"
    kept = {2: 1 / (1 + np.stack([times, times])) ** 3, 4: lost}
    assert local_convergence._no_width_finding(times, kept).verdict == "failed"


def test_students_start_at_the_asked_loss():
    teacher = np.array([[1.0, 0, 0], [0.3, 2, 0]])
    for multiple in (1, 3):
        rng = np.random.default_rng(0)
        W = local_convergence.students_around(teacher, multiple, 1e-3, rng)
        assert W.shape == (2 * multiple, 3)
        assert loss(W, teacher) == pytest.approx(1e-3, rel=1e-9)


@pytest.mark.slow
def test_padding_changes_nothing():
    """Neurons of output weight 0 neither move nor count, and are taken off again."""
    times, teacher = np.array([0.0, 1.0, 10.0]), np.eye(2)[:1]
    W = np.array([[0.9, 0.3], [0.2, -0.4]])
    with_padding = late.padded_flow(teacher, W, times, width=3)
    without = late.padded_flow(teacher, W, times, width=2)
    assert with_padding.W.shape == (3, 2, 2)
    np.testing.assert_allclose(with_padding.W, without.W, atol=1e-8)
    np.testing.assert_allclose(with_padding.losses, without.losses, atol=1e-8)


@pytest.mark.slow
def test_the_search_finds_what_the_limit_predicts():
    """Levels a decade apart: the misses shrink like the square root of the loss."""
    teacher = np.eye(2)[:1]
    predicted, _ = worst_far_neurons(teacher, 1)
    levels = np.array([1e-2, 1e-3, 1e-4])
    found = least_gradients(teacher, 2, levels, starts=2, seed=0)
    misses = predicted - found.constants
    assert np.all(misses > 0)
    np.testing.assert_allclose(misses[:-1] / misses[1:], math.sqrt(10), rtol=0.3)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("local-convergence", {"ratios": "0,1"}, "ratios"),
        ("local-convergence", {"dim": 3}, "dim"),
        ("local-convergence", {"initial_loss": 0.5}, "initial loss"),
        ("local-convergence", {"horizon": 5.0}, "horizon"),
        ("local-convergence", {"seeds": 1}, "seeds"),
        ("lojasiewicz-exponents", {"cases": "2"}, "cases like"),
        ("lojasiewicz-exponents", {"cases": "2 2"}, "more students"),
        ("lojasiewicz-exponents", {"cases": "3 4"}, "one or two teachers"),
        ("lojasiewicz-exponents", {"angle": 1.6}, "angle"),
        ("lojasiewicz-exponents", {"starts": 0}, "starts"),
        ("single-neuron", {"students": "two"}, "students"),
        ("single-neuron", {"dim": 1}, "dim"),
        ("single-neuron", {"angle": 3.0}, "angle"),
        ("single-neuron", {"initial_scale": -1.0}, "initial_scale"),
    ],
)
def test_bad_options_are_named(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        find_experiment(name).run(**options)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_quick_tier_agrees(name):
    experiment = find_experiment(name)
    result = experiment.run(**experiment.quick)
    assert {finding.verdict for finding in result.findings} == {"agrees"}, [
        finding for finding in result.findings if finding.verdict != "agrees"
    ]
    assert all(np.all(np.isfinite(run.value)) for run in result.trajectories)
