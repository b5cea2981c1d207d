"""Quadrature rules with their nodes and weights as NumPy float64 arrays."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float

Rule = tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]


@cache
def gauss_hermite(num_nodes: int) -> Rule:
    """Gauss rule for ``E g(G)``, ``G ~ N(0, 1)``: exact for polynomials of degree 2 q - 1.

    For smooth integrands only: on a kink its error falls like 1 / sqrt(q); use `kinked_gaussian`.
    Computed from the symmetric tridiagonal Jacobi matrix, which stays finite at any order.

    Examples
    --------
    >>> nodes, weights = gauss_hermite(4)
    >>> round(float(weights @ nodes**6), 12)
    15.0
    """
    off_diagonal = np.sqrt(np.arange(1, num_nodes))
    nodes, vectors = np.linalg.eigh(np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1))
    nodes = (nodes - nodes[::-1]) / 2
    weights = vectors[0] ** 2
    weights = (weights + weights[::-1]) / 2
    return _frozen(nodes), _frozen(weights / weights.sum())


@cache
def gauss_legendre(num_nodes: int, lower: float = -1.0, upper: float = 1.0) -> Rule:
    """Gauss rule for the integral over ``[lower, upper]``.

    Examples
    --------
    >>> nodes, weights = gauss_legendre(3, 0.0, 2.0)
    >>> round(float(weights @ nodes**2), 12)
    2.666666666667
    """
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    half = (upper - lower) / 2
    return _frozen(lower + half * (nodes + 1)), _frozen(half * weights)


@cache
def kinked_gaussian(num_nodes: int = 128, reach: float = 10.0) -> Rule:
    """Rule for ``E g(G)``, ``G ~ N(0, 1)``, with ``g`` smooth on each half-line (a kink at 0).

    Gauss-Legendre on ``[-reach, 0]`` and ``[0, reach]``; the mass outside is below 1e-22.

    Examples
    --------
    >>> nodes, weights = kinked_gaussian()
    >>> round(float(weights @ np.maximum(nodes, 0)) * np.sqrt(2 * np.pi), 12)
    1.0
    """
    nodes, weights = gauss_legendre(num_nodes // 2, 0.0, reach)
    density = np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
    half = weights * density
    return _frozen(np.concatenate([-nodes[::-1], nodes])), _frozen(
        np.concatenate([half[::-1], half])
    )


def tensor_rule(rule: Rule, dim: int) -> tuple[Float[np.ndarray, "q p"], Float[np.ndarray, " q"]]:
    """The product of `dim` copies of a one-dimensional rule: ``q ** dim`` nodes.

    Examples
    --------
    >>> points, weights = tensor_rule(gauss_hermite(3), 2)
    >>> points.shape, round(float(weights @ (points[:, 0] ** 2 * points[:, 1] ** 2)), 12)
    ((9, 2), 1.0)
    """
    nodes, weights = rule
    points = np.stack(np.meshgrid(*[nodes] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    product = np.ones(1)
    for _ in range(dim):
        product = np.multiply.outer(product, weights).reshape(-1)
    return points, product


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
