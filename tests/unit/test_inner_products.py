import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import ACTIVATIONS, assert_within_sem, values_at
from twolayer import inner_products
from twolayer.activations.catalogue import relu, tanh
from twolayer.networks import TwoLayerNetwork, mean_field_network
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.numerics.quadrature import gauss_hermite, tensor_rule
from twolayer.targets import Polynomial

inner = eqx.filter_jit(inner_products.inner)
TARGET = Polynomial("z1 + z1*z2^2 - 1/2*He3(z2) + 1/4*z1^2 + 1/3")


def networks(activation, dim=3):
    first = mean_field_network(4, dim, activation, key=jax.random.key(1))
    second = mean_field_network(6, dim, activation, key=jax.random.key(2))
    return first, second


# One for each way of computing: closed form, sine transform, tilted covariance, cosine, series.
@pytest.mark.parametrize("name", ["erf", "tanh", "gelu", "cos_sin", "cubic"])
def test_against_tensor_quadrature(name):
    """Smooth networks: both products equal Gauss-Hermite quadrature over all three inputs."""
    points, weights = tensor_rule(gauss_hermite(30), 3)
    first, second = networks(ACTIVATIONS[name])
    f, g, h = (
        np.asarray(values_at(function, jnp.asarray(points))) for function in (first, second, TARGET)
    )
    assert float(inner(first, second)) == pytest.approx(weights @ (f * g), abs=2e-7)
    assert float(inner(first, TARGET)) == pytest.approx(weights @ (f * h), abs=2e-7)


@pytest.mark.parametrize("name", ["relu", "abs"])
def test_kinked_networks_against_monte_carlo(name, getkey):
    """Kinked networks: both products lie within the standard error of a sampled mean."""
    first, second = networks(ACTIVATIONS[name], dim=5)
    x = jax.random.normal(getkey(), (200_000, 5))
    f, g, h = (np.asarray(values_at(function, x)) for function in (first, second, TARGET))
    assert_within_sem(*mean_and_error(f * g), float(inner(first, second)))
    assert_within_sem(*mean_and_error(f * h), float(inner(first, TARGET)))
    assert_within_sem(*mean_and_error(f * f), float(inner(first, first)))


def test_symmetric_bilinear_and_scaled():
    """Exchanging the networks changes nothing; output weights and scales enter linearly."""
    first, second = networks(tanh)
    value = float(inner(first, second))
    assert float(inner(second, first)) == pytest.approx(value, rel=1e-12)
    scaled = TwoLayerNetwork(3.0 * first.a, first.W, None, tanh, 2.0 * first.scale)
    assert float(inner(scaled, second)) == pytest.approx(6 * value, rel=1e-12)
    assert float(inner(scaled, TARGET)) == pytest.approx(6 * float(inner(first, TARGET)))


def test_higher_dimension_changes_nothing_when_weights_are_padded():
    """Extra coordinates with zero weights leave every product as it was."""
    first, second = networks(tanh)
    pad = [
        TwoLayerNetwork(n.a, jnp.pad(n.W, ((0, 0), (0, 4))), None, tanh, n.scale)
        for n in (first, second)
    ]
    assert float(inner(*pad)) == pytest.approx(float(inner(first, second)), rel=1e-12)
    assert float(inner(pad[0], TARGET)) == pytest.approx(float(inner(first, TARGET)), rel=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dead_neurons_are_exact(name):
    """At w = 0 a neuron gives a s(0) E h*, its gradient a s'(0) E h* z (mean slope at a kink)."""
    s = ACTIVATIONS[name]

    def products(W):
        network = TwoLayerNetwork(2 * jnp.ones(1), W, None, s, jnp.asarray(1.0))
        return jnp.stack([inner(network, TARGET), inner(network, network)])

    zero = jnp.zeros((1, 2))
    values, gradients = jax.jit(lambda W: (products(W), jax.jacrev(products)(W)))(zero)
    step = 1e-6
    at_zero, above, below = (float(s(jnp.asarray(z))) for z in (0.0, step, -step))
    # E h* = 7/12, E h* z_1 = 1 + E z2^2 = 2 and E h* z_2 = 0
    np.testing.assert_allclose(values, [2 * at_zero * 7 / 12, 4 * at_zero**2], atol=1e-12)
    slope = (above - below) / (2 * step)
    np.testing.assert_allclose(gradients[0, 0], [2 * slope * 2.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(gradients[1, 0], 0.0, atol=1e-12)


def test_different_activations_raise():
    """One dual serves both networks, so networks of different activations are refused."""
    first, _ = networks(tanh)
    _, second = networks(relu)
    with pytest.raises(ValueError, match="tanh and relu"):
        inner(first, second)


def test_biases_raise():
    """Networks with biases have no closed form here and are refused."""
    first, second = networks(tanh)
    biased = TwoLayerNetwork(first.a, first.W, jnp.ones(4), tanh, first.scale)
    for pair in ((biased, second), (second, biased), (biased, TARGET)):
        with pytest.raises(ValueError, match="without biases"):
            inner(*pair)


def test_too_small_a_network_raises():
    """A polynomial of more coordinates than the network has inputs is refused."""
    network = mean_field_network(3, 2, tanh, key=jax.random.key(0))
    with pytest.raises(ValueError, match="3"):
        inner(network, Polynomial("z1*z3"))


@pytest.mark.parametrize("name", ["tanh", "relu", "cos_sin"])
def test_single_precision(name):
    """With x64 off both products are float32 and agree to three digits."""
    first, _ = networks(ACTIVATIONS[name])
    expected = float(inner(first, first)), float(inner(first, TARGET))
    with jax.enable_x64(False):
        single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), first)
        values = inner(single, single), inner(single, Polynomial("z1 + z1*z2^2"))
        assert all(value.dtype == jnp.float32 for value in values)
        assert float(values[0]) == pytest.approx(expected[0], rel=2e-3)
        assert np.isfinite(values[1])
