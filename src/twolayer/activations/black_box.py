"""Gaussian expectations of any JAX function of one variable, by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twolayer.numerics.gaussian import along_last_axis
from twolayer.numerics.hermite import hermite_values
from twolayer.numerics.quadrature import kinked_gaussian

Scalar = Callable[[Array], Array]
_NESTED = 8  # derivatives taken one in the other; above, the projections are divided by r^k


def quadrature_derivatives(
    function: Scalar, smooth: bool, degree: int, variance: Float[Array, "..."]
) -> Float[Array, "... k"]:
    """``E s^(k)(r G) / sqrt(k!)`` with r^2 = variance, for k = 0, ..., degree.

    The mean of the k-th derivative up to k = 10 where `function` is smooth. Elsewhere
    ``E s(r G) h_k(G) / r^k``, which loses digits at small variance; 0 is returned at variance 0.
    (At a kink the first derivative there is the mean of the two slopes.)
    """
    nodes, weights = kinked_gaussian()
    positive = variance > 0
    safe = jnp.sqrt(jnp.where(positive, variance, 1.0))
    values = function(safe[..., None] * along_last_axis(nodes, variance))
    projections = values @ jnp.asarray(
        weights[:, None] * hermite_values(nodes, degree), variance.dtype
    )
    means, derivative = [], function
    for k in range(degree + 1):
        if k <= (_NESTED if smooth else 1):
            means.append(_mean(derivative, smooth, variance) / math.sqrt(math.factorial(k)))
            derivative = _derivative(derivative)
        else:
            means.append(jnp.where(positive, projections[..., k] / safe**k, 0.0))
    return jnp.stack(means, axis=-1)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def quadrature_dual(
    left: Scalar,
    right: Scalar,
    smooth: bool,  # noqa: ARG001 (read by the derivative rule)
    q11: Float[Array, "..."],
    q12: Float[Array, "..."],
    q22: Float[Array, "..."],
) -> Float[Array, "..."]:
    """``E left(u) right(v)`` for centred Gaussians with covariance ``[[q11, q12], [q12, q22]]``.

    Its derivatives are expectations again (Price's theorem), hence finite at correlation +-1.
    """
    nodes, weights = kinked_gaussian()
    u = jnp.sqrt(q11)[..., None] * along_last_axis(nodes, q11)
    slope = q12 / jnp.where(q11 > 0, q11, 1.0)
    rest = jnp.sqrt(jnp.maximum(q22 - q12 * slope, 0.0))
    shift = slope[..., None] * u
    v = shift[..., None] + rest[..., None, None] * along_last_axis(nodes, shift)
    weights = jnp.asarray(weights, q12.dtype)
    return (left(u) * (right(v) @ weights)) @ weights


@quadrature_dual.defjvp
def _quadrature_dual_jvp(left, right, smooth, primals, tangents):
    q11, q12, q22 = primals
    slope_left, slope_right = _derivative(left), _derivative(right)
    along_q12 = quadrature_dual(slope_left, slope_right, smooth, q11, q12, q22)
    if smooth:
        along_q11 = quadrature_dual(_derivative(slope_left), right, smooth, q11, q12, q22) / 2
        along_q22 = quadrature_dual(left, _derivative(slope_right), smooth, q11, q12, q22) / 2
    else:
        # Stein's lemma trades the second derivative, which a kink does not have, for a factor u.
        from_left = quadrature_dual(_times(slope_left), right, smooth, q11, q12, q22)
        from_right = quadrature_dual(left, _times(slope_right), smooth, q11, q12, q22)
        along_q11 = (from_left - q12 * along_q12) / (2 * jnp.where(q11 > 0, q11, 1.0))
        along_q22 = (from_right - q12 * along_q12) / (2 * jnp.where(q22 > 0, q22, 1.0))
    value = quadrature_dual(left, right, smooth, q11, q12, q22)
    return value, along_q11 * tangents[0] + along_q12 * tangents[1] + along_q22 * tangents[2]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _mean(
    function: Scalar,
    smooth: bool,  # noqa: ARG001 (read by the derivative rule)
    variance: Float[Array, "..."],
) -> Float[Array, "..."]:
    nodes, weights = kinked_gaussian()
    # Never quite 0, where the slope at a kink would be that of one side.
    radius = jnp.sqrt(jnp.maximum(variance, jnp.finfo(variance.dtype).tiny))
    values = function(radius[..., None] * along_last_axis(nodes, variance))
    return values @ jnp.asarray(weights, variance.dtype)


@_mean.defjvp
def _mean_jvp(function, smooth, primals, tangents):
    (variance,) = primals
    slope = _derivative(function)
    if smooth:
        along = _mean(_derivative(slope), smooth, variance) / 2
    else:
        along = _mean(_times(slope), smooth, variance) / (2 * jnp.where(variance > 0, variance, 1))
    return _mean(function, smooth, variance), along * tangents[0]


def _derivative(function: Scalar) -> Scalar:
    return lambda z: jax.jvp(function, (z,), (jnp.ones_like(z),))[1]


def _times(function: Scalar) -> Scalar:
    return lambda z: z * function(z)
