"""One gradient step of the maximal size: the first layer's law, and errors against simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import linalg

from twolayer.theory.one_step.coefficients import UnitRows
from twolayer.theory.one_step.maximal_learning_rate import (
    maximal_learning_rate,
    point_errors,
    profiles_of,
)
from twolayer.theory.one_step.maximal_step import bulk_spectrum, step_law
from twolayer.theory.one_step.random_features import random_features_ridge

# learning rate, m0 / d, lam of the sum of squares (public notebooks of cui2024asymptotics)
SINE = ("sin", np.sin, 3.0, 20.0, 0.1)
TANH = ("tanh", np.tanh, 1.0, 0.5, 0.01)


def one_step(rng, dim, width, link, rate, step_ratio, *, noise_std=0.0, unit_rows=False):
    """Weights of a tanh network after the step, the gradient's direction, the teacher."""
    W = rng.standard_normal((width, dim)) / np.sqrt(dim)
    if unit_rows:
        W /= np.linalg.norm(W, axis=1, keepdims=True)
    teacher = np.eye(dim)[0]
    x = rng.standard_normal((int(step_ratio * dim), dim))
    y = link(x @ teacher) + noise_std * rng.standard_normal(len(x))
    single = x.astype(np.float32)  # the step's sums are far from needing double
    feature = np.tanh(single @ W.T.astype(np.float32))
    residual = y - feature.mean(axis=1)
    v = residual @ x
    pull = residual[:, None].astype(np.float32) * (1 - feature**2)
    W = W + rate / len(x) * (pull.T @ single).astype(np.float64)
    return W, v / np.linalg.norm(v), teacher


def ridge_errors(rng, W, teacher, link, num_samples, lam, num_test=6000):
    """Twice test and training error and objective of ridge regression on fresh samples."""
    width, dim = W.shape
    x = rng.standard_normal((num_samples, dim))
    y = link(x @ teacher)
    phi = np.tanh(x @ W.T) / np.sqrt(width)
    w = linalg.solve(phi.T @ phi + lam * np.eye(width), phi.T @ y, assume_a="pos")
    train = np.mean((y - phi @ w) ** 2)
    x = rng.standard_normal((num_test, dim))
    test = np.mean((link(x @ teacher) - np.tanh(x @ W.T) @ w / np.sqrt(width)) ** 2)
    return test, train, train + lam / num_samples * (w @ w)


def theory(case, ratios, activation="tanh"):
    """Twice the three errors at k = d, shape [3, t]."""
    name, _, rate, step_ratio, lam = case
    curves = maximal_learning_rate(
        activation,
        name,
        learning_rate=rate,
        step_ratio=step_ratio,
        width_ratio=1.0,
        sample_ratio=ratios,
        scaled_ridge=lam / np.asarray(ratios),
    )
    return 2 * np.stack([curves.test.value, curves.train.value, curves.objective.value])


def printed(case, ratios):
    """Twice the test error with the bulk ``sqrt(c) W0`` of cui2024asymptotics."""
    name, _, rate, step_ratio, lam = case
    law = step_law("tanh", name, learning_rate=rate, step_ratio=step_ratio)
    flat = np.array([[law.variance, 0.0], [0.0, 0.0]])
    law = replace(law, initial=law.variance, gradient=0.0, fluctuations=flat)
    profiles = profiles_of(law, "tanh", name)
    return np.array([point_errors(law, profiles, 1.0, a, lam / a)[0] for a in ratios])


@pytest.mark.parametrize("activation", ["tanh", "softplus", UnitRows("softplus"), UnitRows("erf")])
def test_without_a_step_it_is_random_features(activation):
    """At learning rate 0 all three errors are those of random features, to rounding."""
    setting = {
        "width_ratio": 1.5,
        "sample_ratio": [0.7, 2.0],
        "scaled_ridge": 0.1,
        "noise_std": 0.2,
    }
    curves = maximal_learning_rate(activation, "tanh", learning_rate=0.0, step_ratio=3.0, **setting)
    known = random_features_ridge(activation, "tanh", **setting)
    for name in ("test", "train", "objective"):
        np.testing.assert_allclose(
            getattr(curves, name).value, getattr(known, name).value, rtol=1e-9
        )


def test_printed_bulk_gives_the_published_numbers():
    """The newest public code of cui2024asymptotics prints these at p = d = 2000.

    Its spectrum is drawn: sums of 2000 squared Gaussians fluctuate by 3 %, and enter by a part.
    """
    published = [0.048446, 0.042414, 0.037205, 0.034190, 0.032400]
    np.testing.assert_allclose(printed(SINE, [0.2, 0.9, 1.6, 2.3, 3.0]), published, rtol=0.01)


@pytest.mark.parametrize("noise_std", [0.0, 0.4])
def test_rows_have_the_predicted_law(noise_std):
    """Spike, alignment, mean length and the three covariances of drawn rows.

    Within 3 standard errors and 5 / d, the next order. A missing factor 2 in any of the terms of
    the covariances is 10 to 100 %.
    """
    dim, rate, ratio = 300, 2.5, 1.0
    rng = np.random.default_rng(3)
    found = []
    for _ in range(16):
        W, v, teacher = one_step(rng, dim, 800, np.sin, rate, ratio, noise_std=noise_std)
        along = W @ v
        lengths = np.sum(W**2, axis=1) - along**2
        covariance = dim * np.cov(along, lengths)
        found.append([along.mean(), v @ teacher, lengths.mean(), *covariance.ravel()[[0, 1, 3]]])
    mean, sem = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / 4
    law = step_law("tanh", "sin", learning_rate=rate, step_ratio=ratio, noise_std=noise_std)
    flat = law.fluctuations.ravel()[[0, 1, 3]]
    expected = np.array([law.spike, law.alignment, law.variance, *flat])
    assert np.all(sem < 0.04 * np.abs(expected))
    assert np.all(np.abs(mean - expected) < 3 * sem + 5 / dim * np.abs(expected)), (mean, expected)


def test_traces_of_the_bulk_are_those_of_drawn_weights():
    """Few samples in the step: the gradient's noise is not isotropic, and avoids the teacher.

    Within 3 standard errors and what the one missing direction does to the traces. With an
    isotropic bulk c W0 the teacher's direction is 6 % off.
    """
    dim, tau, rate, ratio = 300, 0.3, 2.5, 0.5
    rng = np.random.default_rng(8)
    rows = []
    for _ in range(24):
        W, v, teacher = one_step(rng, dim, dim, np.tanh, rate, ratio)
        P = W - np.outer(W @ v, v)
        z = teacher - (teacher @ v) * v
        Pz = P @ z / np.linalg.norm(z)
        inverse = np.linalg.inv(P @ P.T + tau * np.eye(dim))
        solved = inverse @ Pz
        rows.append([
            np.trace(inverse) / dim,
            np.sum(inverse**2) / dim,
            Pz @ solved,
            solved @ solved,
        ])
    mean, sem = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows))
    law = step_law("tanh", "tanh", learning_rate=rate, step_ratio=ratio)
    bulk = bulk_spectrum(law, 1.0, tau)
    expected = np.array([bulk.trace, bulk.trace_drop, bulk.teacher, bulk.teacher_drop])
    rank = np.array([1 / tau, 1 / tau**2, 1, 1 / tau]) / dim
    assert np.all(np.abs(mean - expected) < 3 * sem + rank), (mean, sem, expected)
    flat = bulk_spectrum(replace(law, initial=law.variance, gradient=0.0), 1.0, tau)
    assert abs(mean[2] - flat.teacher) > 4 * sem[2]


def test_errors_are_those_of_small_networks():
    """Test and training error and objective at d = 250, within 3 standard errors plus 4 / d."""
    dim, ratio = 250, 3.0
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(16):
        W, _, teacher = one_step(rng, dim, dim, np.tanh, *TANH[2:4])
        runs.append(ridge_errors(rng, W, teacher, np.tanh, int(ratio * dim), TANH[4]))
    mean, sem = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) / 4
    expected = theory(TANH, [ratio])[:, 0]
    assert np.all(sem < 0.05 * expected)
    assert np.all(np.abs(mean - expected) < 3 * sem + 4 / dim * expected), (mean, sem, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "ratios", "seeds"),
    [(SINE, [0.9, 2.3], 6), (TANH, [0.667, 3.0], 6)],
    ids=["sin", "tanh"],
)
def test_errors_are_those_of_networks_of_a_thousand_neurons(case, ratios, seeds):
    """At d = k = 1000 all three errors are met within 3 standard errors or 2 %."""
    dim = 1000
    rng = np.random.default_rng(1)
    runs = []
    for _ in range(seeds):
        W, _, teacher = one_step(rng, dim, dim, case[1], *case[2:4])
        runs.append([
            ridge_errors(rng, W, teacher, case[1], int(a * dim), case[4], 10_000) for a in ratios
        ])
    mean = np.mean(runs, axis=0).T
    sem = np.std(runs, axis=0, ddof=1).T / np.sqrt(seeds)
    expected = theory(case, ratios)
    assert np.all(sem[0] < 0.03 * mean[0])
    assert np.all(np.abs(mean - expected) < np.maximum(3 * sem, 0.02 * expected)), (mean, sem)


@pytest.mark.slow
def test_lengths_of_gaussian_rows_help():
    """Paired networks with Gaussian and unit rows differ, by the predicted amount.

    Within 3 standard errors and 20 %: the difference itself shrinks by that from d = 300 on.
    """
    dim, ratios, gaps = 300, [0.9, 2.3], []
    for seed in range(25):
        errors = []
        for unit_rows in (False, True):
            rng = np.random.default_rng(seed)
            W, _, teacher = one_step(rng, dim, dim, np.sin, *SINE[2:4], unit_rows=unit_rows)
            errors.append([
                ridge_errors(rng, W, teacher, np.sin, int(a * dim), SINE[4])[0] for a in ratios
            ])
        gaps.append(np.subtract(*errors))
    mean, sem = np.mean(gaps, axis=0), np.std(gaps, axis=0, ddof=1) / np.sqrt(len(gaps))
    expected = theory(SINE, ratios)[0] - theory(SINE, ratios, UnitRows("tanh"))[0]
    assert np.all(mean < -4 * sem)
    assert np.all(np.abs(mean - expected) < 3 * sem - 0.2 * expected), (mean, sem, expected)


def test_an_uneven_activation_is_told_to_go_elsewhere():
    """ReLU's even part correlates the gradient's noise: the assumption fails, names the way out."""
    setting = {"learning_rate": 2.0, "step_ratio": 4.0, "width_ratio": 1.0}
    setting |= {"sample_ratio": 1.0, "scaled_ridge": 0.1}
    for activation, odd in (("relu", False), ("sigmoid", True), ("tanh", True)):
        curves = maximal_learning_rate(activation, "tanh", **setting)
        found = {a.name: a for a in curves.test.assumptions}
        assert found["activation odd up to a constant"].holds is odd
        assert "conditional_equivalent" in found["activation odd up to a constant"].detail
    assert found["away from the interpolation peak"].holds is True


@pytest.mark.parametrize(
    ("activation", "changes"),
    [
        ("tanh", {"scaled_ridge": 1e-8}),  # on the interpolation peak
        ("x", {"scaled_ridge": 1e-8}),
        ("tanh", {"learning_rate": 1e3}),
        ("tanh", {"step_ratio": 1e-3}),
        ("tanh", {"width_ratio": 0.02}),
        ("tanh", {"width_ratio": 50.0}),
        ("tanh", {"sample_ratio": 1e4}),
        ("erf", {"scaled_ridge": 1e6}),
    ],
)
def test_extreme_ratios_converge(activation, changes):
    """Every curve is finite, train <= objective <= test, and the objective at most E y^2 / 2."""
    setting = {"learning_rate": 1.0, "step_ratio": 1.0, "width_ratio": 1.0, "sample_ratio": 1.0}
    curves = maximal_learning_rate(
        activation, "tanh", **(setting | {"scaled_ridge": 0.1} | changes)
    )
    test, train, objective = (
        part.value[0] for part in (curves.test, curves.train, curves.objective)
    )
    assert curves.test.status == "finished"
    assert 0 < train < objective < 0.3943 / 2
    assert test > train


def test_slope_of_the_objective_is_the_penalty():
    """d objective / d ridge = |w|^2 / 2 = (objective - train) / ridge: the envelope theorem."""

    def curve(ridge):
        return maximal_learning_rate(
            "tanh", "sin", learning_rate=2.0, step_ratio=2.0, width_ratio=1.5,
            sample_ratio=1.0, scaled_ridge=ridge, noise_std=0.3,
        )  # fmt: skip

    ridge, step = 0.2, 1e-5
    slope = (curve(ridge + step).objective.value - curve(ridge - step).objective.value) / (2 * step)
    here = curve(ridge)
    assert slope == pytest.approx((here.objective.value - here.train.value) / ridge, rel=1e-6)


@pytest.mark.parametrize(
    ("activation", "link", "changes", "message"),
    [
        ("abs", "tanh", {}, "linear part"),
        ("tanh", "0*x", {}, "gradient vanishes"),
        ("tanh", "tanh", {"learning_rate": -1.0}, "learning_rate"),
        ("tanh", "tanh", {"learning_rate": np.nan}, "learning_rate"),
        ("tanh", "tanh", {"step_ratio": 0.0}, "step_ratio"),
        ("tanh", "tanh", {"width_ratio": [1.0, 2.0], "sample_ratio": [1.0, 2.0]}, "at most one"),
        ("tanh", "tanh", {"scaled_ridge": 0.0}, "scaled_ridge"),
        ("tanh", "tanh", {"noise_std": True}, "noise_std"),
    ],
)
def test_bad_input_is_refused(activation, link, changes, message):
    """One sentence for each, never a NaN."""
    setting = {"learning_rate": 2.0, "step_ratio": 4.0, "width_ratio": 1.0, "sample_ratio": 1.0}
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        maximal_learning_rate(activation, link, **(setting | {"scaled_ridge": 0.1} | changes))
