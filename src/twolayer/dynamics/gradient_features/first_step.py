"""The first step from a symmetric network: weight decay 1 / learning rate forgets the weights."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twolayer.dynamics.base import with_parameters
from twolayer.networks import TwoLayerNetwork

_BLOCK = 2000  # samples whose preactivations are held at a time


class FirstGradients(NamedTuple):
    """Moments of the samples that the first step of all ``4 m`` neurons is made of.

    Attributes
    ----------
    input
        The simplified gradient vectors ``mean y x 1(w . x > b)``, a row a neuron.
    output
        The ``mean y relu(w . x - b)``.
    """

    input: Float[Array, "m d"]
    output: Float[Array, " m"]


def first_gradients(
    network: TwoLayerNetwork,
    x: Float[Array | np.ndarray, "n d"],
    y: Float[Array | np.ndarray, " n"],
) -> FirstGradients:
    """Simplified gradient vectors of a symmetric network on given samples.

    The four parts of `symmetric_network` have two gates, and where no sample lies on the kink
    the second is the complement of the first, ``G(-w, -b) = mean y x - G(w, b)``. So a quarter
    of the products is enough.

    Parameters
    ----------
    network
        A symmetric network.
    x, y
        Samples and their labels.

    Examples
    --------
    >>> from twolayer.dynamics.gradient_features.initial import symmetric_network
    >>> network = symmetric_network(1, 2, bias=0.0, key=jax.random.key(0))
    >>> x = jnp.asarray([[1.0, 0.0], [-1.0, 0.0]])
    >>> g = first_gradients(network, x, jnp.asarray([1.0, -1.0])).input
    >>> bool(jnp.allclose(g[0] + g[1], jnp.asarray([1.0, 0.0])))
    True
    """
    return _first_gradients(network.W, network.b, x, y)


@eqx.filter_jit
def _first_gradients(W, b, x, y):
    m, n = W.shape[0] // 4, x.shape[0]
    W, b = W[:m], -b[:m]
    blocks = -(-n // _BLOCK)
    rest = blocks * _BLOCK - n
    x = jnp.pad(x, ((0, rest), (0, 0)))  # with labels 0: they add nothing
    y = jnp.pad(y, (0, rest))
    x, y = x.reshape(blocks, _BLOCK, -1), y.reshape(blocks, _BLOCK)

    def part(total, block):
        x, y = block
        z = x @ W.T - b[None]
        active = jnp.where(z > 0, y[:, None], 0.0)
        gradient, output, moment, sum_y, ties = total
        tied = jnp.any((z == 0) & (y != 0)[:, None])
        return (
            gradient + active.T @ x,
            output + jnp.sum(active * z, axis=0),
            moment + y @ x,
            sum_y + jnp.sum(y),
            ties | tied,
        ), None

    nothing = jnp.zeros_like(b)
    start = (jnp.zeros_like(W), nothing, jnp.zeros_like(W[0]), jnp.zeros((), y.dtype), False)
    (gradient, output, moment, sum_y, ties), _ = jax.lax.scan(part, start, (x, y))

    def on_the_kink():  # which neither gate lets through
        def tied(total, block):
            x, y = block
            return total + jnp.where(x @ W.T == b[None], y[:, None], 0.0).T @ x, None

        return jax.lax.scan(tied, jnp.zeros_like(W), (x, y))[0]

    kink = jax.lax.cond(ties, on_the_kink, lambda: jnp.zeros_like(W))
    other = moment[None] - gradient - kink
    # relu(-z) = relu(z) - z
    other_output = output - (W @ moment - b * sum_y)
    return FirstGradients(
        jnp.concatenate([gradient, other, gradient, other]) / n,
        jnp.concatenate([output, other_output, output, other_output]) / n,
    )


def first_step(
    network: TwoLayerNetwork, gradients: FirstGradients, learning_rate: Float[Array, ""]
) -> TwoLayerNetwork:
    r"""The network after one step of size ``eta`` with weight decay ``1 / eta``.

    Since f = 0 before it, and weight decay takes all of the old weights away,

    .. math:: w_i \leftarrow \eta |l'(0)| a_i G_i, \qquad
        a_i \leftarrow \eta |l'(0)| \hat E[y\, relu(w_i x - b_i)],

    while biases stay. Derived here from Algorithm 1 of shi2023provable.

    Parameters
    ----------
    network
        A symmetric network.
    gradients
        Its moments.
    learning_rate
        ``eta |l'(0)|``: the slope of the loss at 0 is part of it.
    """
    rate = jnp.asarray(learning_rate).astype(network.W.dtype)
    W = rate * network.a[:, None] * gradients.input
    return with_parameters(network, (rate * gradients.output, W, network.b))


def kink_learning_rate(
    network: TwoLayerNetwork, gradients: FirstGradients, *, kink: float | Array, bias: float | Array
) -> Float[Array, ""]:
    """The ``eta |l'(0)|`` that puts the median neuron's kink at distance `kink` from the origin.

    After the step a neuron's kink is the hyperplane at distance ``b / |w|`` from the origin; the
    rule is ``eta |l'(0)| median_i |a_i| |G_i| = bias / kink``. The random ``|a_i|`` spread the
    kinks of the others around it. Derived here.

    Parameters
    ----------
    network
        A symmetric network before the step.
    gradients
        Its moments.
    kink
        The distance.
    bias
        The absolute bias after the step, positive.
    """
    size = jnp.abs(network.a) * jnp.linalg.norm(gradients.input, axis=1)
    return bias / (kink * jnp.median(size))
