"""One gradient step on the first layer, then the second layer trained on fresh samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.activations.hermite_equivalent import HermiteEquivalent
from twolayer.dynamics.base import cast
from twolayer.dynamics.readout import Readout
from twolayer.dynamics.simulate import Progress
from twolayer.inputs import check_finite
from twolayer.networks import TwoLayerNetwork, check_positive
from twolayer.outcomes import Status

_BLOCK = 1000  # test samples held at a time


class OneStep(eqx.Module):
    """Gradient steps on the first layer, a convex read-out on fresh samples.

    The algorithm of demir2025asymptotic (and of ba2022high in another scaling):
    ``W <- W - learning_rate * gradient of 1/(2m) sum (y - f)^2`` with the output weights fixed,
    `steps` times on the same m samples; then the read-out is trained on m fresh samples.

    Attributes
    ----------
    learning_rate
        The ``eta``.
    readout
        `Ridge` or `Logistic`, with its penalty.
    num_samples
        The m of the read-out, and of the step unless `num_step_samples` is given.
    num_test
        Fresh samples that measure the generalization error.
    steps
        Gradient steps on the first layer; 0 for random features.
    num_step_samples
        Samples of the step, where they are not as many as the read-out's.

    Raises
    ------
    ValueError
        If a size is not a positive whole number, the number of steps is negative, or the learning
        rate is not finite.
    """

    learning_rate: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    readout: Readout
    num_samples: int = eqx.field(static=True)
    num_test: int = eqx.field(static=True)
    steps: int = eqx.field(static=True, default=1)
    num_step_samples: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_positive(num_samples=self.num_samples, num_test=self.num_test)
        if self.num_step_samples is not None:
            check_positive(num_step_samples=self.num_step_samples)
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 0:
            message = f"Expected steps to be a whole number from 0 on. Received: {self.steps!r}."
            raise ValueError(message)
        check_finite(learning_rate=self.learning_rate)


class Errors(NamedTuple):
    """Errors of one model, an entry a trial.

    Attributes
    ----------
    generalization
        Mean loss on fresh samples: half the mean square for `Ridge`.
    generalization_error
        Its standard error from the finite number of test samples, taken as independent; too
        large where a mixture is balanced and the components' losses differ.
    training
        What was minimised: mean loss on the training samples plus penalty.
    residual
        The mean loss on the training samples alone.
    """

    generalization: Float[np.ndarray | Array, "*t"]
    generalization_error: Float[np.ndarray | Array, "*t"]
    training: Float[np.ndarray | Array, "*t"]
    residual: Float[np.ndarray | Array, "*t"]

    @property
    def status(self) -> tuple[Status, ...]:
        """Whether each trial stayed finite."""
        finite = np.isfinite(self.generalization) & np.isfinite(self.training)
        return tuple("finished" if good else "diverged" for good in np.atleast_1d(finite))


def first_layer_step(
    network: TwoLayerNetwork,
    x: Float[Array, "n d"],
    y: Float[Array, " n"],
    learning_rate: Float[Array, ""] | float,
) -> TwoLayerNetwork:
    """The network after a gradient step of ``1/(2n) sum (y - f(x))^2`` on its input weights.

    demir2025asymptotic: ``W + eta G`` with
    ``G = (1/n) [scale a (y - f)^T o s'(W X^T)] X``, no other factor.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> network = TwoLayerNetwork(jnp.ones(1), jnp.zeros((1, 2)), None, tanh, 1.0)
    >>> first_layer_step(network, jnp.asarray([[1.0, 2.0]]), jnp.ones(1), 0.5).W.tolist()
    [[0.5, 1.0]]
    """
    gradient = first_layer_gradient(network, x, y)
    W = network.W + jnp.asarray(learning_rate, network.W.dtype) * gradient
    return eqx.tree_at(lambda leaf: leaf.W, network, W)


def first_layer_gradient(
    network: TwoLayerNetwork, x: Float[Array, "n d"], y: Float[Array, " n"]
) -> Float[Array, "k d"]:
    """The ``G`` of `first_layer_step`: minus the gradient of half the mean square."""
    z = preactivations(network, x)
    value, slope = jax.jvp(network.activation, (z,), (jnp.ones_like(z),))
    weights = network.scale.astype(z.dtype) * network.a
    residual = y - value @ weights
    return (residual[:, None] * slope * weights[None]).T @ x / x.shape[0]


def preactivations(network: TwoLayerNetwork, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """What each neuron's activation receives, a sample a row."""
    z = x @ network.W.T
    return z if network.b is None else z + network.b[None]


def readout_errors(
    algorithm: OneStep,
    network: TwoLayerNetwork,
    task: Any,
    *,
    equivalents: Sequence[HermiteEquivalent] = (),
    key: PRNGKeyArray,
    key_noise: PRNGKeyArray,
) -> tuple[Errors, ...]:
    """Train the read-out on a fixed first layer: errors of the network, then of each equivalent.

    An equivalent's noise is sampled for training. On fresh samples it only adds a Gaussian of
    variance ``(scale h* |w|)^2`` to the output, over which the loss is averaged exactly.

    Parameters
    ----------
    algorithm
        Its read-out and sample sizes.
    network
        The first layer, and the scale of the features.
    task
        Draws training and test samples.
    equivalents
        Models that replace the activation in the read-out.
    key
        Seed of the samples.
    key_noise
        Seed of the equivalents' noise.
    """
    key_train, key_test = jax.random.split(key)
    with jax.enable_x64(True):  # for refinement and sums; heavy arrays keep their precision
        return _readout_errors(
            algorithm, network, task, equivalents, (key_train, key_test, key_noise)
        )


def _readout_errors(algorithm, network, task, equivalents, keys) -> tuple[Errors, ...]:
    # Small programs rather than one: sampling and fitting don't know the activation, so that
    # they are compiled once for all activations and, the sampling, for all widths.
    key_train, key_test, key_noise = keys
    dtype = network.W.dtype
    task = cast(task, dtype)
    x, y = _sample(task, algorithm.num_samples, key_train, dtype)
    models = ((network.activation, jnp.zeros((), dtype)),)
    models += tuple((part, part.noise.astype(dtype)) for part in equivalents)
    fits, z = [], _preactivations(network, x)  # all models share them
    for k, (model, noise) in enumerate(models):
        features = _features(network, model, z)
        if k:
            key_model = jax.random.fold_in(key_noise, k)
            features = _with_noise(features, network.scale * noise, key_model)
        fits.append(_fit(algorithm.readout, features, y))
    weights = tuple(fit.weights.astype(dtype) for fit in fits)
    blocks = -(-algorithm.num_test // _BLOCK)
    size = -(-algorithm.num_test // blocks)
    sums = np.zeros((len(models), 2))
    for k in range(blocks):
        x, y = _sample(task, size, jax.random.fold_in(key_test, k), dtype)
        sums += np.asarray(_test_sums(algorithm.readout, network, models, weights, x, y))
    count = blocks * size
    mean = sums[:, 0] / count
    spread = np.sqrt(np.maximum(sums[:, 1] / count - mean**2, 0) / count)
    return tuple(
        Errors(mean[k], spread[k], np.asarray(fit.objective), np.asarray(fit.residual))
        for k, fit in enumerate(fits)
    )


@eqx.filter_jit
def _sample(task: Any, num_samples: int, key: PRNGKeyArray, dtype: Any) -> tuple[Array, Array]:
    x, y = task.sample(num_samples, key=key)
    return x.astype(dtype), y.astype(dtype)


@eqx.filter_jit
def _features(network, model, z):
    return network.scale.astype(z.dtype) * model(z)


@eqx.filter_jit
def _with_noise(features, size, key):
    noise = jax.random.normal(key, features.shape, features.dtype)
    return features + size.astype(features.dtype) * noise


@eqx.filter_jit
def _fit(readout, features, y):
    return readout.fit(features, y)


@eqx.filter_jit
def _test_sums(readout, network, models, weights, x, y):
    """Sums of the loss and of its square over the samples, a row a model."""
    z = preactivations(network, x)
    scale = network.scale.astype(z.dtype)
    rows = []
    for (model, noise), w in zip(models, weights, strict=True):
        spread = scale * noise * jnp.sqrt(w @ w)
        loss = readout.loss(scale * (model(z) @ w), y, spread).astype(jnp.float64)
        rows.append(jnp.stack([jnp.sum(loss), jnp.sum(loss**2)]))
    return jnp.stack(rows)


def train_one_step(
    algorithm: OneStep,
    initial: Callable[..., TwoLayerNetwork],
    task: Any,
    *,
    equivalents: Sequence[HermiteEquivalent] = (),
    trials: int,
    key: PRNGKeyArray,
    same_data: bool = False,
    progress: Progress | None = None,
) -> tuple[Errors, ...]:
    """Errors of the network after one step, and of each Hermite equivalent, over many trials.

    Heavy arrays have the precision of the network that `initial` returns.

    Parameters
    ----------
    algorithm
        Steps, read-out, sample sizes.
    initial
        ``initial(key=...)`` draws a network.
    task
        Draws labelled samples.
    equivalents
        Models that replace the activation in the read-out.
    trials
        How many networks are trained.
    key
        Seed of all randomness.
    same_data
        Whether all trials see the same samples, as in the figures of demir2025asymptotic.
    progress
        Called after each trial.

    Raises
    ------
    ValueError
        If the number of trials is not a positive whole number.
    """
    check_positive(trials=trials)
    key_data, key_trials = jax.random.split(key)
    rows = []
    for trial in range(trials):
        own = jax.random.fold_in(key_trials, trial)
        key_network, key_noise, key_fresh = jax.random.split(own, 3)
        data = key_data if same_data else key_fresh
        network = initial(key=key_network)
        key_step, key_readout = jax.random.split(data)
        fresh = cast(task, network.W.dtype)
        size = algorithm.num_step_samples or algorithm.num_samples
        x, y = _sample(fresh, size, key_step, network.W.dtype)
        for _ in range(algorithm.steps):
            network = _step(network, x, y, algorithm.learning_rate)
        errors = readout_errors(
            algorithm, network, fresh, equivalents=equivalents, key=key_readout, key_noise=key_noise
        )
        rows.append(errors)
        if progress is not None:
            progress(trial + 1, trials)
    return tuple(
        Errors(*(np.asarray(part) for part in zip(*trials_of_one, strict=True)))
        for trials_of_one in zip(*rows, strict=True)
    )


_step = eqx.filter_jit(first_layer_step)
_preactivations = eqx.filter_jit(preactivations)
