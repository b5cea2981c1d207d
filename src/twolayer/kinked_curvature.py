"""Second derivatives of the pair kernel of ``s(z) = linear z + kink |z| / 2``."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from twolayer.numerics.angles import angle, unit


def kinked_curvatures(
    U: Float[Array, "m d"], V: Float[Array, "r d"], linear: float, kink: float
) -> tuple[Float[Array, "m r d d"], Float[Array, "m r d d"]]:
    """``d^2 K / du du`` and ``d^2 K / du dv`` for all pairs of rows, exact at every angle.

    With th the angle, n_vu the unit part of v orthogonal to u and q = kink^2 / (2 pi)
    (safran2021effects, Theorem 17, for ReLU: linear 1/2, kink 1):
    ``h_uu = q (|v|/|u|) sin th (I - ub ub^T + n_vu n_vu^T)``,
    ``h_uv = linear^2 I + q ((pi/2 - th) I + n_uv vb^T + n_vu ub^T)``.
    With ``v = c ub + s n``, c and s the cosine and sine of th, the last two terms are
    ``s (c (ub ub^T - n n^T) + s (ub n^T + n ub^T))``: they vanish for parallel vectors, which
    have no n, however n is rounded. The infinite ``h_uu`` of a zero vector u counts as 0.

    Examples
    --------
    >>> one = jnp.asarray([[1.0, 0.0]])
    >>> kinked_curvatures(one, one, 0.5, 1.0)[1][0, 0].tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    first, second = unit(U, jnp)[:, None], unit(V, jnp)[None]
    th = angle(U[:, None], V[None], jnp)[..., None, None]
    of_second = _orthogonal(second, first)
    identity = jnp.eye(U.shape[1])[None, None]
    norms = jnp.linalg.norm(U, axis=1)
    inverse = jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1.0), 0.0)
    ratio = inverse[:, None] * jnp.linalg.norm(V, axis=1)[None]
    across = identity - _outer(first, first) + _outer(of_second, of_second)
    strength = kink**2 / (2 * math.pi)
    cosine, sine = jnp.cos(th), jnp.sin(th)
    own = strength * ratio[..., None, None] * sine * across
    along = _outer(first, first) - _outer(of_second, of_second)
    turned = sine * (cosine * along + sine * (_outer(first, of_second) + _outer(of_second, first)))
    mixed = linear**2 * identity + strength * ((math.pi / 2 - th) * identity + turned)
    return own, mixed


def _orthogonal(u: Array, v: Array) -> Array:
    """Unit part of the unit vector u orthogonal to v, without cancellation; zero if parallel."""
    opposite = jnp.sum(u * v, axis=-1, keepdims=True) < 0
    apart = jnp.where(opposite, u + v, u - v)
    excess = jnp.sum(apart * apart, axis=-1, keepdims=True) / 2  # 1 - |cos|
    return unit(apart + jnp.where(opposite, -excess, excess) * v, jnp)


def _outer(u: Array, v: Array) -> Array:
    u, v = jnp.broadcast_arrays(u, v)
    return u[..., :, None] * v[..., None, :]
