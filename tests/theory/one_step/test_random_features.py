"""Random features: closed errors against simulations, numerical spectra and other theories."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import assert_allclose, assert_within_sem, numpy_value
from twolayer.activations import activation_of
from twolayer.theory.one_step.coefficients import UnitRows, bare, centred, coefficients
from twolayer.theory.one_step.deterministic_equivalent import deterministic_equivalent
from twolayer.theory.one_step.errors import grid_of
from twolayer.theory.one_step.random_features import (
    isotropic_errors,
    random_features_ridge,
    resolvent,
    solve_bulk,
)

DIM = 200


def three(curves):
    return np.array([curves.test.value, curves.train.value, curves.objective.value])


def numpy_of(activation):
    """The activation in NumPy; a centred one by its name."""
    function = bare(activation)
    name = function.facts.name
    if not name.startswith("centred "):
        return numpy_value(function)
    inner = activation_of(name.removeprefix("centred "))
    return lambda z: numpy_value(inner)(z) - coefficients(inner).mean


def simulated(activation, link, case, *, noise_std, draws=16, dim=DIM):
    """Mean errors of finite networks with ``case = (psi, alpha, scaled_ridge)`` and their SEM."""
    s, f = numpy_of(activation), numpy_of(link)
    width, samples = round(case[0] * dim), round(case[1] * dim)
    errors = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        W = rng.standard_normal((width, dim)) / np.sqrt(dim)
        if isinstance(activation, UnitRows):
            W /= np.linalg.norm(W, axis=1, keepdims=True)

        def labelled(n, rng=rng):
            x = rng.standard_normal((n, dim))
            return x, f(x[:, 0]) + noise_std * rng.standard_normal(n)

        x, y = labelled(samples)
        phi, ridge = s(x @ W.T) / np.sqrt(width), case[2] / width
        w = np.linalg.solve(phi.T @ phi / samples + ridge * np.eye(width), phi.T @ y / samples)
        train = np.mean((y - phi @ w) ** 2) / 2
        x, y = labelled(4000)
        test = np.mean((y - s(x @ W.T) @ w / np.sqrt(width)) ** 2) / 2
        errors.append([test, train, train + ridge / 2 * w @ w])
    errors = np.asarray(errors)
    return errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(draws)


@pytest.mark.parametrize(
    ("activation", "case", "expected"),
    [
        ("relu", (1.5, 1.5, 1e-3 * 1.5 * 300), 0.3061),
        ("tanh", (0.5, 1.5, 1e-2 * 0.5 * 300), 0.3848),
        ("tanh", (3.0, 1.5, 1e-2 * 3.0 * 300), 0.3697),
    ],
)
def test_agrees_with_an_independent_implementation(activation, case, expected):
    """Twice the test error for a tanh teacher with noise 0.2, to all four digits computed."""
    psi, alpha, ridge = case
    curves = random_features_ridge(
        activation, "tanh", width_ratio=psi, sample_ratio=alpha, scaled_ridge=ridge, noise_std=0.2
    )
    assert abs(2 * curves.test.value[0] - expected) < 5.1e-5


@pytest.mark.parametrize(
    ("activation", "link", "case"),
    [
        ("relu", "tanh", (1.5, 1.5, 0.45)),
        ("tanh", "relu", (0.5, 1.5, 0.02)),
        ("softplus", "gelu", (3.0, 1.5, 0.01)),
        ("abs", "sin", (1.0, 3.0, 0.1)),
        ("x", "cos_sin", (1.5, 1.0, 0.3)),
        (centred("relu"), "relu", (1.5, 2.0, 0.1)),
        (UnitRows(centred("relu")), "relu", (1.5, 2.0, 0.1)),
    ],
    ids=["kink", "odd", "mean", "no slope", "no rest", "no mean", "unit rows"],
)
def test_agrees_with_finite_networks(activation, link, case):
    """All three errors; kinks, means, no slope, no rest, constants that row lengths fit."""
    mean, sem = simulated(activation, link, case, noise_std=0.2)
    psi, alpha, ridge = case
    curves = random_features_ridge(
        activation, link, width_ratio=psi, sample_ratio=alpha, scaled_ridge=ridge, noise_std=0.2
    )
    predicted = three(curves)[:, 0]
    # besides its noise, a network of dimension d differs by order 1/d, relatively
    assert_within_sem(mean, sem + predicted / DIM / 2, predicted)


def test_a_factor_two_in_the_slope_is_seen():
    """With mu_1^2 doubled, the same check fails by many standard errors."""
    case, grid = (1.5, 1.5, 0.45), grid_of(width_ratio=1.5, sample_ratio=1.5)
    mean, sem = simulated("relu", "tanh", case, noise_std=0.2)
    teacher, features = coefficients("tanh"), coefficients("relu")
    for factor, least in ((1.0, 0.0), (2.0, 8.0), (0.5, 8.0)):
        wrong = replace(features, slope=features.slope * np.sqrt(factor))
        bulk = solve_bulk(wrong, grid, case[2])
        signal = teacher.slope**2 * bulk.gain, teacher.slope**2 * bulk.gain_change
        rho = teacher.second_moment + 0.04
        predicted = isotropic_errors(grid, bulk, rho, signal, assumptions=())
        deviations = np.abs(mean - three(predicted)[:, 0]) / sem
        assert np.max(deviations) >= least
        assert factor != 1.0 or np.max(deviations) < 4


def test_unit_rows_matter_where_only_row_lengths_carry_a_constant():
    """Gaussian and unit rows: 14 percent apart for centred ReLU on ReLU, for any dimension."""
    case = {"width_ratio": 1.5, "sample_ratio": 2.0, "scaled_ridge": 0.1, "noise_std": 0.2}
    gaussian, unit = (
        random_features_ridge(rows, "relu", **case).test.value[0]
        for rows in (centred("relu"), UnitRows(centred("relu")))
    )
    simulations = [
        simulated(rows, "relu", (1.5, 2.0, 0.1), noise_std=0.2)
        for rows in (centred("relu"), UnitRows(centred("relu")))
    ]
    (lower, lower_sem), (upper, upper_sem) = ((mean[0], sem[0]) for mean, sem in simulations)
    assert upper - lower > 5 * np.hypot(lower_sem, upper_sem)
    assert_within_sem(upper - lower, np.hypot(lower_sem, upper_sem), unit - gaussian)
    # without a constant in the target, or with a mean in the features, they are the same
    for activation, link in ((centred("relu"), "tanh"), ("relu", "relu"), ("tanh", "relu")):
        errors = [
            three(random_features_ridge(rows, link, **case))
            for rows in (activation, UnitRows(activation))
        ]
        assert_allclose(errors[0], errors[1], loss=1e-6)


@pytest.mark.parametrize("psi", [0.4, 1.0, 2.5])
def test_resolvent_is_the_spectrum_of_a_random_matrix(psi):
    """m_R(tau) = Tr (tau + mu_1^2 W^T W)^{-1} / d, below, at and above square, and its slope."""
    dim, features = 600, coefficients("erf")
    W = np.random.default_rng(0).standard_normal((round(psi * dim), dim)) / np.sqrt(dim)
    eigenvalues = np.maximum(np.linalg.eigvalsh(W.T @ W), 0.0)
    for tau in (0.1, 1.0):
        terms = 1 / (tau + features.slope**2 * eigenvalues)
        m, slope = resolvent(features, np.array([tau]), np.array([psi]))
        # linear statistics of the spectrum fluctuate by order 1/d
        np.testing.assert_allclose(m, np.mean(terms), rtol=4 / dim)
        np.testing.assert_allclose(slope, -np.mean(terms**2), rtol=8 / dim)
        step = 1e-6 * tau
        up, down = (
            resolvent(features, np.array([tau + e]), np.array([psi])) for e in (step, -step)
        )
        np.testing.assert_allclose(slope, (up[0] - down[0]) / (2 * step), rtol=1e-7)


def test_is_the_deterministic_equivalent_of_its_noisy_linear_features():
    """Omega = (mu_1^2 W W^T + mu_*^2) / k of a drawn W, put into the general formula."""
    dim, psi, alpha, ridge = 500, 1.4, 2.0, 0.05
    width = round(psi * dim)
    features, teacher = coefficients("tanh"), coefficients("x + x^3")
    errors = []
    for seed in range(6):
        W = np.random.default_rng(seed).standard_normal((width, dim)) / np.sqrt(dim)
        omega = (features.slope**2 * W @ W.T + features.rest * np.eye(width)) / width
        cross = features.slope * teacher.slope * W[:, 0] / np.sqrt(width)
        curves = deterministic_equivalent(
            omega,
            cross,
            teacher.second_moment,
            num_samples=alpha * dim,
            ridge=ridge / width,
        )
        errors.append(three(curves)[:, 0])
    curves = random_features_ridge(
        "tanh", "x + x^3", width_ratio=psi, sample_ratio=alpha, scaled_ridge=ridge
    )
    mean, sem = np.mean(errors, axis=0), np.std(errors, axis=0, ddof=1) / np.sqrt(6)
    assert_within_sem(mean, sem, three(curves)[:, 0])
    assert np.all(sem < 0.01 * mean)


def test_infinite_width_is_a_linear_kernel():
    """psi to infinity: ridge regression on mu_1 x / sqrt(d) with mu_*^2 / m added to the ridge."""
    dim, alpha, psi, ridge = 1000, 1.5, 1e7, 2e-4
    features, teacher = coefficients("tanh"), coefficients("sin")
    samples = alpha * dim
    cross = np.zeros(dim)
    cross[0] = features.slope * teacher.slope / np.sqrt(dim)
    kernel = deterministic_equivalent(
        (np.full(dim, features.slope**2 / dim), np.eye(dim)),
        cross,
        teacher.second_moment + 0.01,
        num_samples=samples,
        ridge=ridge + features.rest / samples,
    )
    wide = random_features_ridge(
        "tanh",
        "sin",
        width_ratio=psi,
        sample_ratio=alpha,
        scaled_ridge=ridge * psi * dim,
        noise_std=0.1,
    )
    # the width's correction is of order 1 / psi
    np.testing.assert_allclose(wide.test.value, kernel.test.value, rtol=1e-6)
    # the kernel's own ridge is part of the features there: only the rest is penalty
    share = ridge / (ridge + features.rest / samples)
    np.testing.assert_allclose(wide.train.value, share**2 * kernel.train.value, rtol=1e-6)
    np.testing.assert_allclose(wide.objective.value, share * kernel.objective.value, rtol=1e-6)


def test_an_infinite_ridge_learns_nothing_but_the_free_constant():
    """Half E y^2 without a mean in the features, half the variance of y with one."""
    case = {"width_ratio": 2.0, "sample_ratio": 2.0, "scaled_ridge": 1e10, "noise_std": 0.5}
    relu = coefficients("relu")
    half = (relu.second_moment + 0.25) / 2
    for activation, expected in (("tanh", half), ("softplus", half - relu.mean**2 / 2)):
        curves = random_features_ridge(activation, "relu", **case)
        assert_allclose(three(curves), np.full((3, 1), expected))


def test_without_slope_the_features_are_pure_noise():
    """abs has none: the test error is the target's variance over 1 - df_2 / m."""
    ridges = [1e-3, 10.0]
    curves = random_features_ridge(
        "abs", "sin", width_ratio=[0.5, 0.5], sample_ratio=1.0, scaled_ridge=ridges
    )
    tau = solve_bulk(coefficients("abs"), grid_of(width_ratio=[0.5, 0.5], sample_ratio=1.0), ridges)
    rest = coefficients("abs").rest
    expected = coefficients("sin").second_moment / 2 / (1 - 0.5 * (rest / tau.tau) ** 2)
    assert_allclose(curves.test.value, expected, loss=1e-4)


def test_the_scale_of_features_is_the_scale_of_the_ridge():
    """s times 3 with a ridge times 9 is the same problem, and the ridge that counts is ridge k."""
    case = {"width_ratio": [0.5, 1.0, 4.0], "sample_ratio": 1.0, "noise_std": 0.3}
    base = random_features_ridge("(1+x)^3", "tanh", scaled_ridge=0.7, **case)
    tripled = random_features_ridge("3*(1+x)^3", "tanh", scaled_ridge=6.3, **case)
    assert_allclose(three(tripled), three(base), loss=1e-4)
    assert np.max(np.abs(three(base)[0] / three(base)[0, 0] - 1)) > 0.05


def test_double_descent_without_ridge():
    """A tiny ridge: the test error peaks where width and samples agree, the train error ends."""
    widths = np.array([0.25, 0.5, 0.9, 1.0, 1.1, 2.0, 8.0])
    curves = random_features_ridge(
        "tanh", "tanh", width_ratio=widths, sample_ratio=1.0, scaled_ridge=1e-6, noise_std=0.3
    )
    assert np.argmax(curves.test.value) == 3
    assert np.all(np.diff(curves.train.value) < 0)
    assert np.all(curves.train.value[-2:] < 1e-8)


def test_grid_and_assumptions():
    """The list names the grid; smoothness and the mean of the activation are stated."""
    curves = random_features_ridge(
        "relu", "tanh", width_ratio=[1.0, 2.0], sample_ratio=1.0, scaled_ridge=[0.1, 0.2]
    )
    assert curves.test.grid_name == "width_ratio"
    single = random_features_ridge(
        "relu", "tanh", width_ratio=2.0, sample_ratio=1.0, scaled_ridge=0.2
    )
    assert_allclose(three(curves)[:, 1:], three(single))
    holds = {a.name: a.holds for a in curves.test.assumptions}
    assert holds["activation smooth"] is False
    odd = random_features_ridge(
        "tanh", "tanh", width_ratio=1.0, sample_ratio=[1.0], scaled_ridge=0.1
    )
    assert odd.test.grid_name == "sample_ratio"
    assert all(a.holds is not False for a in odd.train.assumptions)
    with pytest.raises(ValueError, match="scaled_ridge as a number or 2 of them"):
        random_features_ridge(
            "relu", "tanh", width_ratio=[1.0, 2.0], sample_ratio=1.0, scaled_ridge=[0.1]
        )
    with pytest.raises(ValueError, match="noise_std as finite numbers from 0 on"):
        random_features_ridge(
            "relu", "tanh", width_ratio=1.0, sample_ratio=1.0, scaled_ridge=0.1, noise_std=-1.0
        )
