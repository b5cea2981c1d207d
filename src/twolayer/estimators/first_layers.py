"""First layers trained by one gradient, before a read-out is fitted on top."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from twolayer.estimators.base import Samples

_BLOCK = 4096  # samples whose preactivations are held at a time


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
