"""Inner products ``<f, g> = E f(x) g(x)`` under the standard normal law, in closed form."""

from __future__ import annotations

from typing import overload

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twolayer.activations.functions import root_factorials
from twolayer.networks import TwoLayerNetwork
from twolayer.targets import Polynomial


@overload
def inner(f: TwoLayerNetwork, g: TwoLayerNetwork) -> Float[Array, ""]: ...
@overload
def inner(f: TwoLayerNetwork, g: Polynomial) -> Float[Array, ""]: ...


def inner(f: TwoLayerNetwork, g: TwoLayerNetwork | Polynomial) -> Float[Array, ""]:
    """``E f(x) g(x)``, ``x ~ N(0, I_d)``, of a bias-free network with a network or polynomial.

    Network with network: ``sum_ij a_i a'_j E s(w_i.x) s(w'_j.x)``, the dual of the activation
    (both networks share it). Network with polynomial: ``sum_i a_i sum_D h_D(w_i) mu_D(|w_i|^2)``
    with the homogeneous parts ``h_D`` of the polynomial's Hermite symbol and
    ``mu_D(q) = E s^(D)(sqrt(q) G)`` (derived here: Stein's lemma).

    Raises
    ------
    ValueError
        If a network has biases, whose expectations have no closed form here; if two networks
        differ in activation or input dimension; if a polynomial reads more coordinates than the
        network has inputs.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> network = TwoLayerNetwork(jnp.ones(1), jnp.eye(1), None, relu, 1.0)
    >>> float(inner(network, network)), float(inner(network, Polynomial("z1")))
    (0.5, 0.5)
    """
    for function in (f, g):
        if isinstance(function, TwoLayerNetwork) and function.b is not None:
            message = "Expected networks without biases. Received: one with biases."
            raise ValueError(message)
    if isinstance(g, Polynomial):
        g.check_reads(f.dim)
        return _network_polynomial(f, g)
    names = f.activation.facts.name, g.activation.facts.name
    if names[0] != names[1]:
        message = f"Expected networks of one activation. Received: {names[0]} and {names[1]}."
        raise ValueError(message)
    if f.dim != g.dim:
        message = f"Expected networks of one input dimension. Received: {f.dim} and {g.dim}."
        raise ValueError(message)
    return _network_network(f, g)


def _network_network(f: TwoLayerNetwork, g: TwoLayerNetwork) -> Float[Array, ""]:
    q11 = jnp.sum(f.W**2, axis=1)[:, None]
    q22 = jnp.sum(g.W**2, axis=1)[None, :]
    kernel = f.activation.dual(q11, f.W @ g.W.T, q22)
    return f.scale * g.scale * (f.a @ kernel @ g.a)


def _network_polynomial(f: TwoLayerNetwork, g: Polynomial) -> Float[Array, ""]:
    variance = jnp.sum(f.W**2, axis=1)
    roots = jnp.asarray(root_factorials(g.degree), variance.dtype)
    derivatives = f.activation.derivatives(g.degree, variance) * roots[None, :]
    parts = jax.vmap(g.symbol_parts)(f.W[:, : g.dim])
    return f.scale * (f.a @ jnp.sum(parts * derivatives, axis=1))
