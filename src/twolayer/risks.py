"""Risks: functions from a network to a scalar."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twolayer.inner_products import inner
from twolayer.networks import TwoLayerNetwork
from twolayer.targets import Polynomial


class PopulationRisk(eqx.Module):
    """``1/2 E (f(x) - h*(x))^2`` under ``x ~ N(0, I_d)``, in closed form.

    Attributes
    ----------
    target
        The polynomial h*.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> network = TwoLayerNetwork(jnp.zeros(1), jnp.eye(1), None, tanh, 1.0)
    >>> float(PopulationRisk(Polynomial("2*z1"))(network))
    2.0
    """

    target: Polynomial

    def __call__(self, network: TwoLayerNetwork) -> Float[Array, ""]:
        """The risk of one network."""
        own = inner(network, network) / 2
        return own - inner(network, self.target) + self.target.second_moment / 2


class EmpiricalRisk(eqx.Module):
    """``1/(2n) sum_i (f(x_i) - y_i)^2`` on given samples.

    Attributes
    ----------
    x, y
        Inputs, one a row, and their labels.
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]

    def __call__(self, network: TwoLayerNetwork) -> Float[Array, ""]:
        """The risk of one network."""
        return jnp.mean((jax.vmap(network)(self.x) - self.y) ** 2) / 2
