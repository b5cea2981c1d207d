"""The steps after the first, without weight decay: the top layer alone, or both layers."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.dynamics.base import with_parameters
from twolayer.losses import Loss
from twolayer.networks import TwoLayerNetwork

_BLOCK = 500  # samples: their features stay in the cache between the two products of a step
_POWER_STEPS = 30  # entries of features are not negative: the gap of their Gram matrix is large


@eqx.filter_jit
def train_top_layer(
    network: TwoLayerNetwork,
    x: Float[Array | np.ndarray, "n d"],
    y: Float[Array | np.ndarray, " n"],
    loss: Loss,
    steps: Array,
    accelerated: bool = True,
) -> TwoLayerNetwork:
    r"""Gradient descent on the output weights alone, a convex problem, from where they are.

    With features h the step is ``1 / L``, ``L = l'' lambda_max(mean h h^T)``, as in Theorem 3.4
    of shi2023provable (as recalled), from where the training loss after T steps exceeds that of
    any output weights ``a*`` by at most ``L |a - a*|^2 / (2 T)``; with Nesterov's acceleration
    by ``2 L |a - a*|^2 / (T + 1)^2``. The hinge loss, which has no ``l''``, takes subgradient
    steps of ``1 / lambda_max`` that fall linearly to 0.

    Parameters
    ----------
    network
        After the first step.
    x, y
        Samples and their labels, 1 and -1.
    loss
        The loss.
    steps
        How many.
    accelerated
        Whether with Nesterov's momentum; for the hinge loss it makes no difference.
    """
    n, m = x.shape[0], network.width
    H, signs = _feature_blocks(network, x, y)
    dtype = H.dtype

    def products(v: Array, values: Any) -> Array:
        """The mean of h times `values` of (h . v, y)."""

        def part(total, block):
            h, y = block
            return total + values(h @ v, y) @ h, None

        return jax.lax.scan(part, jnp.zeros(m, dtype), (H, signs))[0] / n

    def power(_, v):
        w = products(v, lambda f, _: f)
        return w / jnp.maximum(jnp.linalg.norm(w), jnp.finfo(dtype).tiny)

    top = jax.lax.fori_loop(0, _POWER_STEPS, power, jnp.full(m, m**-0.5, dtype))
    largest = jnp.vdot(top, products(top, lambda f, _: f))
    smooth = loss.curvature_bound < float("inf")
    curvature = loss.curvature_bound if smooth else 1.0
    size = 1 / jnp.maximum(curvature * largest, jnp.finfo(dtype).tiny)

    def step(k, state):
        a, before = state
        t = k.astype(dtype)
        rate = size if smooth else size * (1 - t / steps)
        after = a - rate * products(a, loss.slope)
        momentum = t / (t + 3) if smooth and accelerated else jnp.zeros_like(t)
        return after + momentum * (after - before), after

    start = (network.a, network.a)
    a = jax.lax.fori_loop(0, steps, step, start)[1]
    return with_parameters(network, (a, network.W, network.b))


def _feature_blocks(network, x, y):
    n, m = x.shape[0], network.width
    blocks = -(-n // _BLOCK)
    rest = blocks * _BLOCK - n
    H = jnp.pad(batch_features(network, x), ((0, rest), (0, 0)))  # of no weight: labels 0
    y = jnp.pad(y, (0, rest))
    return H.reshape(blocks, _BLOCK, m), y.reshape(blocks, _BLOCK)


def batch_features(
    network: TwoLayerNetwork, x: Float[Array | np.ndarray, "n d"]
) -> Float[Array, "n m"]:
    """The scaled neurons ``scale * s(w_i . x + b_i)`` at each input."""
    z = jnp.asarray(x) @ network.W.T
    if network.b is not None:
        z = z + network.b[None]
    return network.scale.astype(x.dtype) * network.activation(z)


def batch_outputs(
    network: TwoLayerNetwork, x: Float[Array | np.ndarray, "n d"]
) -> Float[Array, " n"]:
    """The network's value at each input."""
    return batch_features(network, x) @ network.a


@eqx.filter_jit
def train_both_layers(
    network: TwoLayerNetwork,
    source: Any,
    loss: Loss,
    steps: Array,
    batch: int,
    *,
    key: PRNGKeyArray,
) -> TwoLayerNetwork:
    """Stochastic gradient descent on input and output weights; biases stay.

    The step is ``1 / (2 mean |h|^2)``, h the features on a first batch, and falls linearly to 0.
    (shi2023provable asks for a constant step whose value we could not find.)

    Parameters
    ----------
    network
        After the first step.
    source
        Draws the samples of each step.
    loss
        The loss.
    steps
        How many.
    batch
        Samples of each.
    key
        Seed of the samples.
    """
    dtype = network.W.dtype

    def draw(k):
        x, y = source.sample(batch, key=jax.random.fold_in(key, k))
        return x.astype(dtype), y.astype(dtype)

    def mean_loss(weights, x, y):
        f = batch_outputs(with_parameters(network, (*weights, network.b)), x)
        return jnp.mean(loss(f, y))

    h = batch_features(network, draw(jnp.asarray(0))[0])
    size = 0.5 / jnp.maximum(jnp.mean(jnp.sum(h**2, axis=1)), jnp.finfo(dtype).tiny)

    def step(k, weights):
        gradient = jax.grad(mean_loss)(weights, *draw(k + 1))
        rate = size * (1 - k.astype(dtype) / steps)
        return jax.tree.map(lambda w, g: w - rate * g, weights, gradient)

    a, W = jax.lax.fori_loop(0, steps, step, (network.a, network.W))
    return with_parameters(network, (a, W, network.b))
