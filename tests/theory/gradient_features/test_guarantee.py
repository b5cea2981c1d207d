"""The main bound and its parts: what they are made of holds, and vacuous bounds say so."""

import math

import numpy as np
import pytest

from twolayer.theory.gradient_features.guarantee import (
    FeatureConstants,
    main_bound,
    top_layer_bound,
)


def test_the_cone_term_bounds_the_misdirection_of_sampled_gradients():
    """Unit vectors of sampled gradients are as near to D as the bracket of the bound says."""
    generator = np.random.default_rng(0)
    dim, n, gamma, length = 20, 400, 0.02, 0.3
    D = np.eye(dim)[0]
    angle = math.acos(1 - gamma)
    G = length * (math.cos(angle) * D + math.sin(angle) * np.eye(dim)[1])
    noise = generator.standard_normal((2000, dim)) / math.sqrt(n)  # of n samples with E|x|^2 = d
    units = (G + noise) / np.linalg.norm(G + noise, axis=1)[:, None]
    distance = np.mean(np.linalg.norm(units - D, axis=1))
    constants = FeatureConstants(gamma, length, 1.0, 1.0, dim)
    bracket = float(main_bound(np.ones(1), np.zeros(1), constants, num_samples=n).value[0])
    assert bracket / 4 < distance <= bracket
    pure = main_bound(np.ones(1), np.zeros(1), constants)
    assert abs(float(pure.value[0]) - np.linalg.norm(G / length - D)) < 1e-12


def test_the_bound_has_three_terms():
    """Optimum, cones and remainder add up, the cones with the number of neurons."""
    constants = FeatureConstants(0.08, 0.5, 2.0, 3.0, 9.0, lipschitz=1.5, tolerance=0.1)
    r, optimum = np.asarray([1.0, 4.0]), np.asarray([0.3, 0.1])
    bound = main_bound(r, optimum, constants, num_samples=900.0, remainder=0.05)
    cones = 1.5 * 2.0 * 3.0 * (0.4 + 0.1 + 2 / 0.5 * 3 / 30)
    np.testing.assert_allclose(bound.value, optimum + r * cones + 0.05)
    assert bound.kind == "upper"
    vacuous = bound.assumptions[-1]
    assert vacuous.holds is False
    assert abs(vacuous.margin - (0.5 - bound.value[0])) < 1e-12
    shy = main_bound(r[:1], np.asarray([0.5]), FeatureConstants(1e-6, 0.5, 2.0, 3.0, 9.0))
    assert shy.value[0] < 0.6
    assert shy.assumptions[-1].holds is False  # no better than a coin
    narrow = FeatureConstants(1e-6, 0.5, 2.0, 3.0, 9.0)
    assert main_bound(r, optimum, narrow).assumptions[-1].holds is True


def logistic(a, h, y):
    return np.mean(np.logaddexp(0, -y * (h @ a))) / math.log(2)


def test_gradient_descent_obeys_the_optimisation_bound():
    """Steps of 1 / L on logistic / log 2 lose no more against any comparison, at every time."""
    generator = np.random.default_rng(1)
    n, m = 200, 5
    h = np.abs(generator.standard_normal((n, m)))
    y = np.sign(h @ generator.standard_normal(m) + 0.3 * generator.standard_normal(n))
    smoothness = np.linalg.norm(h, 2) ** 2 / n / (4 * math.log(2))
    comparison = 2 * generator.standard_normal(m)
    for target in (comparison, np.linalg.lstsq(h, y, rcond=None)[0]):
        a = start = np.zeros(m)
        for step in range(1, 61):
            slope = -(y / (1 + np.exp(y * (h @ a)))) @ h / n / math.log(2)
            a = a - slope / smoothness
            bound = top_layer_bound(h, start, target, steps=step).optimisation
            assert logistic(a, h, y) - logistic(target, h, y) <= bound


def test_the_ball_holds_the_weights_that_beat_the_comparison():
    """Descent overtakes a comparison near its start: the first weights below it are in the ball."""
    generator = np.random.default_rng(4)
    n, m = 100, 3
    h = np.abs(generator.standard_normal((n, m)))
    y = np.sign(h @ np.asarray([1.0, -1.0, 0.3]))
    smoothness = np.linalg.norm(h, 2) ** 2 / n / (4 * math.log(2))
    lipschitz, size = 1 / math.log(2), math.sqrt(np.mean(np.sum(h**2, axis=1)) / n)
    far = 0
    for start in (np.zeros(m), np.asarray([-1.0, 2.0, 0.0])):
        for away in (1e-3, 0.1, 1.0, 5.0):
            direction = -(y / (1 + np.exp(y * (h @ start)))) @ h
            comparison = start - away * direction / np.linalg.norm(direction)
            a, best = start, logistic(comparison, h, y)
            for _ in range(2000):
                if logistic(a, h, y) <= best:
                    break
                a = a + (y / (1 + np.exp(y * (h @ a)))) @ h / n / math.log(2) / smoothness
            part = top_layer_bound(h, start, comparison, steps=1).generalisation
            assert np.linalg.norm(a) <= part / (2 * lipschitz * size)
            far += np.linalg.norm(a - comparison) > np.linalg.norm(start - comparison)
    assert far  # of some comparisons the weights end farther off than they started


def test_generalisation_bound_brackets_the_linear_loss():
    """For a linear loss the supremum over the ball is known: a quarter of the bound to all."""
    generator = np.random.default_rng(2)
    n, m, radius = 100, 8, 1.5
    suprema = []
    for _ in range(400):
        h = generator.standard_normal((n, m))
        y = generator.choice([-1.0, 1.0], n)  # E y h = 0
        suprema.append(radius * np.linalg.norm(y @ h / n))
    bound = top_layer_bound(
        h, np.zeros(m), np.eye(m)[0] * radius / 2, steps=1, curvature=1e9, lipschitz=1.0
    ).generalisation
    assert bound / 4 < np.mean(suprema) < bound


def test_the_generalisation_bound_in_numbers():
    """2 Lip B sqrt(E|h|^2 / n), B of three lengths: 5 + 4 + 3 / (2 * 2)."""
    h = 2 * np.ones((16, 1))  # second moment 4, root 2
    part = top_layer_bound(h, np.ones(1), np.asarray([5.0]), steps=1, curvature=2.0, lipschitz=3.0)
    assert abs(part.generalisation - 2 * 3 * (5 + 4 + 0.75) * 2 / 4) < 1e-12


def test_features_that_are_zero_leave_the_weights_where_they_are():
    """No gradient, no step, nothing to generalise."""
    part = top_layer_bound(np.zeros((4, 2)), np.zeros(2), np.ones(2), steps=3)
    assert part == (0.0, 0.0)


def test_wide_features_have_the_same_bound():
    """More neurons than samples: the curvature is that of the full second moment."""
    h = np.random.default_rng(5).standard_normal((4, 9))
    part = top_layer_bound(h, np.zeros(9), np.ones(9), steps=2, curvature=1.0)
    largest = np.linalg.eigvalsh(h.T @ h / 4)[-1]
    assert abs(part.optimisation - largest * 9 / 4) < 1e-12


def test_bad_input():
    """Constants that are none, curves that don't fit and features of other sizes are refused."""
    with pytest.raises(ValueError, match="positive constants"):
        FeatureConstants(0.1, 0.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="inside"):
        FeatureConstants(1.0, 1.0, 1.0, 1.0, 1.0)
    constants = FeatureConstants(0.1, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="numbers of neurons"):
        main_bound(np.ones(2), np.ones(1), constants)
    with pytest.raises(ValueError, match="samples and a remainder"):
        main_bound(np.ones(1), np.ones(1), constants, num_samples=0)
    with pytest.raises(ValueError, match="features"):
        top_layer_bound(np.ones((3, 2)), np.ones(2), np.ones(3), steps=1)
    with pytest.raises(ValueError, match="one step"):
        top_layer_bound(np.ones((3, 2)), np.ones(2), np.ones(2), steps=0)
