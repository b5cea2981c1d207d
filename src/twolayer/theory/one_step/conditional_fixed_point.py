r"""Ridge regression on features whose law depends on the node: the self-consistent equations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import linalg

from twolayer.theory.one_step.conditional_statistics import Features, Nodes

_TOLERANCE = 1e-10
_ROUNDS = 2000
_NEGLIGIBLE = 1e-10  # singular values left out of the pairs' traces, relative to the largest


@dataclass(frozen=True)
class Solution:
    """The errors of one ridge problem.

    Attributes
    ----------
    test, train, objective
        Mean squares, not halved.
    errors
        Twice the test error given each node, shape ``[q]``.
    shares
        ``h_s``: what is left of a residual once its sample has been trained on, shape ``[q]``.
    gain
        Spectral radius of K, below 1: how much the training noise feeds itself.
    change
        The last relative change of the fixed point.
    converged
        Whether that is below the tolerance.
    """

    test: float
    train: float
    objective: float
    errors: Float[np.ndarray, " q"]
    shares: Float[np.ndarray, " q"]
    gain: float
    change: float
    converged: bool


def solve(features: Features, nodes: Nodes, num_samples: float, ridge: float) -> Solution:
    r"""Errors of ``min (1/m) |y - Phi^T w|^2 + ridge |w|^2`` for m samples.

    With ``B_s = E[phi phi^T | s]``

    .. math:: Q = \Big(ridge + \sum_s p_s h_s B_s\Big)^{-1}, \quad
       h_s = \frac{1}{1 + \operatorname{Tr}(B_s Q) / m}, \quad
       \bar w = Q \sum_s p_s h_s E[\phi y | s],
    .. math:: K_{st} = \frac{p_t h_t^2}{m} \operatorname{Tr}(B_s Q B_t Q), \quad
       err = (1 - K)^{-1} E[(y - \bar w \cdot \phi)^2 | s],

    and ``test = sum p err``, ``train = sum p h^2 err``,
    ``objective = sum p h E[y (y - wbar . phi) | s]``. Derived here (leave one out, in the manner
    of the deterministic equivalents of random matrices). The map of ``1 / h - 1`` is monotone
    and scalable, so there is one solution and its iteration converges to it.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> nodes = Nodes(one, np.ones(1), np.zeros(1), np.ones(1), np.ones(1), np.zeros(1), 0.0)
    >>> features = Features(0 * one, one, 0 * one, np.eye(1), np.ones(1))  # y = phi = z
    >>> bool(solve(features, nodes, 100, 1e-9).test < 1e-9)
    True
    """
    p, q = nodes.weights, len(nodes.weights)
    cross = features.mean * nodes.label[:, None]
    cross += features.slope * features.teacher * nodes.label_slope[:, None]
    shares, inverse, change = _fixed_point(features, p, num_samples, ridge)
    weighted = p * shares
    fit = inverse @ (weighted @ cross)
    explained = cross @ fit
    centre = features.mean @ fit
    tilted = features.slope * fit
    spread = np.sum((tilted @ features.overlaps) * tilted, axis=1) + features.rest @ fit**2
    bias = nodes.label_power - 2 * explained + centre**2 + spread
    pairs = _pair_traces(features, inverse)
    kernel = pairs * (weighted * shares) / num_samples
    root = np.sqrt(np.maximum(weighted * shares, 0.0))
    gain = float(
        linalg.eigvalsh(root[:, None] * pairs * root / num_samples, subset_by_index=(q - 1, q - 1))[
            0
        ]
    )
    errors = np.maximum(np.linalg.solve(np.eye(q) - kernel, bias), 0.0)
    return Solution(
        float(p @ errors),
        float((weighted * shares) @ errors),
        float(weighted @ (nodes.label_power - explained)),
        errors,
        shares,
        gain,
        change,
        change < _TOLERANCE and gain < 1,
    )


def _fixed_point(
    features: Features, p: np.ndarray, num_samples: float, ridge: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """The shares h, ``Q`` and the last relative change."""
    shares, change = np.ones(len(p)), np.inf
    for _ in range(_ROUNDS):
        inverse = _resolvent(features, p * shares, ridge)
        after = 1 / (1 + _traces(features, inverse) / num_samples)
        change = float(np.max(np.abs(after / shares - 1)))
        shares = after
        if change < _TOLERANCE:
            break
    return shares, inverse, change


def _resolvent(features: Features, weights: np.ndarray, ridge: float) -> np.ndarray:
    """``(ridge + sum_s weights_s B_s)^{-1}``, whose first part is one product of matrices."""
    total = (features.slope * weights[:, None]).T @ features.slope * features.overlaps
    total += (features.mean * weights[:, None]).T @ features.mean
    total[np.diag_indices_from(total)] += weights @ features.rest + ridge
    factor = linalg.cho_factor(total, lower=True, overwrite_a=True)
    inverse = linalg.cho_solve(factor, np.eye(len(total)), overwrite_b=True)
    return (inverse + inverse.T) / 2


def _traces(features: Features, matrix: np.ndarray) -> Float[np.ndarray, " q"]:
    """``Tr(B_s matrix)`` at each node s."""
    return (
        np.sum((features.slope @ (features.overlaps * matrix)) * features.slope, axis=1)
        + np.sum((features.mean @ matrix) * features.mean, axis=1)
        + features.rest @ np.diag(matrix)
    )


def _pair_traces(features: Features, inverse: np.ndarray) -> Float[np.ndarray, "q q"]:
    """``Tr(B_s Q B_t Q)`` for all pairs: one k x k sandwich a node, then quadratic forms.

    Means and slopes are smooth functions of few coordinates, so few vectors span them all.
    """
    slope_left, slope_right = _compressed(features.slope)
    mean_left, mean_right = _compressed(features.mean)
    pairs = np.empty((len(features.mean),) * 2)
    for t, (mean, slope, rest) in enumerate(
        zip(features.mean, features.slope, features.rest, strict=True)
    ):
        inner = slope[:, None] * features.overlaps * slope
        inner[np.diag_indices_from(inner)] += rest
        sandwich = inverse @ inner @ inverse
        seen = inverse @ mean
        sandwich += np.outer(seen, seen)
        small = slope_right @ (features.overlaps * sandwich) @ slope_right.T
        flat = mean_right @ sandwich @ mean_right.T
        pairs[:, t] = (
            np.sum((slope_left @ small) * slope_left, axis=1)
            + np.sum((mean_left @ flat) * mean_left, axis=1)
            + features.rest @ np.diag(sandwich)
        )
    return (pairs + pairs.T) / 2


def _compressed(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factors ``left @ right`` of the rows, without the directions that none of them has."""
    left, sizes, right = np.linalg.svd(rows, full_matrices=False)
    kept = sizes > _NEGLIGIBLE * sizes[0]
    return left[:, kept] * sizes[kept], right[kept]
