"""Gaussian building blocks of two-layer theory: Mehler series and smoothed derivatives.

Throughout ``mu_k(q) = E s^(k)(sqrt(q) G)``, ``G ~ N(0, 1)``: the k-th derivative at 0 of the
function ``y -> E s(y + sqrt(q) G)``. As a function of the variance ``q`` it is smooth down to
``q = 0`` for a smooth ``s``, and ``d mu_k / dq = mu_{k+2} / 2``.
"""

from __future__ import annotations

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln

_STEP, _REACH = 0.25, 120.0


def mehler(
    left: Float[Array, "... k"], right: Float[Array, "... k"], q12: Float[Array, "..."]
) -> Float[Array, "..."]:
    """The series ``sum_k left_k right_k q12^k``, by Horner's rule.

    With ``left_k = mu_k(q11) / sqrt(k!)`` and ``right_k = mu_k(q22) / sqrt(k!)`` it is
    ``E s(u) s(v)`` for centred Gaussians with variances q11, q22 and covariance q12.
    """
    total = left[..., -1] * right[..., -1]
    for k in range(left.shape[-1] - 2, -1, -1):
        total = left[..., k] * right[..., k] + q12 * total
    return total


def tanh_derivatives(degree: int, variance: Float[Array, "..."]) -> Float[Array, "... k"]:
    """``mu_k(variance) / sqrt(k!)`` of tanh for k = 0, ..., degree; zero for even k.

    By the sine transform ``tanh(x) = int_0^oo sin(w x) / sinh(pi w / 2) dw``:
    ``mu_k(q) = (-1)^((k-1)/2) int_0^oo w^k e^{-q w^2 / 2} / sinh(pi w / 2) dw`` for odd k.
    The integrand is even and analytic in the strip ``|Im w| < 2``, so the trapezoidal rule
    converges geometrically. Double precision is needed above k of about 20.
    """
    frequencies, weights = _tanh_spectrum(degree)
    decay = jnp.exp(-variance[..., None] * jnp.asarray(frequencies**2 / 2, variance.dtype))
    return decay @ jnp.asarray(weights, variance.dtype)


@cache
def _tanh_spectrum(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies ``[w]`` and weights ``[w, k]`` with ``decay @ weights = mu_k / sqrt(k!)``."""
    frequencies = np.arange(_STEP, _REACH, _STEP)
    log_density = np.log(2.0) - np.pi * frequencies / 2 - np.log1p(-np.exp(-np.pi * frequencies))
    degrees = np.arange(degree + 1)
    log_weights = (
        degrees[None, :] * np.log(frequencies)[:, None]
        - gammaln(degrees + 1)[None, :] / 2
        + log_density[:, None]
        + np.log(_STEP)
    )
    signs = np.where(degrees % 2 == 1, (-1.0) ** ((degrees - 1) // 2), 0.0)
    weights = np.exp(log_weights) * signs[None, :]
    if degree >= 1:
        # The trapezoidal rule's half node at w = 0, where w^k / sinh(pi w / 2) is 2 / pi for k = 1.
        frequencies = np.concatenate([[0.0], frequencies])
        origin = np.zeros((1, degree + 1))
        origin[0, 1] = _STEP / 2 * 2 / np.pi
        weights = np.concatenate([origin, weights])
    return frequencies, weights
