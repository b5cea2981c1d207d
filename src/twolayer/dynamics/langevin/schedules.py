"""Temperatures that fall with time."""

from __future__ import annotations

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Halving(eqx.Module):
    """``initial * 2^-floor(t / period)``: the temperature halves every period.

    Attributes
    ----------
    initial
        The temperature at time 0.
    period
        The time between two halvings.

    Examples
    --------
    >>> Halving(0.1, 10.0)(jnp.array([0.0, 9.0, 10.0, 25.0])) * 10
    Array([1.  , 1.  , 0.5 , 0.25], dtype=...)
    """

    initial: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    period: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The temperature at each time."""
        initial, period = (part.astype(t.dtype) for part in (self.initial, self.period))
        # A time that is a whole number of periods may fall short of it by rounding.
        return initial * 2 ** -jnp.floor(t / period * (1 + 8 * jnp.finfo(t.dtype).eps))


class Logarithmic(eqx.Module):
    """``floor + scale / log(t + e)``: annealing as slow as convergence proofs ask for.

    It starts at ``floor + scale``; with floor 0 the noise dies out logarithmically.

    Attributes
    ----------
    floor
        The temperature in the end.
    scale
        How far above it the run starts.

    Examples
    --------
    >>> float(Logarithmic(0.5, 1.0)(jnp.asarray(0.0)))
    1.5
    """

    floor: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    scale: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The temperature at each time."""
        floor, scale = (part.astype(t.dtype) for part in (self.floor, self.scale))
        return floor + scale / jnp.log(t + math.e)
