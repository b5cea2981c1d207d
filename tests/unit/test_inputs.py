import jax
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.inputs import Gaussian
from twolayer.numerics.montecarlo import mean_and_error


def test_first_four_moments(getkey):
    """Sampled means, covariances and fourth moments are those of the standard normal law."""
    x = np.asarray(Gaussian(3).sample(100_000, key=getkey()))
    assert x.shape == (100_000, 3)
    assert_within_sem(*mean_and_error(x), 0.0)
    assert_within_sem(*mean_and_error(x[:, :, None] * x[:, None, :]), np.eye(3))
    assert_within_sem(*mean_and_error(x**4), 3.0)


def test_the_key_decides(getkey):
    """The same key gives the same sample, another key another."""
    key = getkey()
    first, again = Gaussian(2).sample(4, key=key), Gaussian(2).sample(4, key=key)
    np.testing.assert_array_equal(first, again)
    assert not np.any(np.asarray(first) == np.asarray(Gaussian(2).sample(4, key=getkey())))


@pytest.mark.parametrize("dim", [0, -1])
def test_wrong_dimension_raises(dim):
    """A dimension that is not a positive integer is refused with what was received."""
    with pytest.raises(ValueError, match=rf"at least 1\. Received: {dim}"):
        Gaussian(dim)


def test_dimension_is_static():
    """The dimension is structure, not an array: a law of inputs has no leaves."""
    assert jax.tree.leaves(Gaussian(5)) == []
