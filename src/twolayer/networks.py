"""Two-layer networks and their initialisations."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.activations.functions import Activation


class TwoLayerNetwork(eqx.Module):
    """``f(x) = scale * sum_i a_i s(w_i . x + b_i)``: the empirical measure over its neurons.

    Attributes
    ----------
    a
        Output weights. (A leading axis, as of seeds, is for `jax.vmap` to take off.)
    W
        Input weights, one neuron a row.
    b
        Biases, or ``None`` for a network without biases.
    activation
        The function ``s``.
    scale
        ``1 / m`` in the mean-field scaling, 1 for a plain sum.
    """

    a: Float[Array, "*s m"]
    W: Float[Array, "*s m d"]
    b: Float[Array, "*s m"] | None
    activation: Activation
    scale: Float[Array, "*s"] = eqx.field(converter=jnp.asarray)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """The network's value at one input."""
        z = self.W @ x
        if self.b is not None:
            z = z + self.b
        return self.scale * (self.a @ self.activation(z))

    @property
    def width(self) -> int:
        """The number of neurons m."""
        return self.W.shape[-2]

    @property
    def dim(self) -> int:
        """The input dimension d."""
        return self.W.shape[-1]


def mean_field_network(
    width: int, dim: int, activation: Activation, *, key: PRNGKeyArray
) -> TwoLayerNetwork:
    """A bias-free mean-field network, ``a ~ U[-1, 1]`` and ``w ~ N(0, I_d / d)``, scale 1 / m.

    The initial law of chen2024subspace, Theorem 3.4 (with the bound 1 on ``|a|``).

    Raises
    ------
    ValueError
        If `width` or `dim` is below 1.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> mean_field_network(4, 3, tanh, key=jax.random.key(0)).W.shape
    (4, 3)
    """
    check_positive(width=width, dim=dim)
    key_a, key_w = jax.random.split(key)
    a = jax.random.uniform(key_a, (width,), minval=-1.0, maxval=1.0)
    W = jax.random.normal(key_w, (width, dim)) / jnp.sqrt(dim)
    return TwoLayerNetwork(a, W, None, activation, 1 / width)  # type: ignore[arg-type]


def one_step_network(
    width: int, dim: int, activation: Activation, *, trace: float, key: PRNGKeyArray
) -> TwoLayerNetwork:
    """A bias-free network with ``F_ij ~ N(0, 1 / trace)``, ``a ~ N(0, I / k)``, scale 1 / sqrt(k).

    The initial law of demir2025asymptotic; `trace` is that of the input's covariance, so that a
    neuron's input has variance 1. Theirs is the output of order 1 / sqrt(k).

    Raises
    ------
    ValueError
        If `width` or `dim` is below 1, or the trace is not positive.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> one_step_network(4, 3, tanh, trace=3.0, key=jax.random.key(0)).W.shape
    (4, 3)
    """
    check_positive(width=width, dim=dim)
    if not 0 < trace < math.inf:
        message = f"Expected the trace of a covariance, positive. Received: {trace!r}."
        raise ValueError(message)
    key_a, key_w = jax.random.split(key)
    a = jax.random.normal(key_a, (width,)) / jnp.sqrt(width)
    W = jax.random.normal(key_w, (width, dim)) / jnp.sqrt(trace)
    return TwoLayerNetwork(a, W, None, activation, width**-0.5)  # type: ignore[arg-type]


def check_positive(**sizes: int) -> None:
    """Raise unless every named size is an integer of at least 1.

    Raises
    ------
    ValueError
        Naming the first size that is not.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            message = f"Expected {name} to be a whole number of at least 1. Received: {size!r}."
            raise ValueError(message)
