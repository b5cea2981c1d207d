import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import ACTIVATIONS, assert_within_sem, finite_difference, values_at
from twolayer.activations.catalogue import relu, tanh
from twolayer.inputs import Gaussian
from twolayer.networks import TwoLayerNetwork, mean_field_network
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.risks import EmpiricalRisk, PopulationRisk
from twolayer.targets import Polynomial
from twolayer.tasks import Regression

TARGET = Polynomial("z1 + z1*z2")


@eqx.filter_jit
def value(risk, network):
    return risk(network)


@eqx.filter_jit
def gradient(risk, network):
    return eqx.filter_grad(lambda n: risk(n))(network)


@pytest.mark.parametrize("name", ["relu", "erf", "tanh", "cos_sin", "cubic"])
def test_population_risk_is_the_mean_of_the_squared_error(name, getkey):
    """It lies within the standard error of the empirical risk of 100,000 fresh samples."""
    network = mean_field_network(5, 4, ACTIVATIONS[name], key=getkey())
    network = TwoLayerNetwork(3 * network.a, network.W, None, network.activation, network.scale)
    x, y = Regression(Gaussian(4), TARGET).sample(100_000, key=getkey())
    losses = np.asarray(values_at(network, x) - y) ** 2 / 2
    mean, sem = mean_and_error(losses)
    assert float(value(EmpiricalRisk(x, y), network)) == pytest.approx(mean, rel=1e-12)
    assert_within_sem(mean, sem, float(value(PopulationRisk(TARGET), network)))


def test_zero_network_has_half_the_second_moment():
    """Before training the risk is E h*^2 / 2 = 1 for z1 + z1 z2 (the half is ours)."""
    network = TwoLayerNetwork(jnp.zeros(2), jnp.eye(2), None, tanh, 1.0)
    assert float(value(PopulationRisk(TARGET), network)) == pytest.approx(1.0)


def test_an_exact_representation_has_risk_zero():
    """z1 = relu(z1) - relu(-z1) is represented exactly, so its risk and gradient vanish."""
    network = TwoLayerNetwork(
        jnp.asarray([1.0, -1.0]), jnp.asarray([[1.0, 0.0], [-1.0, 0.0]]), None, relu, 1.0
    )
    risk = PopulationRisk(Polynomial("z1"))
    assert float(value(risk, network)) == pytest.approx(0.0, abs=1e-14)
    slopes = gradient(risk, network)
    np.testing.assert_allclose(slopes.a, 0.0, atol=1e-12)
    np.testing.assert_allclose(slopes.W, 0.0, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "cos_sin"])
def test_gradient_is_the_slope_of_the_risk(name, getkey):
    """Automatic gradients in a and W agree with central differences."""
    network = mean_field_network(3, 2, ACTIVATIONS[name], key=getkey())
    theta = jnp.concatenate([network.a, network.W.reshape(-1)])

    def at(theta):
        theta = jnp.asarray(theta)
        W = theta[3:].reshape(3, 2)
        return eqx.tree_at(lambda n: (n.a, n.W), network, (theta[:3], W))

    expected = finite_difference(lambda t: value(PopulationRisk(TARGET), at(t)), theta, 1e-5)
    slopes = gradient(PopulationRisk(TARGET), network)
    computed = np.concatenate([slopes.a, slopes.W.reshape(-1)])
    np.testing.assert_allclose(computed, expected, rtol=1e-5, atol=1e-7)


def test_gradient_is_the_mean_sample_gradient(getkey):
    """The population gradient lies within the standard error of single-sample gradients."""
    network = mean_field_network(3, 3, tanh, key=getkey())
    x, y = Regression(Gaussian(3), TARGET).sample(20_000, key=getkey())

    def single(x, y):
        return eqx.filter_grad(lambda n: EmpiricalRisk(x[None], y[None])(n))(network)

    samples = eqx.filter_jit(jax.vmap(single))(x, y)
    exact = gradient(PopulationRisk(TARGET), network)
    for sampled, truth in ((samples.a, exact.a), (samples.W, exact.W)):
        assert_within_sem(*mean_and_error(np.asarray(sampled)), np.asarray(truth), z=4.5)


@pytest.mark.slow
def test_risk_is_never_negative(getkey):
    """Half a squared norm: random networks have nonnegative risk to rounding."""
    keys = jax.random.split(getkey(), 50)
    risks = jax.vmap(lambda key: PopulationRisk(TARGET)(mean_field_network(4, 3, tanh, key=key)))(
        keys
    )
    assert np.min(risks) > 0
