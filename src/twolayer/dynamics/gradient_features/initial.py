"""Symmetric networks: four neurons that cancel, so that training starts from the function 0."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from twolayer.activations import relu
from twolayer.networks import TwoLayerNetwork, check_positive


def symmetric_network(
    quarter: int,
    dim: int,
    *,
    bias: float,
    input_std: float = 1.0,
    output_std: float = 1.0,
    signs: bool = False,
    key: PRNGKeyArray,
) -> TwoLayerNetwork:
    r"""A ReLU network of ``4 m`` neurons that is 0 everywhere, with ``f(x) = a . relu(W x - b)``.

    The first m neurons have ``a ~ N(0, output_std^2)``, ``w ~ N(0, input_std^2 I)`` and the same
    bias; then the four parts are

    .. math:: (a, w, b), \quad (-a, -w, -b), \quad (-a, w, b), \quad (a, -w, -b).

    Both signs of the bias and of the output weight occur at each ``+-w``. As recalled from
    shi2023provable, Section 2, not checked against its text.

    Parameters
    ----------
    quarter
        The number m of independent neurons.
    dim
        Input dimension.
    bias
        The ``b`` that is subtracted, at least 0; the network itself stores ``-b``.
    input_std, output_std
        Standard deviations of the weights.
    signs
        Whether input weights are ``+-input_std`` with equal chance rather than Gaussian.
    key
        Seed of the weights.

    Raises
    ------
    ValueError
        If a size is not a positive whole number, the bias is negative, or a standard deviation
        is not positive.

    Examples
    --------
    >>> network = symmetric_network(5, 3, bias=0.5, key=jax.random.key(0))
    >>> network.width, bool(abs(network(jnp.ones(3))) < 1e-6)
    (20, True)
    """
    check_positive(quarter=quarter, dim=dim)
    check_scales(bias, input_std, output_std)
    a, W, b = _weights((quarter, dim), signs, jnp.asarray([bias, input_std, output_std]), key)
    return TwoLayerNetwork(a, W, b, relu, 1.0)  # type: ignore[arg-type]


@eqx.filter_jit
def _weights(shape, signs, scales, key):
    bias, input_std, output_std = scales
    key_a, key_w = jax.random.split(key)
    a = output_std * jax.random.normal(key_a, shape[:1])
    draw = jax.random.rademacher if signs else jax.random.normal
    W = input_std * draw(key_w, shape, a.dtype)
    b = jnp.full_like(a, bias)
    return (
        jnp.concatenate([a, -a, -a, a]),
        jnp.concatenate([W, -W, W, -W]),
        jnp.concatenate([-b, b, -b, b]),
    )


def check_scales(bias: float, input_std: float, output_std: float) -> None:
    """Raise unless the bias is at least 0 and both standard deviations are positive.

    Raises
    ------
    ValueError
        Naming the first that is not.
    """
    if not 0 <= bias < math.inf:
        message = "Expected a bias of at least 0: its sign is given by the symmetry. "
        message += f"Received: {bias!r}."
        raise ValueError(message)
    for name, value in (("input_std", input_std), ("output_std", output_std)):
        if not 0 < value < math.inf:
            message = f"Expected {name} to be a positive number. Received: {value!r}."
            raise ValueError(message)
