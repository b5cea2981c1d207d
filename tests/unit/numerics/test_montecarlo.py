import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.numerics.montecarlo import mean_and_error


def test_mean_and_error_by_hand():
    """Of 1, 2, 6 the mean is 3 and the standard error sqrt(7) / sqrt(3)."""
    mean, error = mean_and_error(np.array([1.0, 2.0, 6.0]))
    assert mean == pytest.approx(3.0)
    assert error == pytest.approx(np.sqrt(7.0 / 3.0))


def test_each_column_has_its_own_error():
    """Trailing axes are kept; a constant column has error 0."""
    samples = np.stack([np.arange(4.0), np.full(4, 2.0)], axis=1)
    mean, error = mean_and_error(samples)
    np.testing.assert_allclose(mean, [1.5, 2.0])
    assert error[1] == 0
    assert error[0] == pytest.approx(np.std(np.arange(4.0), ddof=1) / 2)


def test_one_sample_has_infinite_error():
    """A single sample says nothing about its error, so the error is infinite, not 0."""
    mean, error = mean_and_error(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(mean, [1.0, 2.0])
    assert np.all(np.isinf(error))


def test_error_covers_the_truth():
    """Over 400 repetitions, two standard errors cover the truth about 95 % of the time."""
    rng = np.random.default_rng(1)
    mean, error = mean_and_error(rng.exponential(size=(200, 400)))
    covered = np.mean(np.abs(mean - 1.0) <= 2 * error)
    assert 0.91 < covered < 0.98


def test_assert_within_sem_is_not_vacuous():
    """The comparison used in other tests fails on a mean five errors away and on NaN."""
    with pytest.raises(AssertionError, match="standard errors"):
        assert_within_sem(1.0, 0.1, 1.5)
    with pytest.raises(AssertionError, match="not a number"):
        assert_within_sem(np.nan, 0.1, 1.5)
    assert_within_sem([1.0, 2.0], [0.1, 0.1], [1.3, 2.0])
