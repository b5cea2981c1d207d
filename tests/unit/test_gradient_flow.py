"""Gradient flow of a finite network follows m times the gradient, downhill."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from twolayer.activations import cos_sin, erf, tanh
from twolayer.dynamics.base import in_single_precision, neuron_velocity
from twolayer.dynamics.gradient_flow import GradientFlow
from twolayer.dynamics.sgd import SGD
from twolayer.dynamics.simulate import simulate
from twolayer.inputs import Gaussian
from twolayer.networks import TwoLayerNetwork, mean_field_network
from twolayer.numerics.quadrature import gauss_hermite, tensor_rule
from twolayer.risks import EmpiricalRisk, PopulationRisk
from twolayer.targets import Polynomial
from twolayer.tasks import Regression

TARGET = Polynomial("z1 + z1*z2")
TASK = Regression(Gaussian(3), TARGET)
initialise = partial(mean_field_network, 10, 3, cos_sin)


@pytest.mark.parametrize("activation", [erf, cos_sin])
def test_velocity_is_minus_m_times_the_gradient(getkey, activation):
    """The velocity is -m times a central difference of the risk."""
    network = mean_field_network(3, 2, activation, key=getkey())
    risk, h = PopulationRisk(TARGET), 1e-5
    velocity = neuron_velocity(risk, network)

    def moved(name, index, by):
        leaves = {"a": network.a, "W": network.W}
        leaves[name] = leaves[name].at[index].add(by)
        return float(risk(TwoLayerNetwork(**leaves, b=None, activation=activation, scale=1 / 3)))

    slope_a = (moved("a", 1, h) - moved("a", 1, -h)) / (2 * h)
    slope_w = (moved("W", (2, 1), h) - moved("W", (2, 1), -h)) / (2 * h)
    np.testing.assert_allclose(velocity[0][1], -3 * slope_a, rtol=1e-7)
    np.testing.assert_allclose(velocity[1][2, 1], -3 * slope_w, rtol=1e-7)


def test_flow_agrees_with_quadrature_and_lsoda(getkey):
    """The particle form of (2.4), by Gauss-Hermite nodes and SciPy's LSODA, ends at one place."""
    network = mean_field_network(4, 2, tanh, key=getkey())
    points, weights = tensor_rule(gauss_hermite(40), 2)
    goal = points[:, 0] + points[:, 0] * points[:, 1]

    def particles(_, flat):
        a, W = flat[:4], flat[4:].reshape(4, 2)
        value = np.tanh(points @ W.T)
        residual = weights * (goal - value @ a / 4)
        along_w = a[:, None] * (((1 - value**2) * residual[:, None]).T @ points)
        return np.concatenate([residual @ value, along_w.ravel()])

    start = np.concatenate([network.a, np.ravel(network.W)])
    reference = solve_ivp(particles, (0, 3), start, "LSODA", rtol=1e-9, atol=1e-11).y[:, -1]
    task = Regression(Gaussian(2), TARGET)
    after = GradientFlow(rtol=1e-9).advance(
        network, task, jnp.asarray(0.0), jnp.asarray(3.0), key=getkey()
    )
    np.testing.assert_allclose(after.a, reference[:4], atol=1e-6)
    np.testing.assert_allclose(np.ravel(after.W), reference[4:], atol=1e-6)


@pytest.mark.slow
def test_flow_goes_downhill(getkey):
    """The population risk never rises along its flow: (2.6)."""
    run = simulate(GradientFlow(), initialise, TASK, times=np.arange(9.0), key=getkey())
    assert run.status == ("finished",)
    assert np.all(np.diff(run.value, axis=1) < 1e-9)
    assert np.all(run.value[:, -1] < run.value[:, 0] / 2)


@pytest.mark.slow
def test_flow_of_the_output_layer_ends_at_least_squares(getkey):
    """On samples, with the input weights frozen, the flow ends at the least-squares fit."""
    x, y = Regression(Gaussian(3), TARGET).sample(40, key=getkey())
    risk = EmpiricalRisk(x, y)
    network = mean_field_network(2, 3, tanh, key=getkey())
    flow = GradientFlow(risk, schedule_w=0.0)
    run = simulate(flow, network, TASK, times=[0, 3000], key=getkey(), observe=risk)
    features = np.tanh(np.asarray(x) @ np.asarray(network.W).T)
    fit, *_ = np.linalg.lstsq(features, np.asarray(y), rcond=None)
    best = np.mean((np.asarray(y) - features @ fit) ** 2) / 2
    np.testing.assert_allclose(run.value[0, -1], best, rtol=1e-6)


@pytest.mark.slow
def test_sgd_approaches_the_flow_as_its_step_shrinks(getkey):
    """The scatter of SGD about the flow falls like the root of the step; its mean agrees."""
    network, key, seeds = initialise(key=getkey()), getkey(), 64
    flow = simulate(GradientFlow(), network, TASK, times=[2.0], key=key).value[0, 0]

    def gaps(learning_rate, scale=1.0):
        dynamics = SGD(learning_rate, schedule_a=scale, schedule_w=scale)
        return simulate(dynamics, network, TASK, times=[2.0], seeds=seeds, key=key).value - flow

    coarse, fine = gaps(0.04), gaps(0.0025)
    ratio = np.sqrt(np.mean(coarse**2) / np.mean(fine**2))
    assert 2.5 < ratio < 6.5  # 4 expected, 10 % standard error
    error = np.std(fine) / np.sqrt(seeds)
    assert abs(np.mean(fine)) < 4 * error + 0.0025  # the mean's own bias is of order the step
    wrong = gaps(0.0025, scale=2.0)  # the control: twice the velocity is seen at once
    assert abs(np.mean(wrong)) > 10 * error


@pytest.mark.slow
def test_single_precision_flow_is_finite(getkey):
    """In single precision the tolerance follows the rounding, and the flow arrives."""
    key = getkey()
    options = {"times": [0.0, 2.0], "key": key}
    run = simulate(GradientFlow(), in_single_precision(initialise), TASK, **options)
    double = simulate(GradientFlow(), initialise, TASK, **options)
    assert run.details["dtype"] == "float32"
    np.testing.assert_allclose(run.value, double.value, rtol=1e-3)


def test_flow_without_a_closed_form_asks_for_a_risk(getkey):
    """A task without closed-form risk is refused unless a risk is given."""
    task = Regression(Gaussian(3), lambda x: jnp.abs(x[0]))
    network = mean_field_network(2, 3, tanh, key=getkey())
    with pytest.raises(ValueError, match="closed form"):
        simulate(GradientFlow(), network, task, times=[1.0], key=getkey())
