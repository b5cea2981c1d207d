"""Committees: overlaps, generalisation error, refusals, regimes of the learning rate."""

import math

import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.theory.order_parameters import (
    Committee,
    committee_of,
    generalisation_error,
    relu_integrals,
    scaling_regime,
)


def test_generalisation_error_is_half_the_mean_square():
    """The error of two networks with mixed output weights is the sampled half mean square."""
    rng = np.random.default_rng(0)
    W, V = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    v, A = np.array([1.0, -0.5, 2.0]), np.array([0.7, -1.0])
    x = rng.normal(size=(200_000, 4))
    gap = np.maximum(x @ W.T, 0) @ v - np.maximum(x @ V.T, 0) @ A
    sample = gap**2 / 2
    error = generalisation_error(committee_of(W, V, v, A), relu_integrals)
    assert_within_sem(sample.mean(), sample.std() / np.sqrt(len(sample)), error)


def test_student_equal_to_teacher_has_no_error():
    """A student that is its teacher, split over two neurons, has error 0 up to rounding."""
    W = np.array([[0.5, 0.25], [0.5, 0.25]])
    committee = committee_of(W, np.array([[1.0, 0.5]]))
    assert abs(generalisation_error(committee, relu_integrals)) < 1e-15


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.eye(2), np.zeros((3, 1)), np.eye(1)), "shapes"),
        ((np.eye(2), np.zeros(2), np.eye(1)), "shapes"),
        ((np.zeros((0, 0)), np.zeros((0, 1)), np.eye(1)), "shapes"),
        ((np.eye(1), np.full((1, 1), np.nan), np.eye(1)), "finite"),
        ((np.array([[1.0, 0.5], [0.0, 1.0]]), np.zeros((2, 1)), np.eye(1)), "symmetric"),
        ((np.eye(1), np.full((1, 1), 2.0), np.eye(1)), "negative"),
        ((np.eye(1), np.zeros((1, 1)), np.eye(1), np.ones(2)), "student_weights"),
        ((np.eye(1), np.zeros((1, 1)), np.eye(1), None, [np.inf]), "teacher_weights"),
    ],
)
def test_what_is_no_committee_is_refused(arguments, words):
    """Wrong shapes, numbers that are none and overlaps of no vectors end in one sentence."""
    with pytest.raises(ValueError, match=words):
        Committee(*arguments)


def test_weights_of_different_dimension_are_refused():
    """Student and teacher need the same inputs."""
    with pytest.raises(ValueError, match="Expected weights"):
        committee_of(np.eye(2), np.eye(3))


@pytest.mark.parametrize(
    ("kappa", "delta", "limit", "ratio"),
    [
        (0.0, 0.1, "gradient flow", 0.0),
        (0.5, -0.4, "gradient flow", 0.0),
        (0.5, -0.5, "gradient flow and noise", 0.3),
        (0.5, -0.6, "noise", math.inf),
        (0.5, -0.75, "none", math.nan),
        (1.5, -1.6, "none", math.nan),
    ],
)
def test_regimes_of_width_and_learning_rate(kappa, delta, limit, ratio):
    """Each side of each boundary of the phase diagram has its own limit."""
    regime = scaling_regime(kappa, delta, step_ratio=0.3)
    assert regime.limit == limit
    assert regime.step_ratio == pytest.approx(ratio, nan_ok=True)


def test_time_advances_alike_on_both_sides_of_the_line():
    """The time of a step is continuous where drift and noise change places."""
    above, below = scaling_regime(0.5, -0.5 + 1e-9), scaling_regime(0.5, -0.5 - 1e-9)
    on = scaling_regime(0.5, -0.5)
    assert above.time_exponent == pytest.approx(on.time_exponent, abs=1e-8)
    assert below.time_exponent == pytest.approx(on.time_exponent, abs=1e-8)
    # far from it by counting: gamma / (p d) and, in noise, gamma^2 / (p^2 d), for d = 10
    step, width = 10.0**0.6, 10.0**0.5
    assert 10 ** -scaling_regime(0.5, -0.6).time_exponent == pytest.approx((step / width) ** 2 / 10)
    assert 10 ** -scaling_regime(0.5, 0.2).time_exponent == pytest.approx(10**-0.2 / width / 10)


@pytest.mark.parametrize(
    ("kappa", "delta", "ratio"), [(-0.1, 0, 1), (math.nan, 0, 1), (0, math.inf, 1), (0, 0, 0)]
)
def test_exponents_that_make_no_sense_are_refused(kappa, delta, ratio):
    """Negative or infinite exponents and a ratio of 0 are refused."""
    with pytest.raises(ValueError, match="Expected"):
        scaling_regime(kappa, delta, step_ratio=ratio)
