"""One gradient step: the network against its Hermite equivalent and against the paper's figures."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import pytest

from twolayer.activations import activation_of, relu
from twolayer.activations.hermite_equivalent import HermiteEquivalent
from twolayer.dynamics.base import in_single_precision
from twolayer.dynamics.one_step import OneStep, train_one_step
from twolayer.dynamics.readout import Ridge
from twolayer.inputs import spiked_mixture
from twolayer.networks import one_step_network
from twolayer.targets import SingleIndex
from twolayer.tasks import Classification, Regression
from twolayer.theory.one_step.regimes import (
    capped_degree,
    data_strength,
    learning_rate,
    needed_degree,
    paper_degree,
)


class Setting(NamedTuple):
    """A point of the figures of demir2025asymptotic; `dim` inputs and as many samples."""

    alpha: float = 0.5
    beta: float = 0.74
    ratio: float = 1.0  # neurons for each sample
    classes: bool = False
    proportion: float = 0.5
    overlap: float | None = None
    aligned: bool = False
    dim: int = 1000
    ridge: float = 1e-4


def problem(setting, seed):
    """The task with its own random directions, and the trace of each component's covariance."""
    generator = np.random.default_rng([seed, setting.dim])
    first, second, xi = (v / np.linalg.norm(v) for v in generator.normal(size=(3, setting.dim)))
    if setting.overlap is not None:
        second = second - (second @ first) * first
        second *= np.sqrt(1 - setting.overlap**2) / np.linalg.norm(second)
        second = setting.overlap * first + second
    if setting.aligned:
        xi = (first + second) / np.linalg.norm(first + second)
    theta = data_strength(setting.dim, setting.alpha, setting.beta)
    inputs = spiked_mixture(first[None], second[None], theta, proportion=setting.proportion)
    if setting.classes:
        return Classification(inputs, [1.0, -1.0]), setting.dim + theta
    norm = np.linalg.norm(np.asarray(inputs.covariance), 2)
    return Regression(inputs, SingleIndex(xi / np.sqrt(norm), relu)), setting.dim + theta


def errors(setting, name, degrees, seeds, *, noise=1.0):
    """Generalization and training errors of the network, then of its equivalents.

    Shape [2, seeds, 1 + degrees]; each seed has its own directions, data and network, which the
    models share. `noise` multiplies the equivalents' noise.
    """
    activation, dim = activation_of(name), setting.dim
    rate = learning_rate(dim, setting.alpha, setting.beta)
    algorithm = OneStep(rate, Ridge(setting.ridge), dim, 5 * dim)
    rows = []
    for seed in range(seeds):
        task, trace = problem(setting, seed)
        equivalents = [
            HermiteEquivalent.of(activation, degree, scale=(dim / trace) ** 0.5)
            for degree in degrees
        ]
        equivalents = [
            eqx.tree_at(lambda model: model.noise, model, noise * model.noise)
            for model in equivalents
        ]
        initial = partial(
            one_step_network, round(setting.ratio * dim), dim, activation, trace=trace
        )
        models = train_one_step(
            algorithm,
            in_single_precision(initial),
            task,
            equivalents=equivalents,
            trials=1,
            key=jax.random.key(seed),
        )
        rows.append([[float(part[0]) for part in (m.generalization, m.training)] for m in models])
    return np.moveaxis(np.asarray(rows), 2, 0)


def gap(values):
    """Relative gap of each equivalent to the network, a ratio of seed means, and its error.

    The error is that of the paired differences: model and network share their data.
    """
    network, models = values[:, :1], values[:, 1:]
    relative = models.mean(axis=0) / network.mean() - 1
    rest = (models - (1 + relative) * network) / network.mean()
    return relative, rest.std(axis=0, ddof=1) / np.sqrt(len(values))


# Generalization errors at n = m = 1000, relu / tanh / sigmoid. The first seven rows are those of
# an implementation in NumPy that shares nothing with this one (three seeds, in double precision),
# network and Hermite model within 1.5 % of each other; the last two are read off Fig. 2.
FIGURES = {
    "Fig. 1a, k/m = 1": (Setting(), (0.0214, 0.0344, 0.0181)),
    "Fig. 1a, k/m = 5": (Setting(ratio=5.0), (0.0156, 0.0304, 0.0169)),
    "Fig. 1b, alpha = 0": (Setting(alpha=0.0), (0.0020, 0.0032, 0.0017)),
    "Fig. 1b, alpha = 1": (Setting(alpha=1.0), (0.0936, 0.1600, 0.0863)),
    "Fig. 1c, beta = 0": (Setting(beta=0.0), (0.1056, 0.1697, 0.0896)),
    "Fig. 1c, beta = 1": (Setting(beta=1.0), (0.0095, 0.0153, 0.0081)),
    "Fig. 2, half": (Setting(classes=True), (0.720, 0.746, 0.536)),
    "Fig. 2, 0.889": (Setting(classes=True, proportion=0.889), (0.289, 0.739, 0.211)),
    "Fig. 2, orthogonal": (Setting(overlap=0.0), (0.0216, 0.0343, 0.018)),
    "Fig. 2, one direction": (Setting(overlap=1.0), (0.012, 0.019, 0.010)),
}


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("figure", FIGURES)
def test_the_figures_come_out(figure, activation):
    """Network and Hermite model have the figure's error within 5 %, and each other's within 3 %.

    Six seeds have a standard error of about 2 % here, which is that of the references too. The
    models' errors are compared on the same data. At beta = 0, where the ridge solution all but
    interpolates, the training errors of ReLU differ by 3.1(8) %.
    """
    setting, row = FIGURES[figure]
    reference = row[("relu", "tanh", "sigmoid").index(activation)]
    degree = capped_degree(setting.beta)
    generalization, training = errors(setting, activation, (degree,), seeds=6)
    np.testing.assert_allclose(generalization.mean(axis=0), reference, rtol=0.05)
    assert abs(gap(generalization)[0][0]) < 0.03
    assert abs(gap(training)[0][0]) < 0.05


@pytest.mark.slow
def test_the_noise_of_the_linear_model_is_needed():
    """ReLU at n = 1000, labels by a random direction: the noisy linear model has the errors.

    Eq. 8 of demir2025asymptotic. Without its noise it is off by a fifth; measured, four seeds:
    0.4(5) %, without noise -22.0(5) %, with twice its variance +17.3(6) %.
    """
    with_noise, without, twice = (
        gap(errors(Setting(), "relu", (1,), seeds=4, noise=noise)[0])[0][0]
        for noise in (1.0, 0.0, 2**0.5)
    )
    assert abs(with_noise) < 0.03
    assert without < -0.15
    assert twice > 0.12


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.6, 0.74])
def test_one_degree_less_fails_and_ever_more(beta):
    """Labels by the sum of the spikes, alpha = 0: the linear model is off, and more so as n grows.

    ReLU, whose third Hermite coefficient is 0. The degrees of Theorem 4 (2 at beta = 0.6, 3 at
    0.74) stay within 5 %. Measured in percent at n = 100, 200, 400: linear 35(3), 45(3), 59(3)
    and 88(4), 132(5), 201(6); the theorem's degree 0.4(11), -1.9(8), -3.6(5) and 1.5(14),
    -1.8(8), -0.8(7). That the latter vanish cannot be seen: by the size of the shifts they fall
    like n^-0.1 and n^-0.02 (at beta = 0.6, -4.1(4) at n = 800, -3.6(3) at 1600).
    """
    degree = paper_degree(beta).degree
    assert needed_degree(0.0, beta).degree == degree
    linear, enough, uncertainty = [], [], []
    for dim, seeds in ((100, 60), (200, 40), (400, 30)):
        setting = Setting(alpha=0.0, beta=beta, aligned=True, dim=dim)
        relative, error = gap(errors(setting, "relu", (1, degree), seeds)[0])
        linear.append(relative[0])
        enough.append(relative[1])
        uncertainty.append(error)
    uncertainty = np.asarray(uncertainty)
    assert linear[0] > 5 * uncertainty[0, 0]
    assert linear[2] - linear[0] > 3 * np.hypot(uncertainty[0, 0], uncertainty[2, 0])
    assert np.all(np.abs(enough) < 0.05 + 2 * uncertainty[:, 1])


@pytest.mark.slow
def test_the_gap_shrinks_at_the_needed_degree_and_not_below():
    """At beta = 0.3 the linear model's gap shrinks with n, the constant model's grows.

    alpha = 0, ReLU, labels by the sum of the spikes; ridge k = 1 at all sizes, so that it has a
    limit. The shifts promise n^-0.2. Measured in percent at n = 100, 200, 400, 800: degree 1
    2.6(2), 1.9(2), 1.3(1), 1.3(1); degree 0 57.5(8), 66.7(8), 74.5(7), 86.3(9).
    """
    assert paper_degree(0.3).degree == needed_degree(0.0, 0.3).degree == 1
    gaps, uncertainty = [], []
    for dim, seeds in ((100, 200), (400, 60)):
        setting = Setting(alpha=0.0, beta=0.3, aligned=True, dim=dim, ridge=1 / dim)
        relative, error = gap(errors(setting, "relu", (0, 1), seeds)[0])
        gaps.append(relative)
        uncertainty.append(error)
    change, error = gaps[1] - gaps[0], np.hypot(*uncertainty)
    assert change[0] > 4 * error[0]
    assert change[1] < -2 * error[1]
    assert 0 < gaps[1][1] < 0.03


@pytest.mark.slow
def test_degree_and_noise_matter_at_small_size():
    """At n = 100 already: with aligned labels degree 3 is near and 1 is far, noise left out too.

    Measured in percent, 12 seeds: 2(4) and 93(14); at random labels 4(6) for the linear model and
    -49(3) without its noise.
    """
    aligned = Setting(alpha=0.0, aligned=True, dim=100)
    linear, cubic = gap(errors(aligned, "relu", (1, 3), seeds=12)[0])[0]
    assert linear > 0.4
    assert abs(cubic) < 0.2
    noisy, noiseless = (
        gap(errors(Setting(dim=100), "relu", (1, 3), seeds=12, noise=noise)[0])[0][0]
        for noise in (1.0, 0.0)
    )
    assert abs(noisy) < 0.15
    assert noiseless < -0.25
