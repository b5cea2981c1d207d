"""A user's own table: what is taken and what is refused."""

import numpy as np
import pytest

from helpers import assert_allclose
from twolayer.theory.gradient_features.samples import labelled_samples
from twolayer.theory.gradient_features.simplified_gradient import simplified_gradient

X = np.random.default_rng(0).standard_normal((10, 3))
Y = np.array(["b", "a"] * 5)


def test_gradient_of_a_users_table():
    """The first rows with labels -1 and 1, against the average written out."""
    data = labelled_samples(X, Y, num_samples=7)
    W = np.array([[1.0, -2.0, 0.5]])
    signs = np.where(Y[:7] == "b", 1.0, -1.0)
    expected = np.mean((signs * (X[:7] @ W[0] > 0.1))[:, None] * X[:7], axis=0)
    assert_allclose(simplified_gradient(data, W, 0.1).value[0], expected.astype(np.float32))


@pytest.mark.parametrize(
    ("x", "y", "count", "reason"),
    [
        (X, np.arange(10) % 3, None, "two classes"),
        (X, np.ones(10), None, "two classes"),
        (X, Y, 1, "from 2 to the 10"),
        (X, Y, 11, "from 2 to the 10"),
        (X, Y[:9], None, "one label for each"),
        (np.where(X > 1, np.nan, X), Y, None, "finite inputs"),
        (np.column_stack([X, np.full(10, 3.3)]), Y, None, "constant column 3; drop it"),
        (np.zeros((10, 9)), Y, None, "columns 0, 1, 2, 3, 4, 5, ...; drop them"),
    ],
)
def test_bad_tables_are_refused(x, y, count, reason):
    """Labels, columns and numbers of samples, each with its reason."""
    with pytest.raises(ValueError, match=reason):
        labelled_samples(x, y, num_samples=count)
