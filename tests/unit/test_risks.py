import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import ACTIVATIONS, assert_within_sem, finite_difference
from twolayer.activations.catalogue import relu, tanh
from twolayer.inputs import Gaussian
from twolayer.networks import TwoLayerNetwork, mean_field_network
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.risks import EmpiricalRisk, PopulationRisk
from twolayer.targets import Polynomial
from twolayer.tasks import Regression

TARGET = Polynomial("z1 + z1*z2")


@pytest.mark.parametrize("name", ["relu", "erf", "tanh", "cos_sin", "cubic"])
def test_population_risk_is_the_mean_of_the_squared_error(name, getkey):
    """It lies within the standard error of the empirical risk of 100,000 fresh samples."""
    network = mean_field_network(5, 4, ACTIVATIONS[name], key=getkey())
    network = TwoLayerNetwork(3 * network.a, network.W, None, network.activation, network.scale)
    x, y = Regression(Gaussian(4), TARGET).sample(100_000, key=getkey())
    losses = np.asarray(jax.vmap(network)(x) - y) ** 2 / 2
    mean, sem = mean_and_error(losses)
    assert float(EmpiricalRisk(x, y)(network)) == pytest.approx(mean, rel=1e-12)
    assert_within_sem(mean, sem, float(PopulationRisk(TARGET)(network)))


def test_zero_network_has_half_the_second_moment():
    """Before training the risk is E h*^2 / 2 = 1 for z1 + z1 z2 (the half is ours)."""
    network = TwoLayerNetwork(jnp.zeros(2), jnp.eye(2), None, tanh, 1.0)
    assert float(PopulationRisk(TARGET)(network)) == pytest.approx(1.0)


def test_an_exact_representation_has_risk_zero():
    """z1 = relu(z1) - relu(-z1) is represented exactly, so its risk and gradient vanish."""
    network = TwoLayerNetwork(
        jnp.asarray([1.0, -1.0]), jnp.asarray([[1.0, 0.0], [-1.0, 0.0]]), None, relu, 1.0
    )
    risk = PopulationRisk(Polynomial("z1"))
    assert float(risk(network)) == pytest.approx(0.0, abs=1e-14)
    gradient = jax.grad(lambda W: risk(TwoLayerNetwork(network.a, W, None, relu, 1.0)))(network.W)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "cos_sin"])
def test_gradient_is_the_slope_of_the_risk(name, getkey):
    """Automatic gradients in a and W agree with central differences."""
    network = mean_field_network(3, 2, ACTIVATIONS[name], key=getkey())
    risk = jax.jit(
        lambda theta: PopulationRisk(TARGET)(
            TwoLayerNetwork(theta[:3], theta[3:].reshape(3, 2), None, network.activation, 1 / 3)
        )
    )
    theta = jnp.concatenate([network.a, network.W.reshape(-1)])
    expected = finite_difference(risk, theta, 1e-5)
    np.testing.assert_allclose(jax.grad(risk)(theta), expected, rtol=1e-5, atol=1e-7)


def test_gradient_is_the_mean_sample_gradient(getkey):
    """The population gradient lies within the standard error of single-sample gradients."""
    network = mean_field_network(3, 3, tanh, key=getkey())
    x, y = Regression(Gaussian(3), TARGET).sample(20_000, key=getkey())

    def single(x, y):
        return jax.grad(lambda n: EmpiricalRisk(x[None], y[None])(n))(network)

    samples = jax.jit(jax.vmap(single))(x, y)
    exact = jax.jit(jax.grad(PopulationRisk(TARGET).__call__))(network)
    for sampled, truth in ((samples.a, exact.a), (samples.W, exact.W)):
        assert_within_sem(*mean_and_error(np.asarray(sampled)), np.asarray(truth), z=4.5)


def test_risk_is_never_negative(getkey):
    """Half a squared norm: random networks have nonnegative risk to rounding."""
    keys = jax.random.split(getkey(), 50)
    risks = jax.vmap(lambda key: PopulationRisk(TARGET)(mean_field_network(4, 3, tanh, key=key)))(
        keys
    )
    assert np.min(risks) > 0
