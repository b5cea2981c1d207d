"""The predecessor's algorithm: two steps that forget, on truncated neurons with noise inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from twolayer.activations import FunctionActivation, relu
from twolayer.activations.facts import Facts
from twolayer.dynamics.base import with_parameters
from twolayer.dynamics.gradient_features.later_steps import batch_outputs, train_top_layer
from twolayer.dynamics.gradient_features.train import draw_samples
from twolayer.dynamics.simulate import Progress, seed_keys
from twolayer.losses import LogisticLoss
from twolayer.networks import TwoLayerNetwork, check_positive
from twolayer.tasks import Dataset, binary_labels

_BLOCK = 2000
_KINKS = 1.5  # of the classifier, in units of the root mean square preactivation

# relu(z) - relu(z - 1); its quadratures, which do not know the kink at 1, are not used here
truncated_relu = FunctionActivation(
    function=lambda z: jnp.clip(z, 0.0, 1.0),
    facts=Facts("truncated relu", math.inf, math.inf, None, math.inf, False),
)


class AggressiveSteps(eqx.Module):
    """Two steps with weight decay ``1 / (2 eta)``, as shi2022theoretical takes first.

    Attributes
    ----------
    half
        The number m; the network has ``2 m`` neurons.
    num_samples
        Samples of each of the two steps; the classifier trains on those of both.
    relevant
        The k that sets the initial scales ``input_std = 1/k``, ``bias_std = 1/k^2``.
    smoothing
        Standard deviations of the noise inside the neurons at the two steps; by default
        ``0.5 / k`` and ``k^(-3/2)``.
    spread
        After each step, the root mean square over samples of the median neuron's ``w . x``; it
        stands for the learning rates, of which the paper fixes the order alone.
    readout_steps
        Gradient steps on the output weights of the classifier.
    num_test
        Fresh samples that measure its accuracy.

    Raises
    ------
    ValueError
        If a size is not a positive whole number or a scale not positive.
    """

    half: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)
    relevant: int = eqx.field(static=True)
    smoothing: tuple[float, float] | None = eqx.field(static=True, default=None)
    spread: float = eqx.field(static=True, default=0.1)
    readout_steps: int = eqx.field(static=True, default=300)
    num_test: int = eqx.field(static=True, default=4000)

    def __check_init__(self):
        check_positive(
            half=self.half, num_samples=self.num_samples, relevant=self.relevant,
            readout_steps=self.readout_steps, num_test=self.num_test,
        )  # fmt: skip
        if not all(0 < value < math.inf for value in (*self.noise, self.spread)):
            message = "Expected positive smoothing and spread. "
            message += f"Received: {self.smoothing!r} and {self.spread!r}."
            raise ValueError(message)

    @property
    def noise(self) -> tuple[float, float]:
        """Standard deviations of the noise inside the neurons at the two steps."""
        k = self.relevant
        return self.smoothing or (0.5 / k, k**-1.5)


class AggressiveRun(NamedTuple):
    """What `train_aggressive_steps` returns.

    Attributes
    ----------
    networks
        Of each seed, the networks before the first step and after each of the two.
    accuracy
        Of each seed and network, the share of right signs on fresh samples of a classifier with
        the network's directions.
    accuracy_error
        Its standard error from the number of fresh samples.
    """

    networks: tuple[tuple[TwoLayerNetwork, TwoLayerNetwork, TwoLayerNetwork], ...]
    accuracy: Float[np.ndarray, "s t"]
    accuracy_error: Float[np.ndarray, "s t"]


def train_aggressive_steps(
    algorithm: AggressiveSteps,
    task: Any,
    *,
    seeds: int | Sequence[int] = 1,
    key: PRNGKeyArray,
    test: Dataset | None = None,
    progress: Progress | None = None,
) -> AggressiveRun:
    r"""The first two steps of shi2022theoretical, and what can be classified after each.

    Neurons are ``a_i s(w_i . x + b_i)`` with ``s(z) = min(1, max(z, 0))``, noise
    ``N(0, smoothing^2)`` added to z, and hinge loss; the second half of them starts from the
    first half's input weights and biases and the opposite output weights. Weight decay
    ``1 / (2 eta)`` on a and W takes the old weights away:

    .. math:: w_i \leftarrow \eta\, a_i \hat E[y\, x\, s'(z_i)], \quad
        a_i \leftarrow \eta\, \hat E[y\, s(z_i)], \quad
        b_i \leftarrow b_i + \eta\, a_i \hat E[y\, s'(z_i)]

    with s and s' averaged over the noise, as long as ``y f < 1``: which a large scale of the first
    output weights makes sure of, and changes nothing else.

    The later steps of the paper are left out: a classifier takes the directions ``w_i``, scaled
    so that ``w_i . x`` has root mean square 1, gives each a random kink and trains the output
    weights of the ReLU network on the same samples.

    Parameters
    ----------
    algorithm
        Sizes and scales.
    task
        Draws labelled samples of two classes, standardised. Of a `Dataset` the first rows are
        taken as they are.
    seeds, key, progress
        As for `simulate`: each seed has its own network and, of a task, its own samples.
    test
        The samples that measure the accuracy, if not drawn from `task`.

    Raises
    ------
    ValueError
        If the labels are not of two classes, or a `Dataset` has fewer rows than asked for.

    Examples
    --------
    >>> from twolayer.sparse_coding import CodedParity
    >>> algorithm = AggressiveSteps(20, 1000, 3, num_test=500)
    >>> run = train_aggressive_steps(algorithm, CodedParity(jnp.eye(8), 3), key=jax.random.key(0))
    >>> bool(run.accuracy[0, 2] > 0.9)
    True
    """
    keys = seed_keys(seeds, key)
    rows = []
    for k in range(keys.shape[0]):
        rows.append(_train_one(algorithm, task, test, keys[k]))
        if progress is not None:
            progress(k + 1, keys.shape[0])
    networks, accuracy = zip(*rows, strict=True)
    p = np.asarray(accuracy)
    return AggressiveRun(networks, p, np.sqrt(p * (1 - p) / algorithm.num_test))


def _train_one(algorithm, task, test, key):
    key_data, key_test, key_network, key_kinks = jax.random.split(key, 4)
    n = algorithm.num_samples
    x, y = map(jnp.asarray, _labelled(task, 2 * n, key_data))
    outside = _labelled(task if test is None else test, algorithm.num_test, key_test)
    networks = [_initial(algorithm, x.shape[1], key_network)]
    for k, noise in enumerate(algorithm.noise):
        own = slice(k * n, (k + 1) * n)
        networks.append(_step(networks[-1], x[own], y[own], noise, algorithm.spread))
    accuracy = []
    for network in networks:
        ready = _classifier(network, x, key_kinks)
        steps = jnp.asarray(algorithm.readout_steps)
        trained = train_top_layer(ready, x, y, LogisticLoss(), steps)
        accuracy.append(float(np.mean(_outputs(trained, outside[0]) * outside[1] > 0)))
    return tuple(networks), accuracy


_outputs = eqx.filter_jit(batch_outputs)


def _labelled(task, count, key):
    if isinstance(task, Dataset):
        if task.x.shape[0] < count:
            message = f"Expected a data set of at least {count} rows. "
            message += f"Received: {task.x.shape[0]}."
            raise ValueError(message)
        x, y = task.x[:count], task.y[:count]
    else:
        x, y = draw_samples(task, count, key=key)
    return np.asarray(x, np.float32), np.asarray(binary_labels(y), np.float32)


def _initial(algorithm, dim, key):
    k, m = algorithm.relevant, algorithm.half
    a, W, b = _weights((m, dim), k, key)
    return TwoLayerNetwork(a, W, b, truncated_relu, jnp.ones((), jnp.float32))


@eqx.filter_jit
def _weights(shape, k, key):
    m = shape[0]
    key_a, key_w, key_b = jax.random.split(key, 3)
    a = jax.random.normal(key_a, (m,), jnp.float32)
    W = jax.random.normal(key_w, shape, jnp.float32) / k
    b = jax.random.normal(key_b, (m,), jnp.float32) / k**2
    return jnp.concatenate([a, -a]), jnp.concatenate([W, W]), jnp.concatenate([b, b])


@eqx.filter_jit
def _step(network, x, y, noise, spread):
    n = x.shape[0]
    rest = -n % _BLOCK
    x = jnp.pad(x, ((0, rest), (0, 0)))  # with labels 0: they add nothing
    y = jnp.pad(y, (0, rest))
    x, y = x.reshape(-1, _BLOCK, x.shape[1]), y.reshape(-1, _BLOCK)

    def part(total, block):
        x, y = block
        z = x @ network.W.T + network.b[None]
        upper, lower = (1 - z) / noise, -z / noise
        slope = jax.scipy.stats.norm.cdf(upper) - jax.scipy.stats.norm.cdf(lower)
        value = _smoothed(z, noise) - _smoothed(z - 1, noise)
        gate = slope * y[:, None]
        moments = (gate.T @ x, jnp.sum(gate, axis=0), y @ value, x.T @ x)
        return jax.tree.map(jnp.add, total, moments), None

    m, d = network.W.shape
    zero = jnp.zeros(m, x.dtype)
    start = (jnp.zeros((m, d), x.dtype), zero, zero, jnp.zeros((d, d), x.dtype))
    (G, slope, value, second), _ = jax.lax.scan(part, start, (x, y))
    W = network.a[:, None] * G / n
    size = jnp.sqrt(jnp.sum(W * (W @ second) / n, axis=1))
    rate = spread / jnp.median(size)
    a, b = rate * value / n, network.b + rate * network.a * slope / n
    return with_parameters(network, (a, rate * W, b))


def _smoothed(z, noise):
    """``E max(z + noise g, 0)``."""
    t = z / noise
    return z * jax.scipy.stats.norm.cdf(t) + noise * jax.scipy.stats.norm.pdf(t)


@eqx.filter_jit
def _classifier(network, x, key):
    size = jnp.sqrt(jnp.mean((x @ network.W.T) ** 2, axis=0))
    W = network.W / jnp.maximum(size, jnp.finfo(x.dtype).tiny)[:, None]
    b = jax.random.uniform(key, size.shape, x.dtype, -_KINKS, _KINKS)
    return TwoLayerNetwork(jnp.zeros_like(b), W, b, relu, jnp.ones((), x.dtype))
