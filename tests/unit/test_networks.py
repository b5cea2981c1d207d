import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.activations.catalogue import relu, tanh
from twolayer.networks import TwoLayerNetwork, mean_field_network
from twolayer.numerics.montecarlo import mean_and_error


def test_value_by_hand():
    """f(x) = scale * sum_i a_i s(w_i.x + b_i), with and without biases."""
    a, W = jnp.asarray([1.0, -2.0]), jnp.asarray([[1.0, 0.0], [1.0, 1.0]])
    x = jnp.asarray([2.0, 3.0])
    assert float(TwoLayerNetwork(a, W, None, relu, 0.5)(x)) == 0.5 * (2 - 2 * 5)
    b = jnp.asarray([-3.0, 1.0])
    assert float(TwoLayerNetwork(a, W, b, relu, 0.5)(x)) == 0.5 * (0 - 2 * 6)


def test_width_and_dim():
    """The number of neurons and the input dimension are read off W, also after vmap."""
    network = mean_field_network(5, 3, tanh, key=jax.random.key(0))
    assert (network.width, network.dim) == (5, 3)
    keys = jax.random.split(jax.random.key(1), 4)
    stacked = jax.vmap(lambda key: mean_field_network(5, 3, tanh, key=key))(keys)
    assert (stacked.width, stacked.dim) == (5, 3)


def test_initial_law(getkey):
    """a is uniform on [-1, 1] and w normal with covariance I / d, independent of each other."""
    width, dim = 40_000, 8
    network = mean_field_network(width, dim, tanh, key=getkey())
    a, W = np.asarray(network.a), np.asarray(network.W)
    assert np.max(np.abs(a)) <= 1
    assert_within_sem(*mean_and_error(a), 0.0)
    assert_within_sem(*mean_and_error(a**2), 1 / 3)
    assert_within_sem(*mean_and_error(a**4), 1 / 5)
    assert_within_sem(*mean_and_error(W[:, :, None] * W[:, None, :]), np.eye(dim) / dim)
    assert_within_sem(*mean_and_error(W**4), 3 / dim**2)
    assert_within_sem(*mean_and_error(a[:, None] * W), 0.0)
    assert float(network.scale) == pytest.approx(1 / width)


@pytest.mark.slow
def test_mean_field_scaling_vanishes_with_width(getkey):
    """At initialisation E f(x)^2 falls like 1 / m: the mean-field scaling, not the NTK one."""
    x = jnp.ones(4)

    def second_moment(width):
        keys = jax.random.split(getkey(), 2000)
        values = jax.jit(jax.vmap(lambda key: mean_field_network(width, 4, tanh, key=key)(x)))(keys)
        return mean_and_error(np.asarray(values) ** 2)

    narrow, wide = second_moment(10), second_moment(160)
    assert_within_sem(16 * wide.mean - narrow.mean, 16 * wide.error + narrow.error, 0.0)
    assert narrow.error < 0.1 * narrow.mean


@pytest.mark.parametrize(("width", "dim"), [(0, 3), (3, 0), (-1, 2)])
def test_impossible_sizes_raise(width, dim):
    """A width or dimension below 1 is refused by name."""
    with pytest.raises(ValueError, match=r"Expected (width|dim) to be a whole number"):
        mean_field_network(width, dim, tanh, key=jax.random.key(0))


def test_permuting_neurons_changes_nothing(getkey):
    """A network is a measure: the order of its neurons does not matter."""
    network = mean_field_network(7, 3, tanh, key=getkey())
    order = jax.random.permutation(getkey(), 7)
    shuffled = TwoLayerNetwork(network.a[order], network.W[order], None, tanh, network.scale)
    x = jnp.asarray([0.2, -1.0, 2.0])
    assert float(shuffled(x)) == pytest.approx(float(network(x)), rel=1e-12)
