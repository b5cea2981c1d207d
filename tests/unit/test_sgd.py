"""One-pass SGD does what equation (2.3) says, in blocks or not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twolayer.activations import tanh
from twolayer.dynamics.base import neuron_velocity
from twolayer.dynamics.sgd import SGD
from twolayer.inputs import Gaussian
from twolayer.networks import TwoLayerNetwork
from twolayer.risks import EmpiricalRisk
from twolayer.targets import Polynomial
from twolayer.tasks import Regression

WIDTH, DIM = 6, 4


class Decaying(eqx.Module):
    rate: jax.Array

    def __call__(self, t):
        return jnp.exp(-self.rate * t)


def random_network(key, *, width=WIDTH, biased=False, scale=None):
    keys = jax.random.split(key, 3)
    a = jax.random.normal(keys[0], (width,))
    W = jax.random.normal(keys[1], (width, DIM))
    b = jax.random.normal(keys[2], (width,)) if biased else None
    return TwoLayerNetwork(a, W, b, tanh, 1 / width if scale is None else scale)


def noisy_task():
    return Regression(Gaussian(DIM), Polynomial("z1 + z1*z2"), 0.3)


def plain_loop(dynamics, network, task, start, stop, *, key):
    """(2.3) one step at a time in NumPy: no blocks, no Gram matrix, no JAX but for the samples."""
    a, W = np.array(network.a), np.array(network.W)
    b = np.zeros(len(a)) if network.b is None else np.array(network.b)
    eps = float(dynamics.learning_rate)
    for k in range(start, stop):
        x, y = task.sample(dynamics.batch_size, key=jax.random.fold_in(key, k))
        x, y = np.asarray(x), np.asarray(y)
        value = np.tanh(x @ W.T + b)
        residual = (y - float(network.scale) * value @ a) / len(y)
        xi_a = float(dynamics.schedule_a(jnp.asarray(k * eps)))
        xi_w = float(dynamics.schedule_w(jnp.asarray(k * eps)))
        push = residual[:, None] * a * (1 - value**2)
        a = a + eps * xi_a * residual @ value
        W = W + eps * xi_w * push.T @ x
        b = b + (0 if network.b is None else eps * xi_w * push.sum(axis=0))
    return a, W, b


@pytest.mark.parametrize(
    ("block_size", "batch_size", "biased"), [(1, 1, False), (8, 1, True), (5, 3, True)]
)
def test_blocks_change_nothing(getkey, block_size, batch_size, biased):
    """Steps in blocks, entered and left half-way, are the steps of the plain loop."""
    network, task, key = random_network(getkey(), biased=biased), noisy_task(), getkey()
    schedule = Decaying(jnp.asarray(0.7))
    dynamics = SGD(0.1, schedule, 0.5, batch_size=batch_size, block_size=block_size)
    advance = jax.jit(lambda n, start, stop: dynamics.advance(n, task, start, stop, key=key))
    after = advance(network, jnp.asarray(3), jnp.asarray(21))
    a, W, b = plain_loop(dynamics, network, task, 3, 21, key=key)
    np.testing.assert_allclose(after.a, a, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(after.W, W, rtol=1e-12, atol=1e-13)
    if biased:
        np.testing.assert_allclose(after.b, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("width", [1, 7])
def test_one_step_has_no_width_in_it(getkey, width):
    """A step adds eps (y - f) grad tau to each neuron: wrong by a 2, a sign or an m, this fails."""
    network, task, key = random_network(getkey(), width=width), noisy_task(), getkey()
    after = SGD(0.01).advance(network, task, jnp.asarray(0), jnp.asarray(1), key=key)
    x, y = (part[0] for part in task.sample(1, key=jax.random.fold_in(key, 0)))

    def tau(a, w):
        return a * jnp.tanh(w @ x)

    along_a, along_w = jax.vmap(jax.grad(tau, argnums=(0, 1)))(network.a, network.W)
    f = jnp.mean(jax.vmap(tau)(network.a, network.W))
    np.testing.assert_allclose(after.a - network.a, 0.01 * (y - f) * along_a, rtol=1e-9)
    np.testing.assert_allclose(after.W - network.W, 0.01 * (y - f) * along_w, rtol=1e-9)


@pytest.mark.parametrize("scale", [1 / WIDTH, 1.0])
def test_one_step_is_the_velocity_of_its_sample(getkey, scale):
    """A step is eps times the velocity of the flow on that one sample, in either scaling."""
    network = random_network(getkey(), biased=True, scale=scale)
    task, key = noisy_task(), getkey()
    after = SGD(0.01).advance(network, task, jnp.asarray(0), jnp.asarray(1), key=key)
    sample = task.sample(1, key=jax.random.fold_in(key, 0))
    velocity = neuron_velocity(EmpiricalRisk(*sample), network)
    for new, old, v in zip(
        (after.a, after.W, after.b), (network.a, network.W, network.b), velocity, strict=True
    ):
        np.testing.assert_allclose(new - old, 0.01 * v, rtol=1e-8, atol=1e-14)


def test_a_schedule_of_zero_freezes_its_layer(getkey):
    """With xi_a = 0 the output weights stay, with xi_w = 0 the input weights do."""
    network, task, key = random_network(getkey()), noisy_task(), getkey()
    steps = jnp.asarray(0), jnp.asarray(5)
    first = SGD(0.1, schedule_a=0.0, block_size=8).advance(network, task, *steps, key=key)
    second = SGD(0.1, schedule_w=0.0, block_size=8).advance(network, task, *steps, key=key)
    assert np.array_equal(first.a, network.a)
    assert not np.array_equal(first.W, network.W)
    assert np.array_equal(second.W, network.W)
    assert not np.array_equal(second.a, network.a)


def test_ticks_are_steps():
    """Time t is step t / eps, and times of steps are multiples of eps."""
    dynamics = SGD(0.1 / 256)
    assert dynamics.ticks(np.array([0.0, 5.0, 20.0])).tolist() == [0, 12800, 51200]
    np.testing.assert_allclose(dynamics.times(np.array([0, 12800])), [0, 5])


@pytest.mark.parametrize("learning_rate", [0.0, -0.1, np.nan])
def test_learning_rate_must_be_positive(learning_rate):
    """A step that is not positive is refused in one sentence."""
    with pytest.raises(ValueError, match="positive learning rate"):
        SGD(learning_rate).ticks(np.ones(1))


def test_too_many_steps_are_refused():
    """A run of more than 2^31 steps is refused before it starts."""
    with pytest.raises(ValueError, match="larger learning rate"):
        SGD(1e-9).ticks(np.array([10.0]))


@pytest.mark.parametrize("size", ["batch_size", "block_size"])
def test_sizes_are_positive(size):
    """Sizes below 1 are refused at construction."""
    with pytest.raises(ValueError, match=size):
        SGD(0.1, **{size: 0})
