"""The quartet integral of ReLU, which needs the orthant probability of four Gaussians."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
from jaxtyping import Float

_JITTER = 1e-11  # of the variances: keeps repeated fields apart, and costs 1e-6 of accuracy
_NODES = 40


def orthant_angle(
    C: Float[np.ndarray, "*n k k"], i: int = 0, j: int = 1
) -> Float[np.ndarray, "*n"]:
    """The angle between fields i and j: both are positive with probability ``(pi - angle)/2pi``.

    Right angle for a field of variance 0. Angles below 1e-8 can't be told from 0: the covariance
    does not contain them.

    Examples
    --------
    >>> float(orthant_angle(np.array([[2.0, 0.0], [0.0, 1.0]])) / np.pi)
    0.5
    """
    variances = C[..., i, i] * C[..., j, j]
    root = np.sqrt(np.maximum(variances - C[..., i, j] ** 2, 0.0))
    # a field of variance 0 has neither covariance nor root
    return np.arctan2(np.where(variances > 0, root, 1.0), C[..., i, j])


def rectified_quartet(C: Float[np.ndarray, "*n 4 4"]) -> Float[np.ndarray, "*n"]:
    r"""``E 1_{u>0} 1_{v>0} w_+ z_+`` for centred Gaussians, repeated fields allowed.

    By Stein's identity in w and then z (derived here),

    .. math:: I_4 = C_{wz} P_4
              + \sum_{i \in \{w, u, v\}} \frac{C_{wi}}{\sqrt{2\pi C_{ii}}}
              E[z_+ 1 1 \mid x_i = 0]

    with the orthant probability ``P_4`` by Plackett's integral. The four fields are scaled to
    variance 1 first. Accuracy 1e-10 for distinct fields and 1e-5 for repeated ones, which are
    kept apart by a jitter of 1e-11.

    Examples
    --------
    >>> independent = float(rectified_quartet(np.eye(4)))
    >>> bool(abs(independent - 1 / (8 * np.pi)) < 1e-9)
    True
    """
    scale = np.sqrt(np.maximum(np.diagonal(C, axis1=-2, axis2=-1), 1e-300))
    unit = C / (scale[..., :, None] * scale[..., None, :]) + _JITTER * np.eye(4)
    total = unit[..., 2, 3] * _orthants(unit)
    for i in (2, 0, 1):
        others = [j for j in (0, 1, 2) if j != i]
        boundary = unit[..., 2, i] / np.sqrt(2 * np.pi * unit[..., i, i])
        total = total + boundary * _half_mean(_given(unit, i, (3, *others)))
    alive = np.all(scale > 1e-140, axis=-1)
    return np.where(alive, total * scale[..., 2] * scale[..., 3], 0.0)


def abs_quartet(C: Float[np.ndarray, "*n 4 4"]) -> Float[np.ndarray, "*n"]:
    """``E sign(u) sign(v) |w| |z|``: the ReLU quartet over all signs of the four fields.

    Examples
    --------
    >>> paired = np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> bool(abs(float(abs_quartet(paired)) - 2 / np.pi) < 1e-5)
    True
    """
    total = np.zeros(C.shape[:-2])
    for rest in itertools.product((1.0, -1.0), repeat=3):  # a common sign changes nothing
        signs = np.array((1.0, *rest))
        total = total + 2 * rest[0] * rectified_quartet(C * signs[:, None] * signs[None, :])
    return total


def _half_mean(S: np.ndarray) -> np.ndarray:
    """``E z_+ 1_{a>0} 1_{b>0}`` from the covariance of (z, a, b)."""
    total = np.zeros(S.shape[:-2])
    for i in range(3):
        others = tuple(j for j in range(3) if j != i)
        boundary = S[..., 0, i] / np.sqrt(2 * np.pi * np.maximum(S[..., i, i], 1e-300))
        total = total + np.where(S[..., i, i] > 0, boundary, 0.0) * _quadrants(_given(S, i, others))
    return total


def _quadrants(S: np.ndarray) -> np.ndarray:
    return (np.pi - orthant_angle(S)) / (2 * np.pi)


def _given(S: np.ndarray, i: int, keep: tuple[int, ...]) -> np.ndarray:
    """The covariance of the fields `keep` given that field i is 0."""
    kept = np.asarray(keep)
    row = S[..., kept, i]
    variance = np.maximum(S[..., i, i], 1e-300)[..., None, None]
    return S[..., kept[:, None], kept[None, :]] - row[..., :, None] * row[..., None, :] / variance


@cache
def _rule() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1], graded at 1, where equal fields make the integrand infinite."""
    z, weight = np.polynomial.legendre.leggauss(_NODES)
    z, weight = (z + 1) / 2, weight / 2
    return 1 - (1 - z) ** 2, 2 * (1 - z) * weight


def _orthants(C: np.ndarray) -> np.ndarray:
    """``P(all four > 0)`` by Plackett's identity along the strength of the cross covariances."""
    nodes, weights = _rule()
    grown = np.repeat(C[..., None, :, :], len(nodes), axis=-3)
    grown[..., :2, 2:] *= nodes[:, None, None]
    grown[..., 2:, :2] *= nodes[:, None, None]
    rate = np.zeros(grown.shape[:-2])
    for i, j in itertools.product((0, 1), (2, 3)):
        determinant = grown[..., i, i] * grown[..., j, j] - grown[..., i, j] ** 2
        density = 1 / (2 * np.pi * np.sqrt(np.maximum(determinant, _JITTER**2)))
        order = (j, *(k for k in range(4) if k not in {i, j}))
        rest = _given(_given(grown, i, order), 0, (1, 2))
        rate = rate + C[..., None, i, j] * density * _quadrants(rest)
    return _quadrants(C[..., :2, :2]) * _quadrants(C[..., 2:, 2:]) + rate @ weights
