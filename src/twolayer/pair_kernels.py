"""Kernels of pairs of neurons: ``K(u, v) = E s(u.x) s(v.x)`` under ``x ~ N(0, I)``, and pulls.

A kernel depends on two neurons through ``q11 = |u|^2``, ``q12 = u.v`` and ``q22 = |v|^2``, so
``dK/du = 2 (dK/dq11) u + (dK/dq12) v``: all forces between m and r neurons are two matrix
products and arithmetic on an ``[m, r]`` array.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from twolayer.activations.functions import Activation
from twolayer.numerics.angles import arc_cosine, sine_gap

Slopes = tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]


class PairKernel(eqx.Module):
    """``K(u, v) = E s(u.x) s(v.x)`` for one activation s.

    Attributes
    ----------
    activation
        The function s.
    dual
        K as a function of ``|u|^2``, ``u.v`` and ``|v|^2``.
    slopes
        Its three derivatives, finite at angles 0 and pi and for zero neurons.
    parity
        1 if s is even, -1 if it is odd, 0 otherwise: whether v and -v can be told apart.
    kinks
        ``(linear, kink)`` where ``s(z) = linear z + kink |z| / 2``, whose second derivatives
        have a closed form of their own.
    """

    activation: Callable[[Array], Array]
    dual: Callable[[Array, Array, Array], Array]
    slopes: Callable[[Array, Array, Array], Slopes]
    parity: int = eqx.field(static=True)
    kinks: tuple[float, float] | None = eqx.field(static=True, default=None)

    def value(self, U: Float[Array, "m d"], V: Float[Array, "r d"]) -> Float[Array, "m r"]:
        """``K(u_i, v_j)`` for all pairs of rows."""
        return self.dual(*_gram(U, V))

    def pull(
        self, U: Float[Array, "m d"], V: Float[Array, "r d"], C: Float[Array, "m r"]
    ) -> Float[Array, "m d"]:
        """``sum_j C_ij dK(u_i, v_j) / du_i`` without an array of ``m r d`` numbers.

        Its rounding is that of a sum of the same numbers, for parallel, opposite and coinciding
        neurons too: an error e of a cosine moves the angle by ``e / sin``, but the force by e.
        A kinked kernel has no derivative at a zero neuron; the mean over both sides stands in.
        """
        along_u, along_v, _ = self.slopes(*_gram(U, V))
        # A product with ones: XLA's own sums along rows are not vectorised, and took longest.
        own = (C * along_u) @ jnp.full((V.shape[0], 1), 2, U.dtype)
        return own * U + (C * along_v) @ V


def activation_pairs(activation: Activation) -> PairKernel:
    """The kernel of pairs of any activation, by its dual and that dual's derivatives.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> u, v = jnp.asarray([[1.0, 0.0]]), jnp.asarray([[0.0, 1.0]])
    >>> float(activation_pairs(tanh).value(u, v)[0, 0])
    0.0
    """
    facts = activation.facts
    parity = 1 if facts.odd_degree < 0 else -1 if facts.even_degree < 0 else 0
    dual, slopes = Partial(_activation_dual, activation), Partial(_activation_slopes, activation)
    return PairKernel(activation, dual, slopes, parity)


def _activation_dual(activation: Activation, q11: Array, q12: Array, q22: Array) -> Array:
    return activation.dual(*jnp.broadcast_arrays(q11, q12, q22))


def _activation_slopes(activation: Activation, q11: Array, q12: Array, q22: Array) -> Slopes:
    variances = tuple(jnp.broadcast_arrays(q11, q12, q22))
    one, zero = jnp.ones_like(q12), jnp.zeros_like(q12)
    first, mixed, second = (
        jax.jvp(activation.dual, variances, tuple(one if k == j else zero for k in range(3)))[1]
        for j in range(3)
    )
    return first, mixed, second


def _relu(z: Array) -> Array:
    return jnp.maximum(z, 0)


def _relu_dual(q11: Array, q12: Array, q22: Array) -> Array:
    return _kinked_dual(q11, q12, q22)[0]


def _relu_slopes(q11: Array, q12: Array, q22: Array) -> Slopes:
    along_u, supplement, along_v = _kinked_slopes(q11, q12, q22)
    return along_u / 4, supplement / (2 * math.pi), along_v / 4


def _abs_dual(q11: Array, q12: Array, q22: Array) -> Array:
    return _kinked_dual(q11, q12, q22)[1]


def _abs_slopes(q11: Array, q12: Array, q22: Array) -> Slopes:
    along_u, supplement, along_v = _kinked_slopes(q11, q12, q22)
    return along_u, 2 / math.pi * supplement - 1, along_v


def _error_function(z: Array) -> Array:
    return jax.scipy.special.erf(z / math.sqrt(2))


def _erf_dual(q11: Array, q12: Array, q22: Array) -> Array:
    return 2 / math.pi * jnp.arctan2(q12, _erf_root(q11, q12, q22))


def _erf_slopes(q11: Array, q12: Array, q22: Array) -> Slopes:
    slope = 2 / math.pi / _erf_root(q11, q12, q22)
    return -slope * q12 / (2 * (1 + q11)), slope, -slope * q12 / (2 * (1 + q22))


def _square(z: Array) -> Array:
    return z * z


def _square_dual(q11: Array, q12: Array, q22: Array) -> Array:
    return q11 * q22 + 2 * q12 * q12


def _square_slopes(q11: Array, q12: Array, q22: Array) -> Slopes:
    return jnp.broadcast_to(q22, q12.shape), 4 * q12, jnp.broadcast_to(q11, q12.shape)


def _gram(U: Array, V: Array) -> tuple[Array, Array, Array]:
    return jnp.sum(U * U, axis=1)[:, None], U @ V.T, jnp.sum(V * V, axis=1)[None, :]


def _cosine(q11: Array, q12: Array, q22: Array) -> tuple[Array, Array]:
    """Product of the norms, and cosine: 0 with a zero vector, never beyond 1."""
    norms = jnp.sqrt(q11) * jnp.sqrt(q22)
    positive = norms > 0
    cosine = jnp.where(positive, q12 / jnp.where(positive, norms, 1.0), 0.0)
    return norms, jnp.clip(cosine, -1, 1)


@jax.custom_jvp
def _supplement_and_sine(c: Array) -> tuple[Array, Array]:
    """``pi - arccos(c)`` to relative accuracy near -1, and ``sqrt(1 - c^2)``."""
    return arc_cosine(-c, jnp), jnp.sqrt((1 - c) * (1 + c))


@_supplement_and_sine.defjvp
def _supplement_and_sine_jvp(primals, tangents):
    (c,), (along,) = primals, tangents
    supplement, sine = _supplement_and_sine(c)
    # At parallel neurons the derivatives of angle and sine cancel against each other in whatever
    # is built from both, so that zero serves there.
    regular = sine > 0
    slope = jnp.where(regular, along / jnp.where(regular, sine, 1.0), 0.0)
    return (supplement, sine), (slope, -c * slope)


def _kinked_slopes(q11: Array, q12: Array, q22: Array) -> Slopes:
    """``|v| sin / (pi |u|)``, ``pi - th`` and ``|u| sin / (pi |v|)``."""
    _, c = _cosine(q11, q12, q22)
    supplement, sine = _supplement_and_sine(c)
    first, second = jnp.sqrt(q11), jnp.sqrt(q22)
    positive_u, positive_v = first > 0, second > 0
    # one quotient for each row and one for each column, none for each pair
    along_u = sine * second * jnp.where(positive_u, 1 / jnp.where(positive_u, first, 1.0), 0.0)
    along_v = sine * first * jnp.where(positive_v, 1 / jnp.where(positive_v, second, 1.0), 0.0)
    return along_u / math.pi, supplement, along_v / math.pi


@jax.custom_jvp
def _kinked_dual(q11: Array, q12: Array, q22: Array) -> tuple[Array, Array]:
    """``E relu relu`` and ``E abs abs``."""
    norms, c = _cosine(q11, q12, q22)
    spike = norms * sine_gap(arc_cosine(jnp.abs(c), jnp), jnp) / (2 * math.pi)
    return jnp.maximum(q12, 0) / 2 + spike, jnp.abs(q12) + 4 * spike


@_kinked_dual.defjvp
def _kinked_dual_jvp(primals, tangents):
    along_u, supplement, along_v = _kinked_slopes(*primals)
    slopes = along_u, 2 / math.pi * supplement - 1, along_v
    first, mixed, second = (slope * t for slope, t in zip(slopes, tangents, strict=True))
    rate = first + mixed + second
    return _kinked_dual(*primals), ((rate + tangents[1]) / 4, rate)


def _erf_root(q11: Array, q12: Array, q22: Array) -> Array:
    return jnp.sqrt(1 + q11 + q22 + (q11 * q22 - q12 * q12))


# s(z) = max(z, 0), with p the angle between the lines and th that between the vectors:
# K = max(u.v, 0) / 2 + |u||v| (sin p - p cos p) / (2 pi), right to relative accuracy near th = pi
# dK/du = (|v| sin th ub + (pi - th) v) / (2 pi)
relu_pairs = PairKernel(_relu, _relu_dual, _relu_slopes, 0, (0.5, 1.0))
# s(z) = |z|: K = |u.v| + (2/pi) |u||v| (sin p - p cos p)
# dK/du = (2/pi) (|v| sin th ub + (pi/2 - th) v)
abs_pairs = PairKernel(jnp.abs, _abs_dual, _abs_slopes, 1, (0.0, 2.0))
# s(z) = erf(z / sqrt 2): K = (2/pi) arcsin( q12 / sqrt((1 + q11)(1 + q22)) )
erf_pairs = PairKernel(_error_function, _erf_dual, _erf_slopes, -1)
# s(z) = z^2: K = q11 q22 + 2 q12^2
square_pairs = PairKernel(_square, _square_dual, _square_slopes, 1)
