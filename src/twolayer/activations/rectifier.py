"""Gaussian expectations of |z|, the kinked part of relu(z) = (z + |z|) / 2."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twolayer.numerics.gaussian import along_last_axis


def rectifier_derivatives(degree: int, variance: Float[Array, "..."]) -> Float[Array, "... k"]:
    """``E |.|^(k)(r G) / sqrt(k!)`` with r^2 = variance, for k = 0, ..., degree.

    From ``E |y + r G| = r g(y / r)``; for even ``k`` it is
    ``(-1)^(k/2 + 1) sqrt(2 / pi) (k - 3)!! r^(1 - k)`` (with (-3)!! = -1 and (-1)!! = 1).

    At variance 0 these are infinite from k = 2 on; 0 is returned there, so that their products
    with polynomials of degree k in the weights take their limit 0, with the gradient 0 that
    belongs to the convention |.|'(0) = 0.
    """
    positive = variance > 0
    safe = jnp.sqrt(jnp.where(positive, variance, 1.0))
    constants = np.zeros(degree + 1)
    for k in range(0, degree + 1, 2):
        odd_factorial = -1.0 if k == 0 else float(math.prod(range(k - 3, 0, -2)))
        sign = (-1) ** (k // 2 + 1)
        constants[k] = sign * math.sqrt(2 / math.pi) * odd_factorial / math.sqrt(math.factorial(k))
    powers = safe[..., None] ** along_last_axis(1.0 - np.arange(degree + 1), variance)
    scaled = along_last_axis(constants, variance) * powers
    return jnp.where(positive[..., None], scaled, 0.0)


@jax.custom_jvp
def rectifier_dual(
    q11: Float[Array, "..."], q12: Float[Array, "..."], q22: Float[Array, "..."]
) -> Float[Array, "..."]:
    """``E |u| |v| = (2 / pi) (sqrt(det) + q12 arcsin(rho))``, right at rho = +-1 and at 0.

    The derivative is the closed form ``E sign(u) sign(v) = (2 / pi) arcsin(rho)`` and its
    companions rather than a derivative of the formula, whose square root has none at rho = +-1.
    """
    root = _root_determinant(q11, q12, q22)
    return 2 / math.pi * (root + q12 * _angle(q12, root))


@rectifier_dual.defjvp
def _rectifier_dual_jvp(primals, tangents):
    q11, q12, q22 = primals
    root = _root_determinant(q11, q12, q22)
    angle = _angle(q12, root)
    value = 2 / math.pi * (root + q12 * angle)
    along_q11 = root / (math.pi * _positive(q11))
    along_q22 = root / (math.pi * _positive(q22))
    slope = along_q11 * tangents[0] + 2 / math.pi * angle * tangents[1] + along_q22 * tangents[2]
    return value, slope


def _root_determinant(q11, q12, q22):
    determinant = q11 * q22 - q12**2
    positive = determinant > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, determinant, 1.0)), 0.0)


def _angle(q12, root):
    """``arcsin(rho)`` with derivative 0 where it has none, at rho = +-1."""
    regular = root > 0
    inside = jnp.arctan2(q12, jnp.where(regular, root, 1.0))
    return jnp.where(regular, inside, jnp.sign(q12) * (math.pi / 2))


def _positive(q):
    return jnp.where(q > 0, q, 1.0)
