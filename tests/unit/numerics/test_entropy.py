"""Entropy estimates against exact entropies, and densities of mixtures against SciPy."""

import numpy as np
import pytest
from scipy import stats

from helpers import assert_allclose
from twolayer.numerics.entropy import (
    kernel_density_entropy,
    mixture_log_density,
    nearest_neighbour_entropy,
)

COVARIANCE = np.array([[4.0, 1.2], [1.2, 0.5]])


def repeated(estimate, draw, repeats=24):
    """Mean error, its standard error, and the error that the estimates claim."""
    rng = np.random.default_rng(5)
    found = [estimate(draw(rng)) for _ in range(repeats)]
    means = np.array([one.mean for one in found])
    claimed = np.mean([one.error for one in found])
    return np.mean(means), np.std(means, ddof=1) / np.sqrt(repeats), claimed * repeats**-0.5


ESTIMATES = {
    "one neighbour": nearest_neighbour_entropy,
    "five neighbours": lambda samples: nearest_neighbour_entropy(samples, 5),
    "kernel": kernel_density_entropy,
}
LAWS = {
    "normal on a line": (stats.norm(2.0, 3.0), 1),
    "uniform": (stats.uniform(0, 5), 1),
    "correlated normal": (stats.multivariate_normal([1.0, -2.0], COVARIANCE), 2),
}


@pytest.mark.parametrize("name", ESTIMATES)
@pytest.mark.parametrize("law", LAWS)
def test_entropies_of_known_laws(name, law):
    """Right within a bias of .04, or .08 where a kernel smooths two edges; errors as claimed.

    A factor of 2 or a square root gone wrong would move an entropy by .3 at least.
    """
    law, d = LAWS[law]

    def draw(rng):
        return law.rvs(1500, random_state=rng).reshape(-1, d)

    mean, error, claimed = repeated(ESTIMATES[name], draw)
    bias = 0.08 if name == "kernel" and law is LAWS["uniform"][0] else 0.04
    assert abs(mean - law.entropy()) < bias
    assert error < 0.012
    assert claimed / 2 < error < 2 * claimed  # the spread of 24 repeats is known to 15 %


def test_entropy_moves_with_units():
    """Scaling by c adds ``d log c``; the estimates do so exactly."""
    samples = np.random.default_rng(0).standard_normal((200, 3))
    for estimate in ESTIMATES.values():
        shift = estimate(5 * samples).mean - estimate(samples).mean
        assert_allclose(shift, 3 * np.log(5), loss=1e-5)


def test_kernel_estimate_is_the_plain_double_sum():
    """The streamed one is SciPy's normal density summed over all pairs but the diagonal."""
    samples = np.random.default_rng(1).standard_normal((60, 2)) @ [[2.0, 0.3], [0.0, 0.5]]
    kernel = stats.multivariate_normal(np.zeros(2), np.cov(samples.T) * 60 ** (-2 / 6))
    density = kernel.pdf(samples[:, None] - samples[None])
    np.fill_diagonal(density, 0)
    expected = -np.mean(np.log(density.sum(axis=1) / 59))
    assert_allclose(kernel_density_entropy(samples).mean, expected, loss=1e-6)


def test_nearest_neighbours_are_the_plain_distances():
    """By sorting all distances, with the special functions spelt out for two dimensions."""
    samples = np.random.default_rng(2).standard_normal((50, 2))
    distance = np.linalg.norm(samples[:, None] - samples[None], axis=2)
    third = np.sort(distance, axis=1)[:, 3]
    digamma = np.sum(1 / np.arange(3, 50))  # psi(50) - psi(3)
    expected = digamma + np.log(np.pi) + 2 * np.mean(np.log(third))
    assert_allclose(nearest_neighbour_entropy(samples, 3).mean, expected, loss=1e-6)


def test_mixture_density_is_scipys(monkeypatch):
    """In chunks, far away and with unequal deviations."""
    monkeypatch.setattr("twolayer.numerics.entropy._PAIRS", 50)
    rng = np.random.default_rng(3)
    centres, points = rng.standard_normal((20, 2)), 5 * rng.standard_normal((30, 2))
    deviations = np.array([0.3, 2.0])
    each = [stats.multivariate_normal(c, np.diag(deviations**2)).pdf(points) for c in centres]
    found = mixture_log_density(points, centres, deviations)
    assert_allclose(found, np.log(np.mean(each, axis=0)), loss=1e-6)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((3, 1)), "coincide"),
        (np.array([[0.0], [np.nan]]), "finite samples"),
        (np.zeros((1, 1)), "more than 1 samples"),
        (np.zeros(4), "table"),
        (np.zeros((4, 0)), "table"),
    ],
)
def test_bad_samples_are_refused(samples, message):
    """Ties, NaN, too few and misshapen samples."""
    with pytest.raises(ValueError, match=message):
        nearest_neighbour_entropy(samples)


def test_degenerate_samples_are_refused():
    """A kernel estimate needs a covariance of full rank; neighbours are counted from 1."""
    rng = np.random.default_rng(4)
    line = rng.standard_normal((30, 1)) @ np.ones((1, 2))
    for samples in (line, rng.standard_normal((2, 2)), np.zeros((5, 1))):
        with pytest.raises(ValueError, match="span"):
            kernel_density_entropy(samples)
    for number in (0, True, -1):
        with pytest.raises(ValueError, match="at least one neighbour"):
            nearest_neighbour_entropy(line, number)
