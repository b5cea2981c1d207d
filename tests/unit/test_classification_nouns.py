"""Nouns of classification: hypercube, isotropic and XOR mixtures, parities, labels."""

import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.inputs import Hypercube, isotropic_mixture
from twolayer.losses import HingeLoss
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.targets import MultiIndex, Parity, halfspace, sign_product
from twolayer.tasks import binary_labels, xor_mixture


def test_hypercube_moments(getkey):
    """Corners only, uncorrelated, mean 0."""
    x = np.asarray(Hypercube(3).sample(30_000, key=getkey()))
    assert set(np.unique(x)) == {-1.0, 1.0}
    assert_within_sem(*mean_and_error(x), 0.0)
    assert_within_sem(*mean_and_error(np.prod(x, axis=1)), 0.0)
    assert_within_sem(*mean_and_error(x[:, :1] * x[:, 1:]), 0.0)


@pytest.mark.parametrize("std", [0.3, 1.0])
def test_isotropic_components_have_their_deviation(std, getkey):
    """About its mean each component has covariance std^2 I; proportions are as asked."""
    means = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.0]])
    mixture = isotropic_mixture(means, std, proportions=[0.25, 0.75])
    x, c = (np.asarray(part) for part in mixture.sample_components(30_000, key=getkey()))
    assert_within_sem(*mean_and_error((c == 0).astype(float)), 0.25)
    apart = x - means[c]
    moments = apart[:, :, None] * apart[:, None, :]
    assert_within_sem(*mean_and_error(moments), std**2 * np.eye(3))


def test_xor_labels_and_clusters(getkey):
    """Opposite clusters share a label; no linear function of x correlates with it."""
    task = xor_mixture([3.0, 0.0, 0.0], [0.0, 0.0, 2.0])
    x, y = (np.asarray(part) for part in task.sample(30_000, key=getkey()))
    assert_within_sem(*mean_and_error(x * y[:, None]), 0.0)
    # E y x_1^2 = (1/2)(9 + 1) - (1/2) 1 and so on
    assert_within_sem(*mean_and_error(x**2 * y[:, None]), [4.5, 0.0, -2.0])


def test_parity_is_the_product_of_its_coordinates():
    """Values at a corner by hand, and one sentence on a short input."""
    x = jnp.asarray([-1.0, 1.0, -1.0, -1.0])
    assert float(Parity((0, 2, 3))(x)) == -1.0
    assert float(Parity((1,))(x)) == 1.0
    with pytest.raises(ValueError, match="at least 6"):
        Parity((5,))(x)


@pytest.mark.parametrize("coordinates", [(), (1, 1), (-1,), (0.5,), (True, 2)])
def test_parity_refuses(coordinates):
    """Only different whole numbers from 0 on."""
    with pytest.raises(ValueError, match="different coordinates"):
        Parity(coordinates)


def test_multi_index_reads_its_directions():
    """Rotated directions: the sign of the product of the two projections."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    target = MultiIndex(rotation[:2], sign_product)
    for z in ((1.0, 2.0), (-1.0, 2.0), (-1.0, -0.5), (0.0, 1.0)):
        x = jnp.asarray(z[0] * rotation[0] + z[1] * rotation[1] + 3 * rotation[3])
        # at z_1 = 0 up to rounding the sign is that of rounding: any label will do
        assert float(target(x)) in ({-1.0, 1.0} if z[0] == 0 else {np.sign(z[0] * z[1])})
    assert float(sign_product(jnp.zeros(2))) == 1.0


def test_halfspace_ignores_length_and_refuses_zero():
    """Only the direction matters."""
    x = jnp.asarray([1.0, -2.0])
    assert float(halfspace([0.0, 5.0])(x)) == float(halfspace([0.0, 0.1])(x)) == -1.0
    with pytest.raises(ValueError, match="not zero"):
        halfspace([0.0, 0.0])
    with pytest.raises(ValueError, match="orthonormal"):
        MultiIndex(2 * np.eye(2), sign_product)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 1, 1], "1 class, 1"),
        ([0, 1, 2], "3 classes, 0, 1, 2"),
        ([0.0, np.nan], "NaN"),
        ([[1, 0]], "shape"),
        ([], "shape"),
        (range(50), "50 classes"),
    ],
)
def test_binary_labels_refuse(labels, words):
    """Two classes, one label a sample."""
    with pytest.raises(ValueError, match=words):
        binary_labels(np.asarray(list(labels)))


def test_binary_labels_of_any_kind():
    """The class that sorts last becomes 1."""
    assert binary_labels([7, 3, 7]).tolist() == [1.0, -1.0, 1.0]
    assert binary_labels(["yes", "no"]).tolist() == [1.0, -1.0]
    assert binary_labels([False, True]).tolist() == [-1.0, 1.0]


def test_hinge_loss_by_its_definition():
    """Value, slope by differences away from the kink, conjugate as a supremum on a fine grid."""
    loss, grid = HingeLoss(), np.linspace(-6, 6, 4801)
    for label in (1.0, -1.0):
        y = jnp.full(grid.shape, label)
        value = np.asarray(loss(jnp.asarray(grid), y))
        np.testing.assert_allclose(value, np.maximum(0, 1 - label * grid), atol=1e-15)
        away = np.abs(label * grid - 1) > 0.01
        slope = np.asarray(loss.slope(jnp.asarray(grid), y))
        np.testing.assert_allclose(slope[away], np.gradient(value, grid)[away], atol=1e-9)
        for p in (0.0, 0.4, 1.0):
            conjugate = float(loss.conjugate(jnp.asarray(-label * p), jnp.asarray(label)))
            np.testing.assert_allclose(conjugate, np.max(-label * p * grid - value), atol=1e-9)
        assert float(loss.conjugate(jnp.asarray(label), jnp.asarray(label))) == np.inf
    with pytest.raises(ValueError, match="hinge"):
        loss.check_labels(np.array([1.0, 0.0]))


@pytest.mark.parametrize(("means", "std"), [([1.0, 2.0], 1.0), (np.eye(2), 0.0), (np.eye(2), -1)])
def test_isotropic_mixture_refuses(means, std):
    """A table of means and a positive deviation."""
    with pytest.raises(ValueError, match="Expected"):
        isotropic_mixture(np.asarray(means), std)
    with pytest.raises(ValueError, match="one length"):
        xor_mixture([1.0, 0.0], [1.0])
