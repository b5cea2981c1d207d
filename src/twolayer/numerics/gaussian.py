"""Gaussian building blocks of two-layer theory: Mehler series and smoothed derivatives.

Throughout ``mu_k(q) = E s^(k)(sqrt(q) G)``, ``G ~ N(0, 1)``: the k-th derivative at 0 of the
function ``y -> E s(y + sqrt(q) G)``. As a function of the variance ``q`` it is smooth down to
``q = 0`` for a smooth ``s``, and ``d mu_k / dq = mu_{k+2} / 2``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln

_STEP = 0.06  # of the logarithm of the frequency
_LOWEST = 1e-6  # below it w / sinh(pi w / 2) is its limit 2 / pi


def mehler(
    left: Float[Array, "... k"], right: Float[Array, "... k"], q12: Float[Array, "..."]
) -> Float[Array, "..."]:
    """The series ``sum_k left_k right_k q12^k``, by Horner's rule.

    With ``left_k = mu_k(q11) / sqrt(k!)`` and ``right_k = mu_k(q22) / sqrt(k!)`` it is
    ``E s(u) s(v)`` for centred Gaussians with variances q11, q22 and covariance q12.
    """

    def step(total, coefficients):
        left_k, right_k = coefficients
        return left_k * right_k + q12 * total, None

    terms = jnp.moveaxis(left, -1, 0), jnp.moveaxis(right, -1, 0)
    start = jnp.zeros(jnp.broadcast_shapes(left.shape[:-1], right.shape[:-1], q12.shape), q12.dtype)
    return jax.lax.scan(step, start, terms, reverse=True, unroll=16)[0]


# (degree, variance) -> mu_k(variance) / sqrt(k!) for k = 0, ..., degree
Smoothed = Callable[[int, Array], Array]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def series_dual(
    derivatives: Smoothed,
    orders: tuple[int, int],
    degree: int,
    odd: bool,
    q11: Float[Array, "..."],
    q12: Float[Array, "..."],
    q22: Float[Array, "..."],
) -> Float[Array, "..."]:
    """``E s^(a)(u) s^(b)(v)``, ``orders = (a, b)``, by its Mehler series up to `degree`.

    Covariance ``[[q11, q12], [q12, q22]]``; `odd` skips the even terms of an odd function. The
    derivatives are series of the same kind (Price's theorem), so differentiating stores no
    partial sums.
    """
    left, right = (
        _shifted(derivatives, order, degree, variance)
        for order, variance in zip(orders, (q11, q22), strict=True)
    )
    length = degree + 1 - max(orders)
    if not odd:
        return mehler(left[..., :length], right[..., :length], q12)
    first = (1 + orders[0]) % 2
    series = mehler(left[..., first:length:2], right[..., first:length:2], q12**2)
    return q12 * series if first else series


@series_dual.defjvp
def _series_dual_jvp(derivatives, orders, degree, odd, primals, tangents):
    def dual(along_u, along_v):
        raised = orders[0] + along_u, orders[1] + along_v
        return series_dual(derivatives, raised, degree, odd, *primals)

    slopes = dual(2, 0) / 2, dual(1, 1), dual(0, 2) / 2
    return dual(0, 0), sum(s * t for s, t in zip(slopes, tangents, strict=True))


def _shifted(derivatives: Smoothed, order: int, degree: int, variance: Array) -> Array:
    """``mu_{k+order} / sqrt(k!)`` from ``mu_k / sqrt(k!)``."""
    values = derivatives(degree, variance)[..., order:]
    k = np.arange(degree + 1 - order)
    ratio = np.exp((gammaln(k + order + 1) - gammaln(k + 1)) / 2)
    return values * along_last_axis(ratio, variance)


def tanh_derivatives(degree: int, variance: Float[Array, "..."]) -> Float[Array, "... k"]:
    """``mu_k(variance) / sqrt(k!)`` of tanh for k = 0, ..., degree; zero for even k.

    By the sine transform ``tanh(x) = int_0^oo sin(w x) / sinh(pi w / 2) dw``:
    ``mu_k(q) = (-1)^((k-1)/2) int_0^oo w^k e^{-q w^2 / 2} / sinh(pi w / 2) dw`` for odd k.
    The trapezoidal rule in ``log w`` converges geometrically, at every variance alike: 12 digits
    up to variance 1e6 and degree 127. Double precision is needed above k of about 30.
    """
    frequencies, weights = _tanh_spectrum(degree)
    decay = jnp.exp(-variance[..., None] * along_last_axis(frequencies**2 / 2, variance))
    return decay @ jnp.asarray(weights, variance.dtype)


def log_cosh_mean(variance: Float[Array, "..."]) -> Float[Array, "..."]:
    """``E log cosh(sqrt(variance) G)``, the integral of the tanh transform.

    ``int_0^oo (1 - e^{-q w^2 / 2}) / (w sinh(pi w / 2)) dw``: smooth in q down to 0.
    """
    frequencies, weights = _tanh_spectrum(1)
    growth = -jnp.expm1(-variance[..., None] * along_last_axis(frequencies[1:] ** 2 / 2, variance))
    above = growth @ jnp.asarray(weights[1:, 1] / frequencies[1:] ** 2, variance.dtype)
    return above + weights[0, 1].item() / 2 * variance


def along_last_axis(values: Float[Array | np.ndarray, " k"], like: Float[Array, "..."]) -> Array:
    """Values along a new last axis of `like`, in its precision: ``like[..., None] * row``."""
    return jnp.asarray(values, like.dtype).reshape((1,) * like.ndim + (-1,))


@cache
def _tanh_spectrum(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies ``[w]`` and weights ``[w, k]`` with ``decay @ weights = mu_k / sqrt(k!)``."""
    # w^k / sinh(pi w / 2) peaks at w = 2 k / pi with a width of 2 sqrt(k) / pi.
    highest = 2 / np.pi * (degree + 12 * np.sqrt(degree + 1) + 40)
    frequencies = np.exp(np.arange(np.log(_LOWEST), np.log(highest), _STEP))
    log_density = np.log(2.0) - np.pi * frequencies / 2 - np.log(-np.expm1(-np.pi * frequencies))
    degrees = np.arange(degree + 1)
    log_weights = (
        (degrees[None, :] + 1) * np.log(frequencies)[:, None]
        - gammaln(degrees + 1)[None, :] / 2
        + log_density[:, None]
        + np.log(_STEP)
    )
    signs = np.where(degrees % 2 == 1, (-1.0) ** ((degrees - 1) // 2), 0.0)
    # The rest of the sum below the lowest frequency, a geometric series, matters for k = 1 only.
    origin = np.zeros((1, degree + 1))
    origin[0, 1:2] = 2 / np.pi * _LOWEST * _STEP / np.expm1(_STEP)
    weights = np.concatenate([origin, np.exp(log_weights) * signs[None, :]])
    return np.concatenate([[0.0], frequencies]), weights
