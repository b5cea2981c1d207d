"""Gaussian integrals that close the equations of motion of the overlaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.theory.order_parameters.rectified import (
    abs_quartet,
    orthant_angle,
    rectified_quartet,
)

Integral = Callable[[Float[np.ndarray, "*n k k"]], Float[np.ndarray, "*n"]]


@dataclass(frozen=True)
class Integrals:
    """Four expectations of an activation g over centred Gaussian fields, from their covariance.

    Each takes covariances of shape ``[..., k, k]`` and returns ``[...]``.

    Attributes
    ----------
    name
        The activation.
    i2
        ``E g(u) g(v)``.
    j2
        ``E g'(u) g'(v)``.
    i3
        ``E g'(u) v g(w)``.
    i4
        ``E g'(u) g'(v) g(w) g(z)``.

    Examples
    --------
    >>> correlated = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> round(float(square_integrals.i2(correlated)), 6)
    1.5
    """

    name: str
    i2: Integral
    j2: Integral
    i3: Integral
    i4: Integral

    def values(self, C: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
        """``I2`` of all pairs of fields."""
        return self.i2(_gathered(C, np.indices(C.shape)))

    def slopes(self, C: Float[np.ndarray, "n n"], m: int) -> Float[np.ndarray, "m m"]:
        """``J2`` of all pairs of the first `m` fields."""
        return self.j2(_gathered(C, np.indices((m, m))))

    def drifts(self, C: Float[np.ndarray, "n n"], m: int) -> Float[np.ndarray, "m n n"]:
        """``I3`` with the slope at one of the first `m` fields and the others anywhere."""
        n = C.shape[0]
        return self.i3(_gathered(C, np.indices((m, n, n))))

    def diffusions(
        self, C: Float[np.ndarray, "n n"], m: int, signs: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "m m"]:
        """``sum_cd s_c s_d I4(i, k, c, d)`` for all pairs i, k of the first `m` fields.

        I4 is symmetric in its first and in its last two fields: each value is computed once.
        """
        i, k = np.triu_indices(m)
        c, d = np.triu_indices(C.shape[0])
        quartets = np.broadcast_arrays(i[:, None], k[:, None], c[None, :], d[None, :])
        weights = signs[c] * signs[d] * np.where(c == d, 1.0, 2.0)
        upper = self.i4(_gathered(C, np.stack(quartets))) @ weights
        whole = np.zeros((m, m))
        whole[i, k] = whole[k, i] = upper
        return whole


def _gathered(C: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Covariances ``[..., k, k]`` of the fields numbered by indices ``[k, ...]``."""
    which = np.moveaxis(indices, 0, -1)
    return C[which[..., :, None], which[..., None, :]]


def _erf_i2(C):
    return 2 / np.pi * np.arcsin(C[..., 0, 1] / np.sqrt((1 + C[..., 0, 0]) * (1 + C[..., 1, 1])))


def _erf_j2(C):
    return 2 / np.pi / np.sqrt((1 + C[..., 0, 0]) * (1 + C[..., 1, 1]) - C[..., 0, 1] ** 2)


def _erf_i3(C):
    first = 1 + C[..., 0, 0]
    root = np.sqrt(first * (1 + C[..., 2, 2]) - C[..., 0, 2] ** 2)
    return 2 / np.pi * (C[..., 1, 2] * first - C[..., 0, 1] * C[..., 0, 2]) / (root * first)


def _erf_i4(C):
    # The slopes tilt the Gaussian: w and z have covariance (C^-1 + diag(1, 1, 0, 0))^-1 under it,
    # and the rest is I2 of that.
    a, b, cross = 1 + C[..., 0, 0], 1 + C[..., 1, 1], C[..., 0, 1]
    determinant = a * b - cross**2

    def tilted(p: int, q: int) -> np.ndarray:
        up, uq, vp, vq = C[..., 0, p], C[..., 0, q], C[..., 1, p], C[..., 1, q]
        removed = (b * up * uq + a * vp * vq - cross * (up * vq + vp * uq)) / determinant
        return C[..., p, q] - removed

    sine = tilted(2, 3) / np.sqrt((1 + tilted(2, 2)) * (1 + tilted(3, 3)))
    return 4 / np.pi**2 / np.sqrt(determinant) * np.arcsin(np.clip(sine, -1, 1))


def _root_determinant(C, i, j):
    return np.sqrt(np.maximum(C[..., i, i] * C[..., j, j] - C[..., i, j] ** 2, 0.0))


def _relu_i2(C):
    theta = orthant_angle(C, 0, 1)
    return (_root_determinant(C, 0, 1) + (np.pi - theta) * C[..., 0, 1]) / (2 * np.pi)


def _relu_j2(C):
    return (np.pi - orthant_angle(C, 0, 1)) / (2 * np.pi)


def _relu_i3(C):
    boundary = _over_variance(C[..., 0, 1] * _root_determinant(C, 0, 2), C[..., 0, 0])
    return (boundary + C[..., 1, 2] * (np.pi - orthant_angle(C, 0, 2))) / (2 * np.pi)


def _abs_i2(C):
    theta = orthant_angle(C, 0, 1)
    return 2 / np.pi * (_root_determinant(C, 0, 1) + (np.pi / 2 - theta) * C[..., 0, 1])


def _abs_j2(C):
    return 1 - 2 / np.pi * orthant_angle(C, 0, 1)


def _abs_i3(C):
    boundary = _over_variance(C[..., 0, 1] * _root_determinant(C, 0, 2), C[..., 0, 0])
    return 2 / np.pi * (boundary + C[..., 1, 2] * (np.pi / 2 - orthant_angle(C, 0, 2)))


def _over_variance(numerator, variance):
    """A quotient that vanishes with its variance: the field of a dead neuron is 0."""
    alive = variance > 0
    return np.where(alive, numerator, 0.0) / np.where(alive, variance, 1.0)


def _square_i2(C):
    return C[..., 0, 0] * C[..., 1, 1] + 2 * C[..., 0, 1] ** 2


def _square_j2(C):
    return 4 * C[..., 0, 1]


def _square_i3(C):
    return 2 * (C[..., 0, 1] * C[..., 2, 2] + 2 * C[..., 0, 2] * C[..., 1, 2])


def _square_i4(C):
    # 4 E u v w^2 z^2, by Wick's theorem: fifteen pairings
    uv, uw, uz = C[..., 0, 1], C[..., 0, 2], C[..., 0, 3]
    vw, vz, wz = C[..., 1, 2], C[..., 1, 3], C[..., 2, 3]
    ww, zz = C[..., 2, 2], C[..., 3, 3]
    apart = uv * (ww * zz + 2 * wz**2) + 2 * uw * vw * zz + 2 * uz * vz * ww
    return 4 * (apart + 4 * wz * (uw * vz + uz * vw))


erf_integrals = Integrals("erf(x / sqrt 2)", _erf_i2, _erf_j2, _erf_i3, _erf_i4)
relu_integrals = Integrals("relu", _relu_i2, _relu_j2, _relu_i3, rectified_quartet)
abs_integrals = Integrals("abs", _abs_i2, _abs_j2, _abs_i3, abs_quartet)
square_integrals = Integrals("square", _square_i2, _square_j2, _square_i3, _square_i4)
