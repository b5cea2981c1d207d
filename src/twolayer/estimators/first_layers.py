"""First layers trained by one gradient, before a read-out is fitted on top."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from twolayer.estimators.base import Samples
from twolayer.estimators.ridge import read_outs

_BLOCK = 4096  # samples whose preactivations are held at a time
_FEW = 2000  # samples whose gradients are looked at
_PENALTY = 1e-2  # of the read-outs whose gradients show where to draw neurons


def first_gradient(
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
    a: Float[np.ndarray, "m k"],
    samples: Samples,
) -> Float[np.ndarray, "m d"]:
    """``mean of (a_i . y) relu'(w_i . x + b_i) x``: the first descent direction of each neuron.

    Targets count from their mean, which the read-out's intercept takes care of. That of the half
    square loss where the network is 0: the simplified gradient vector of shi2023provable for one
    output, and the step of ba2022high up to the network's own output.
    """
    gradient = np.zeros_like(W)
    total = max(float(samples.weights.sum()), np.finfo(float).tiny)
    y = samples.y - np.average(samples.y, axis=0, weights=samples.weights)
    for start in range(0, len(samples.x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        x = samples.x[rows]
        slope = (y[rows] * samples.weights[rows, None]).astype(x.dtype) @ a.T
        slope[(x @ W.T + b) <= 0] = 0.0
        gradient += slope.T @ x
    return gradient / np.float32(total)


def one_step_layer(
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
    gradient: Float[np.ndarray, "m d"],
    strength: float,
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]:
    """One step whose median length is `strength` times that of a neuron's weights; 0 is no step."""
    sizes = np.linalg.norm(gradient, axis=1)
    median = float(np.median(sizes))
    if not strength or not median:
        return W, b
    rate = strength * float(np.median(np.linalg.norm(W, axis=1))) / median
    return W + np.float32(rate) * gradient, b


def layerwise_layer(
    gradient: Float[np.ndarray, "m d"], samples: Samples, kink: float
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]:
    """The step of shi2023provable's Algorithm 1: weight decay takes the old weights away.

    What is left is the gradient; its common scale makes the median neuron's preactivation one of
    variance 1, and biases are `kink` with either sign.
    """
    some = samples.x[: 10 * _BLOCK]
    spread = float(np.median(np.sqrt(np.mean((some @ gradient.T) ** 2, axis=0))))
    W = gradient / np.float32(spread) if spread > 0 else gradient
    b = np.where(np.arange(len(W)) % 2 == 0, kink, -kink).astype(np.float32)
    return W, b


def gradients_of(
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
    a: Float[np.ndarray, "m k"],
    x: Float[np.ndarray, "n d"],
) -> Iterator[Float[np.ndarray, "n d"]]:
    """The gradient in x of each output of ``relu(x W^T + b) a``.

    What all classes' outputs have in common tells none of them apart, and is left out; of two
    classes the second then is the first with the other sign.
    """
    gates = (x @ W.T.astype(x.dtype) + b > 0).astype(x.dtype)
    columns = a - a.mean(axis=1, keepdims=True) if a.shape[1] > 1 else a
    for column in columns.T[: 1 if a.shape[1] == 2 else None]:
        yield gates @ (column[:, None] * W).astype(x.dtype)


def gradient_moment(
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
    a: Float[np.ndarray, "m k"],
    x: Float[np.ndarray, "n d"],
) -> Float[np.ndarray, "d d"]:
    """``mean over x of sum_c g_c g_c^T`` with g_c what `gradients_of` returns."""
    moment = np.zeros((W.shape[1], W.shape[1]))
    for gradient in gradients_of(W, b, a, x):
        moment += gradient.T @ gradient / len(x)
    return moment


def redrawn_layer(
    W: Float[np.ndarray, "m d"], b: Float[np.ndarray, " m"], seed: int, samples: Samples
) -> Float[np.ndarray, "m d"]:
    """Neurons drawn anew along what the network reads once its read-out is fitted.

    Their law is N(0, M) with M the `gradient_moment`, scaled so that the median neuron's
    preactivation has variance 1: a round of the recursive feature machine of
    radhakrishnan2024mechanism, with random features in place of its kernel.
    """
    (read,) = read_outs(
        lambda x: np.maximum(x @ W.T + b, 0.0), samples.x, samples.y, samples.weights, (_PENALTY,)
    )
    generator = np.random.default_rng(seed)
    some = samples.x[generator.permutation(len(samples.x))[:_FEW]]
    if W.shape[1] <= len(W):
        values, vectors = np.linalg.eigh(gradient_moment(W, b, read.coefficients, some))
        normals = generator.standard_normal(W.shape, np.float32)
        drawn = (normals * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    else:  # the same law without its matrix
        drawn = np.zeros_like(W)
        for gradient in gradients_of(W, b, read.coefficients, some):
            drawn += generator.standard_normal((len(W), len(some)), np.float32) @ gradient
    spread = float(np.median(np.sqrt(np.mean((some @ drawn.T) ** 2, axis=0))))
    return (drawn / spread).astype(np.float32) if spread > 0 else W
