"""Algorithm 1 of shi2023provable: a first step that forgets the weights, then training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from twolayer.dynamics.base import cast, with_parameters
from twolayer.dynamics.gradient_features.first_step import (
    first_gradients,
    first_step,
    kink_learning_rate,
)
from twolayer.dynamics.gradient_features.initial import check_scales, symmetric_network
from twolayer.dynamics.gradient_features.later_steps import (
    batch_outputs,
    train_both_layers,
    train_top_layer,
)
from twolayer.dynamics.simulate import Progress, seed_keys
from twolayer.losses import LogisticLoss, Loss
from twolayer.networks import TwoLayerNetwork, check_positive
from twolayer.outcomes import Status
from twolayer.tasks import Dataset, binary_labels

_TEST_BLOCK = 2000


class GradientFeatures(eqx.Module):
    """Algorithm 1: sizes, initial law, and the two kinds of steps.

    Attributes
    ----------
    quarter
        The number m of independent neurons; the network has ``4 m``.
    num_samples
        Samples of the later steps.
    num_step_samples
        Samples of the first step, if not as many.
    bias
        The ``b`` of all neurons at the first step, at least 0; see `symmetric_network`.
    later_bias
        Its value after the first step, if not the same. The paper keeps it; where it is 0 at the
        first step, 1 takes its place, since homogeneous functions of x are too few.
    kink
        Where the first step's learning rate puts the median neuron's kink: its distance from the
        origin.
    input_std, output_std
        Of the initial weights. A large output_std makes for small output weights after the step,
        and changes nothing else.
    signs
        Whether initial input weights are signs, as shi2023provable takes them for the uniform
        parity (as recalled).
    layers
        What the later steps train: ``"top"`` the output weights on all samples at once,
        ``"both"`` both layers on batches.
    steps
        The number of later steps.
    batch
        Samples of each later step that trains both layers.
    loss
        `LogisticLoss` or `HingeLoss`.
    accelerated
        Whether the steps on the top layer have Nesterov's momentum.
    fresh
        Whether the later steps take samples of their own, as in Algorithm 1, rather than those
        of the first step again.
    num_test
        Fresh samples that measure the accuracy.
    precision
        The type of all weights and samples.

    Raises
    ------
    ValueError
        If a size is not a positive whole number, a scale not positive, or a name unknown.
    """

    quarter: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)
    num_step_samples: int | None = eqx.field(static=True, default=None)
    bias: float = eqx.field(static=True, default=1.0)
    later_bias: float | None = eqx.field(static=True, default=None)
    kink: float = eqx.field(static=True, default=1.0)
    input_std: float = eqx.field(static=True, default=1.0)
    output_std: float = eqx.field(static=True, default=100.0)
    signs: bool = eqx.field(static=True, default=False)
    layers: str = eqx.field(static=True, default="top")
    steps: int = eqx.field(static=True, default=300)
    batch: int = eqx.field(static=True, default=100)
    loss: Loss = LogisticLoss()
    accelerated: bool = eqx.field(static=True, default=True)
    fresh: bool = eqx.field(static=True, default=False)
    num_test: int = eqx.field(static=True, default=10_000)
    precision: str = eqx.field(static=True, default="float32")

    def __check_init__(self):
        check_positive(
            quarter=self.quarter, num_samples=self.num_samples, steps=self.steps,
            num_step_samples=self.step_samples, batch=self.batch, num_test=self.num_test,
        )  # fmt: skip
        check_scales(self.bias, self.input_std, self.output_std)
        for name, value in (("kink", self.kink), ("later_bias", self.bias_after_step)):
            if not 0 < value < float("inf"):
                message = f"Expected {name} to be a positive number. Received: {value!r}."
                raise ValueError(message)
        for name, value, known in (
            ("layers", self.layers, ("top", "both")),
            ("precision", self.precision, ("float32", "float64")),
        ):
            if value not in known:
                message = f"Expected {name} to be {' or '.join(map(repr, known))}. "
                message += f"Received: {value!r}."
                raise ValueError(message)

    @property
    def step_samples(self) -> int:
        """The samples of the first step."""
        return self.num_samples if self.num_step_samples is None else self.num_step_samples

    @property
    def bias_after_step(self) -> float:
        """The absolute bias of all neurons after the first step."""
        return (self.bias or 1.0) if self.later_bias is None else self.later_bias


class GradientFeatureRun(NamedTuple):
    """What `train_gradient_features` returns, an entry a seed.

    Attributes
    ----------
    initial, stepped, trained
        Networks before and after the first step, and at the end: the last has only the neurons
        that the mask kept.
    gradients
        The simplified gradient vectors of all initial neurons.
    learning_rate
        The first step's ``eta |l'(0)|``.
    accuracy, accuracy_error
        The share of right signs on fresh samples, and its standard error from their number. An
        output of 0, where no neuron is active, counts half.
    training_loss
        The mean loss on the training samples.
    status
        Whether the seed's weights stayed finite.
    """

    initial: tuple[TwoLayerNetwork, ...]
    stepped: tuple[TwoLayerNetwork, ...]
    trained: tuple[TwoLayerNetwork, ...]
    gradients: Float[np.ndarray, "s m d"]
    learning_rate: Float[np.ndarray, " s"]
    accuracy: Float[np.ndarray, " s"]
    accuracy_error: Float[np.ndarray, " s"]
    training_loss: Float[np.ndarray, " s"]
    status: tuple[Status, ...]


def train_gradient_features(
    algorithm: GradientFeatures,
    task: Any,
    *,
    seeds: int | Sequence[int] = 1,
    key: PRNGKeyArray,
    mask: Bool[np.ndarray, "... m"] | None = None,
    test: Any = None,
    progress: Progress | None = None,
) -> GradientFeatureRun:
    """Algorithm 1 of shi2023provable (as recalled), from a symmetric network.

    The first step has weight decay ``1 / eta`` and so puts each neuron on its own gradient; its
    size follows `kink_learning_rate`. The later steps have no weight decay.

    Parameters
    ----------
    algorithm
        Sizes, initial law, steps.
    task
        Draws labelled samples of two classes. Of a `Dataset` the first rows are taken as they
        are, in both phases the same unless `algorithm` asks for fresh ones.
    seeds, key, progress
        As for `simulate`: each seed has its own network and, of a task, its own samples. With
        one key, runs that differ in the mask share the first step.
    mask
        Which of the ``4 m`` neurons to keep after the first step, for all seeds or a row a seed.
    test
        Where the samples that measure the accuracy come from, if not from `task`: of a
        `Dataset` all rows are taken.

    Raises
    ------
    ValueError
        If labels are not of two classes, a `Dataset` has fewer rows than asked for, or the mask
        does not fit or keeps no neuron.

    Examples
    --------
    >>> import twolayer as tl
    >>> from twolayer.tasks import xor_mixture
    >>> task = xor_mixture(4 * jnp.eye(5)[0], 4 * jnp.eye(5)[1])
    >>> algorithm = GradientFeatures(20, 500, num_test=1000)
    >>> run = train_gradient_features(algorithm, task, key=jax.random.key(0))
    >>> run.gradients.shape, bool(run.accuracy[0] > 0.9)
    ((1, 80, 5), True)
    """
    keys = seed_keys(seeds, key)
    keep = _checked_mask(mask, keys.shape[0], 4 * algorithm.quarter)
    width = max(map(len, keep))
    rows = []
    for k in range(keys.shape[0]):
        rows.append(_train_one(algorithm, task, test, keep[k], width, keys[k]))
        if progress is not None:
            progress(k + 1, keys.shape[0])
    initial, stepped, trained, *arrays, status = zip(*rows, strict=True)
    return GradientFeatureRun(initial, stepped, trained, *map(np.stack, arrays), status)  # type: ignore[arg-type]


def _train_one(algorithm, task, test, keep, width, key):
    dtype = jnp.dtype(algorithm.precision)
    key_network, key_data, key_later, key_test = jax.random.split(key, 4)
    if not isinstance(task, Dataset):
        task = cast(task, dtype)
    first, later, classes = _samples(algorithm, task, key_data, dtype)
    initial = cast(
        symmetric_network(
            algorithm.quarter, first[0].shape[1], bias=algorithm.bias,
            input_std=algorithm.input_std, output_std=algorithm.output_std,
            signs=algorithm.signs, key=key_network,
        ),
        dtype,
    )  # fmt: skip
    gradients = first_gradients(initial, *first)
    place = jnp.asarray([algorithm.kink, algorithm.bias_after_step], dtype)
    rate, stepped = _first_step(initial, gradients, place)
    ticket = _subnetwork(stepped, keep, width)
    steps = jnp.asarray(algorithm.steps)
    if algorithm.layers == "top":
        trained = train_top_layer(ticket, *later, algorithm.loss, steps, algorithm.accelerated)
    else:
        fresh = algorithm.fresh and not isinstance(task, Dataset)
        source = task if fresh else Dataset(*map(jnp.asarray, later))
        trained = train_both_layers(
            ticket, source, algorithm.loss, steps, algorithm.batch, key=key_later
        )
    loss, _ = _scores(trained, *later, algorithm.loss)
    accuracy, error = _accuracy(
        algorithm, trained, task if test is None else test, classes, key_test
    )
    trained = _subnetwork(trained, np.arange(len(keep)), len(keep))
    finite = np.all(np.isfinite(trained.a)) and np.all(np.isfinite(trained.W))
    return (
        initial, stepped, trained, np.asarray(gradients.input), float(rate), accuracy, error,
        float(np.mean(loss)), "finished" if finite else "diverged",
    )  # fmt: skip


def _subnetwork(network, keep, width):
    """Some of a network's neurons, and as many of no weight as `width` asks for.

    These stay 0 in training; with them, subnetworks of all seeds share one compiled program.
    """
    pad = width - len(keep)

    def part(leaf):
        if not leaf.ndim:
            return leaf
        rows = np.asarray(leaf)[keep]
        return jnp.asarray(np.pad(rows, ((0, pad),) + ((0, 0),) * (rows.ndim - 1)))

    return jax.tree.map(part, network)


@eqx.filter_jit
def _first_step(initial, gradients, place):
    """The learning rate, and the network after the step, its biases of the asked size."""
    kink, bias = place
    rate = kink_learning_rate(initial, gradients, kink=kink, bias=bias)
    stepped = first_step(initial, gradients, rate)
    quarter = initial.width // 4
    b = jnp.repeat(jnp.asarray([-1.0, 1.0, -1.0, 1.0], initial.b.dtype), quarter) * bias
    return rate, with_parameters(stepped, (stepped.a, stepped.W, b))


def _samples(algorithm, task, key, dtype):
    """Samples of the first step and of the later ones, and the two classes."""
    first, later = algorithm.step_samples, algorithm.num_samples
    count = first + later if algorithm.fresh else max(first, later)
    if isinstance(task, Dataset):
        if task.x.shape[0] < count:
            message = f"Expected a data set of at least {count} rows. "
            message += f"Received: {task.x.shape[0]}."
            raise ValueError(message)
        x, y = task.x[:count], task.y[:count]
    else:
        x, y = draw_samples(task, count, key=key)
    classes = np.unique(np.asarray(y))
    x, y = np.asarray(x, dtype), np.asarray(binary_labels(y), dtype)  # whose slices are free
    start = first if algorithm.fresh else 0
    return (x[:first], y[:first]), (x[start : start + later], y[start : start + later]), classes


@eqx.filter_jit
def draw_samples(task: Any, count: int, *, key: PRNGKeyArray) -> tuple[Array, Array]:
    """Labelled samples of a task in random order, compiled once for all keys."""
    x, y = task.sample(count, key=key)
    if getattr(getattr(task, "inputs", None), "balanced", False):  # which come class by class
        order = jax.random.permutation(jax.random.fold_in(key, 1), count)
        x, y = x[order], y[order]
    return x, y


def _checked_mask(mask, num_seeds, width) -> list[np.ndarray]:
    """The neurons that each seed keeps."""
    if mask is None:
        return [np.arange(width)] * num_seeds
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape not in {(width,), (num_seeds, width)}:
        message = f"Expected a mask of {width} booleans, or one row a seed. "
        message += f"Received: {mask.dtype} of shape {mask.shape}."
        raise ValueError(message)
    mask = np.broadcast_to(mask, (num_seeds, width))
    if not np.all(np.any(mask, axis=1)):
        message = "Expected a mask that keeps a neuron. Received: one that keeps none."
        raise ValueError(message)
    return [np.flatnonzero(row) for row in mask]


@eqx.filter_jit
def _scores(network, x, y, loss):
    """Loss of each sample, and whether its sign is right: half where no neuron is active."""
    f = batch_outputs(network, x)
    return loss(f, y), (1 + jnp.sign(f * y)) / 2


def _accuracy(algorithm, network, test, classes, key) -> tuple[float, float]:
    dtype = network.W.dtype
    if isinstance(test, Dataset):
        x, y = test.x, binary_labels(test.y)
    else:
        x, y = draw_samples(cast(test, dtype), algorithm.num_test, key=key)
        y = np.asarray(y)
        # of few samples all may be of one class
        one = np.all(y == y[0]) and y[0] in classes
        y = np.where(y == classes[1], 1.0, -1.0) if one else binary_labels(y)
    x, y = np.asarray(x, dtype), np.asarray(y, dtype)
    right = 0
    for start in range(0, len(y), _TEST_BLOCK):
        part = slice(start, start + _TEST_BLOCK)
        right += np.sum(_scores(network, x[part], y[part], algorithm.loss)[1])
    p = float(right) / len(y)
    return p, (p * (1 - p) / len(y)) ** 0.5
