"""The predecessor's two steps, against autodiff with the noise integrated by a sum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_allclose
from twolayer.dynamics.gradient_features import (
    AggressiveSteps,
    draw_samples,
    predecessor,
    train_aggressive_steps,
)
from twolayer.sparse_coding import CodedParity
from twolayer.tasks import Dataset

DIM = 8
TASK = CodedParity(np.eye(DIM), 3)
ALGORITHM = AggressiveSteps(20, 500, 3, num_test=1000)


@pytest.fixture(scope="module")
def run():
    return train_aggressive_steps(ALGORITHM, TASK, key=jax.random.key(0))


def test_initial_scales(run):
    """Second half of neurons: opposite outputs; standard deviations ``1/k`` and ``1/k^2``."""
    first = run.networks[0][0]
    assert first.width == 40
    assert ALGORITHM.noise == pytest.approx((1 / 6, 1 / 27**0.5))  # 1/(2k), k^(-3/2)
    assert np.array_equal(first.a[:20], -first.a[20:])
    assert np.array_equal(first.W[:20], first.W[20:])
    # 160 and 20 normal numbers: standard deviations within 4 of their standard errors
    assert abs(float(np.std(first.W[:20])) * 3 - 1) < 4 / np.sqrt(320)
    assert abs(float(np.std(first.b[:20])) * 9 - 1) < 4 / np.sqrt(40)


@pytest.mark.parametrize("which", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_steps_are_gradient_steps_of_the_noisy_hinge_loss(which):
    """Autodiff of the linear part of the hinge loss plus ``(|a|^2 + |W|^2) / (2 eta)``."""
    rng = np.random.default_rng(which)
    x, y = rng.standard_normal((60, DIM)), rng.choice([-1.0, 1.0], 60)
    start = predecessor._initial(ALGORITHM, DIM, jax.random.key(which))
    start = jax.tree.map(lambda part: jnp.asarray(part, jnp.float64), start)
    noise = ALGORITHM.noise[which]
    stepped = predecessor._step(start, jnp.asarray(x), jnp.asarray(y), noise, 0.1)
    nodes = np.linspace(-8, 8, 4001)
    density = np.exp(-(nodes**2) / 2)
    density /= density.sum()

    def objective(weights):
        a, W, b = weights
        z = x @ W.T + b[None]
        value = jnp.clip(z[:, :, None] + noise * nodes[None, None], 0, 1) @ density
        return jnp.mean(1 - y * (value @ a))

    gradient = eqx.filter_jit(jax.grad(objective))((start.a, start.W, start.b))
    # weight decay of 1 / (2 eta) on |a|^2 + |W|^2 takes the old weights away, biases stay
    eta = np.median(np.asarray(stepped.b - start.b) / -np.asarray(gradient[2]))
    # a gate between two of the 4001 nodes is right to a part of the weight of one, 1e-3
    for found, expected in (
        (stepped.a, -eta * gradient[0]),
        (stepped.W, -eta * gradient[1]),
        (stepped.b, start.b - eta * gradient[2]),
    ):
        assert_allclose(found, expected, loss=1e5)
    spread = np.sqrt(np.mean((x @ np.asarray(stepped.W).T) ** 2, axis=0))
    assert np.median(spread) == pytest.approx(0.1)


def test_neurons_turn_to_the_feature(run):
    """Cosines with the sum of the relevant elements rise, and so does what can be classified."""
    feature = np.asarray(TASK.feature)
    cosines = [
        np.mean(np.abs(np.asarray(net.W) @ feature) / np.linalg.norm(net.W, axis=1))
        for net in run.networks[0]
    ]
    assert cosines[0] < 0.5 < 0.9 < cosines[2]
    assert run.accuracy[0, 2] > 0.95
    assert run.accuracy_error.shape == run.accuracy.shape == (1, 3)


def test_given_samples_are_taken_in_order(run):
    """The first half for the first step, the rest for the second, each with its own noise."""
    x, y = (np.asarray(v) for v in draw_samples(TASK, 1000, key=jax.random.key(3)))
    key = jax.random.key(1)
    own = train_aggressive_steps(ALGORITHM, Dataset(x, y), key=key, test=Dataset(x, y))
    for k, rows in enumerate((slice(0, 500), slice(500, 1000))):
        again = predecessor._step(
            own.networks[0][k], jnp.asarray(x[rows], jnp.float32),
            jnp.asarray(y[rows], jnp.float32), ALGORITHM.noise[k], ALGORITHM.spread,
        )  # fmt: skip
        scale = float(np.max(np.abs(again.W)))
        np.testing.assert_allclose(own.networks[0][k + 1].W, again.W, atol=1e-5 * scale)
    with pytest.raises(ValueError, match="at least 1000 rows"):
        train_aggressive_steps(ALGORITHM, Dataset(x[:999], y[:999]), key=key)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"half": 0}, "half"),
        ({"relevant": 0}, "relevant"),
        ({"smoothing": (0.1, 0.0)}, "smoothing"),
        ({"spread": -1.0}, "spread"),
    ],
)
def test_bad_options(options, words):
    """A sentence names what is wrong."""
    with pytest.raises(ValueError, match=words):
        AggressiveSteps(**{"half": 20, "num_samples": 500, "relevant": 3} | options)
