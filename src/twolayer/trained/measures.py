"""Values, tangent features and polynomial parts of a given network, in NumPy's double precision."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from twolayer.activations.functions import Activation
from twolayer.networks import TwoLayerNetwork
from twolayer.numerics.hermite import hermite_values
from twolayer.numerics.precision import in_float64
from twolayer.numerics.quadrature import gauss_legendre

_REACH = 10.0  # standard deviations that quadrature covers: the mass outside is below 1e-22
_NODES = 96  # on either side of a kink
_BLOCK = 2**22  # preactivations that are held at a time


class Neurons(NamedTuple):
    """A network in NumPy: ``f(x) = sum_i a_i s(w_i . x + b_i)``, its scale inside ``a``.

    Attributes
    ----------
    a, W, b
        Output weights times the scale, input weights and biases.
    activation
        The function ``s``.
    scale
        The scale that ``a`` holds.
    biased
        Whether the biases are parameters, rather than absent.
    """

    a: Float[np.ndarray, " m"]
    W: Float[np.ndarray, "m d"]
    b: Float[np.ndarray, " m"]
    activation: Activation
    scale: float
    biased: bool

    @classmethod
    def of(cls, network: TwoLayerNetwork) -> Neurons:
        """Those of one network (no axis of seeds)."""
        W, scale = np.asarray(network.W, np.float64), float(np.asarray(network.scale))
        a = scale * np.asarray(network.a, np.float64)
        b = np.zeros(len(W)) if network.b is None else np.asarray(network.b, np.float64)
        return cls(a, W, b, network.activation, scale, network.b is not None)

    def only(self, mask: Bool[np.ndarray, " m"]) -> Neurons:
        """The neurons that a mask keeps."""
        return self._replace(a=self.a[mask], W=self.W[mask], b=self.b[mask])


@in_float64
def value_and_slope(
    activation: Activation, z: Float[np.ndarray, "*n"]
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """``s(z)`` and ``s'(z)``."""
    point = jnp.asarray(z)
    value, slope = jax.jvp(activation, (point,), (jnp.ones_like(point),))
    return np.asarray(value), np.asarray(slope)


def outputs(neurons: Neurons, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """The network's values, by blocks of samples."""
    rows = max(1, _BLOCK // max(len(neurons.a), 1))
    parts = []
    for start in range(0, len(x), rows):
        z = x[start : start + rows] @ neurons.W.T + neurons.b
        parts.append(value_and_slope(neurons.activation, z)[0] @ neurons.a)
    return np.concatenate(parts)


def gradient_moment(neurons: Neurons, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d d"]:
    """``mean over x of grad f grad f^T``: how sensitive the output is to each direction."""
    moment = np.zeros((x.shape[1], x.shape[1]))
    rows = max(1, _BLOCK // max(len(neurons.a), 1))
    for start in range(0, len(x), rows):
        z = x[start : start + rows] @ neurons.W.T + neurons.b
        gradients = (value_and_slope(neurons.activation, z)[1] * neurons.a) @ neurons.W
        moment += gradients.T @ gradients / len(x)
    return moment


def tangent_kernel(
    neurons: Neurons, x: Float[np.ndarray, "n d"], trained: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, "n n"]:
    r"""``<grad f(x), grad f(x')>`` over all parameters of the network as they are.

    .. math:: K = c^2 \sum_i s(u_i) s(v_i) + c^2 \sum_i a_i^2 s'(u_i) s'(v_i) (x \cdot x' + 1)

    with scale c; the 1 is that of the biases, where there are any (jacot2018neural). The second
    sum is over the neurons whose input weights are `trained`: not over an intercept's.
    """
    values, slopes = value_and_slope(neurons.activation, x @ neurons.W.T + neurons.b)
    gates = slopes * np.where(trained, neurons.a, 0.0)
    return neurons.scale**2 * values @ values.T + (gates @ gates.T) * (x @ x.T + neurons.biased)


def linearised(
    start: Neurons, end: Neurons, x: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
    """``f_0(x) + grad f_0(x) . (theta - theta_0)``: what the kernel regime makes of the change."""
    values, slopes = value_and_slope(start.activation, x @ start.W.T + start.b)
    moved = x @ (end.W - start.W).T + (end.b - start.b)
    return values @ end.a + (slopes * moved) @ start.a


def polynomial_shares(
    neurons: Neurons, x: Float[np.ndarray, "n d"], degree: int
) -> Float[np.ndarray, " k"]:
    r"""The share of the output's variance over `x` in its polynomial of degree 0, 1, ..., `degree`.

    Each neuron's activation is replaced by the first terms of its Hermite series under a Gaussian
    of the mean and variance that its preactivation has on `x`,

    .. math:: s(z) \to \sum_{k \le L} c_k h_k((z - \mu) / \sigma),
              \qquad c_k = E s(\mu + \sigma G) h_k(G)

    the Hermite-equivalent of demir2025asymptotic, Eq. 16, without its noise and with a bias
    (derived here). The share is 1 less the variance of what is missing over that of the output;
    for Gaussian inputs the terms are orthogonal in expectation, and it grows from 0 to 1 in L.
    """
    missing = np.zeros((degree + 1, len(x)))
    total = np.zeros(len(x))
    count = max(1, _BLOCK // max(len(x) * (degree + 1), 1))
    for first in range(0, len(neurons.a), count):
        part = neurons.only(np.arange(len(neurons.a)) // count == first // count)
        z = x @ part.W.T + part.b
        mean, spread = z.mean(axis=0), np.maximum(z.std(axis=0), 1e-300)
        coefficients = _series(part.activation, mean, spread, degree)
        values = value_and_slope(part.activation, z)[0]
        terms = hermite_values((z - mean) / spread, degree) * coefficients
        total += values @ part.a
        missing += np.einsum("nmk,m->kn", values[..., None] - np.cumsum(terms, axis=-1), part.a)
    return 1 - missing.var(axis=1) / max(float(total.var()), np.finfo(float).tiny)


def _series(
    activation: Activation, mean: np.ndarray, spread: np.ndarray, degree: int
) -> Float[np.ndarray, "m k"]:
    """``E s(mean + spread G) h_k(G)``, by a rule that is split where ``s`` may have its kink."""
    nodes, weights = gauss_legendre(_NODES, 0.0, 1.0)
    kink = np.clip(-mean / spread, -_REACH, _REACH)[:, None]
    below, above = kink + _REACH, _REACH - kink
    g = np.concatenate([-_REACH + below * nodes, kink + above * nodes], axis=1)
    mass = np.concatenate([below * weights, above * weights], axis=1)
    mass = mass * np.exp(-(g**2) / 2) / np.sqrt(2 * np.pi)
    values = value_and_slope(activation, mean[:, None] + spread[:, None] * g)[0]
    return np.einsum("mq,mqk->mk", mass * values, hermite_values(g, degree))


def participation(values: Float[np.ndarray, " k"]) -> float:
    """``(sum v)^2 / sum v^2``: how many of the values count, k if all are equal."""
    square = float(np.sum(values**2))
    return float(np.sum(values)) ** 2 / square if square else 0.0
