"""The deterministic equivalent against random matrices, closed forms and its own sum rule."""

import numpy as np
import pytest

from helpers import assert_allclose, assert_within_sem
from twolayer.theory.one_step.deterministic_equivalent import deterministic_equivalent
from twolayer.theory.one_step.errors import error_curves, grid_of, number

WIDTH = 120
EIGENVALUES = 1 / np.arange(1.0, WIDTH + 1)
SLOPES = 3 / np.sqrt(WIDTH) * (-1.0) ** np.arange(WIDTH)
CROSS = EIGENVALUES * SLOPES
SECOND_MOMENT = float(CROSS @ SLOPES) + 0.25


def three(curves):
    return np.array([curves.test.value, curves.train.value, curves.objective.value])


def equivalent(num_samples, ridge, scale=1.0):
    return deterministic_equivalent(
        np.diag(scale * EIGENVALUES),
        np.sqrt(scale) * CROSS,
        SECOND_MOMENT,
        num_samples=num_samples,
        ridge=scale * ridge,
    )


def sampled(num_samples, ridge, draws=300):
    """Mean errors of ridge regression on Gaussian features and their standard errors."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(draws):
        phi = rng.standard_normal((num_samples, WIDTH)) * np.sqrt(EIGENVALUES)
        y = phi @ SLOPES + 0.5 * rng.standard_normal(num_samples)
        gram = phi.T @ phi / num_samples + ridge * np.eye(WIDTH)
        w = np.linalg.solve(gram, phi.T @ y / num_samples)
        test = SECOND_MOMENT - 2 * w @ CROSS + w @ (EIGENVALUES * w)  # given w, exact
        train = np.mean((y - phi @ w) ** 2)
        errors.append([test / 2, train / 2, train / 2 + ridge / 2 * w @ w])
    errors = np.asarray(errors)
    return errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(draws)


@pytest.mark.parametrize(("num_samples", "ridge"), [(60, 0.02), (180, 0.02), (180, 1e-3)])
def test_agrees_with_random_matrices(num_samples, ridge):
    """Fewer samples than features and more: all three errors are the sampled means."""
    mean, sem = sampled(num_samples, ridge)
    predicted = three(equivalent(num_samples, ridge))[:, 0]
    assert_within_sem(mean, sem, predicted)
    # the classical theory, without the self-consistent ridge, is far outside
    naive = three(equivalent(1e9, ridge))[:, 0]
    assert np.all(np.abs(mean - naive) > 20 * sem)
    # and so is a train error with one factor ridge / nu instead of two
    share = np.sqrt(predicted[1] / predicted[0])
    assert abs(mean[1] - share * predicted[0]) > 20 * sem[1]


def test_slope_of_the_objective_is_half_the_squared_norm():
    """d objective / d ridge = (objective - train) / ridge, for any data at once."""
    ridges = np.array([1e-3, 0.02, 0.5])
    step = 1e-4
    up, middle, down = (
        equivalent(np.full(3, 70.0), ridges * factor) for factor in (1 + step, 1.0, 1 - step)
    )
    slope = (up.objective.value - down.objective.value) / (2 * step * ridges)
    # a central difference: relative error of order step^2 = 1e-8
    expected = (middle.objective.value - middle.train.value) / ridges
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_identity_covariance_has_the_marchenko_pastur_solution():
    """All eigenvalues 1: nu solves a quadratic equation, and the errors are rational in it."""
    k, m, ridge = 50, 80.0, 0.3
    slopes = np.ones(k) / np.sqrt(k)
    linear = 1 - ridge - k / m
    nu = (-linear + np.sqrt(linear**2 + 4 * ridge)) / 2
    bias, noise = (nu / (1 + nu)) ** 2, 0.5
    test = (bias + noise) / (1 - k / m / (1 + nu) ** 2)
    objective = ridge / nu * (1.5 - 1 / (1 + nu))
    curves = deterministic_equivalent(np.eye(k), slopes, 1.5, num_samples=m, ridge=ridge)
    expected = np.array([test, (ridge / nu) ** 2 * test, objective]) / 2
    assert_allclose(three(curves)[:, 0], expected, loss=1e-4)


@pytest.mark.parametrize(("num_samples", "ridge"), [(60, 0.02), (180, 1e-3)])
def test_is_the_state_evolution_of_gaussian_covariates(num_samples, ridge):
    """The fixed point of loureiro2021learning for the square loss, iterated to convergence."""
    omega, theta = WIDTH * EIGENVALUES, WIDTH * CROSS  # its features carry 1 / sqrt(k)
    alpha, penalty = num_samples / WIDTH, ridge * num_samples
    v = q = overlap = 0.0
    for _ in range(3000):
        v_hat = overlap_hat = alpha / (1 + v)
        q_hat = alpha * (SECOND_MOMENT + q - 2 * overlap) / (1 + v) ** 2
        resolvent = 1 / (penalty + v_hat * omega)
        v = np.mean(omega * resolvent)
        q = np.mean((q_hat * omega + overlap_hat**2 * theta**2) * omega * resolvent**2)
        overlap = overlap_hat * np.mean(theta**2 * resolvent)
    test = SECOND_MOMENT + q - 2 * overlap
    norm = np.mean((q_hat * omega + overlap_hat**2 * theta**2) * resolvent**2) * WIDTH
    train = test / (1 + v) ** 2
    expected = [[test / 2], [train / 2], [train / 2 + ridge / 2 * norm]]
    assert_allclose(three(equivalent(num_samples, ridge)), expected, loss=1e-2)


def test_limits():
    """An infinite ridge learns nothing; infinitely many samples leave the population's ridge."""
    assert_allclose(three(equivalent(100, 1e9)), np.full((3, 1), SECOND_MOMENT / 2))
    ridge = 0.1
    w = CROSS / (EIGENVALUES + ridge)
    test = (SECOND_MOMENT - 2 * w @ CROSS + w @ (EIGENVALUES * w)) / 2
    expected = [[test], [test], [test + ridge / 2 * w @ w]]
    assert_allclose(three(equivalent(1e12, ridge)), expected, loss=1e-2)


def test_scale_and_rotation_of_features_do_not_matter():
    """Features times c with a ridge times c^2, or rotated, are the same problem."""
    base = three(equivalent([50, 200], 0.05))
    assert_allclose(three(equivalent([50, 200], 0.05, scale=7.0)), base, loss=1e-3)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((WIDTH, WIDTH)))[0]
    for covariance in (rotation * EIGENVALUES @ rotation.T, (EIGENVALUES, rotation)):
        curves = deterministic_equivalent(
            covariance, rotation @ CROSS, SECOND_MOMENT, num_samples=[50, 200], ridge=0.05
        )
        assert_allclose(three(curves), base, loss=1e-3)


def test_curves_carry_grid_and_assumptions():
    """The list is the grid; only the training errors depend on the noise of the features."""
    curves = equivalent([50, 200], np.array([0.05, 0.1]))
    assert curves.test.grid_name == "num_samples"
    assert_allclose(curves.test.grid, [50.0, 200.0])
    assert_allclose(three(curves)[:, 1:], three(equivalent(200, 0.1)))
    names = [a.name for a in curves.test.assumptions]
    more = [a.name for a in curves.train.assumptions]
    assert names == more[:-1] == [a.name for a in curves.objective.assumptions][:-1]
    assert "learnt" in more[-1]


@pytest.mark.parametrize(
    "change",
    [
        {"covariance": -np.eye(2)},
        {"covariance": np.array([[1.0, 0.5], [0.0, 1.0]])},
        {"covariance": np.zeros((0, 0))},
        {"covariance": np.ones(2)},
        {"covariance": (np.ones(3), np.eye(2))},
        {"covariance": np.diag([1.0, np.nan])},
        {"cross": np.ones(3)},
        {"cross": np.array([1.0, np.inf])},
        {"second_moment": 0.5},
        {"second_moment": -1.0},
        {"num_samples": 0},
        {"num_samples": [[1.0]]},
        {"num_samples": True},
        {"ridge": 0.0},
        {"ridge": np.nan},
        {"ridge": [1.0, 2.0, 3.0]},
    ],
    ids=str,
)
def test_refuses_what_is_no_ridge_problem(change):
    """One sentence with what was expected and received."""
    case = {
        "covariance": np.eye(2),
        "cross": np.ones(2),
        "second_moment": 3.0,
        "num_samples": [2, 4],
        "ridge": 0.1,
        **change,
    }
    with pytest.raises(ValueError, match=r"^Expected .* Received: "):
        deterministic_equivalent(
            case["covariance"],
            case["cross"],
            case["second_moment"],
            num_samples=case["num_samples"],
            ridge=case["ridge"],
        )


def test_grids_refuse_two_lists_and_words():
    """At most one ratio varies; numbers are numbers."""
    with pytest.raises(ValueError, match="at most one of width_ratio, sample_ratio"):
        grid_of(width_ratio=[1.0], sample_ratio=[1.0])
    for wrong in ("1", None, [[1.0], [1.0, 2.0]], [], 1j):
        with pytest.raises(ValueError, match=r"^Expected width_ratio"):
            grid_of(width_ratio=wrong)
    with pytest.raises(ValueError, match="as one number"):
        number("noise_std", [1.0])


def test_curves_keep_their_own_values():
    """A constant error is repeated along the grid, and no curve shares memory with another."""
    curves = error_curves(grid_of(m=[1, 2]), (1.0, 2.0, 3.0), reference="derived here")
    assert_allclose(three(curves), [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    curves.test.value[0] = 5.0
    assert curves.train.value[0] == 2.0
