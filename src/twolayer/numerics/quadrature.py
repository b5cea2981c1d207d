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
    Nodes from the symmetric tridiagonal Jacobi matrix, weights ``1 / sum_k h_k(x)^2``: finite at
    any order, and accurate in the tails, where an eigenvector's first entry is only rounding.

    Examples
    --------
    >>> nodes, weights = gauss_hermite(4)
    >>> round(float(weights @ nodes**6), 12)
    15.0
    """
    off_diagonal = np.sqrt(np.arange(1, num_nodes))
    nodes = np.linalg.eigvalsh(np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1))
    nodes = (nodes - nodes[::-1]) / 2
    # h_k(x) e^{-x^2 / 4} rather than h_k(x), which overflows.
    before, value = np.zeros_like(nodes), np.exp(-(nodes**2) / 4)
    total = value**2
    for k in range(1, num_nodes):
        before, value = value, (nodes * value - np.sqrt(k - 1) * before) / np.sqrt(k)
        total += value**2
    weights = np.exp(-(nodes**2) / 2) / total
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
    >>> round(float(weights @ np.maximum(nodes, 0) * np.sqrt(2 * np.pi)), 12)
    1.0
    """
    nodes, weights = gauss_legendre(num_nodes // 2, 0.0, reach)
    density = np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
    half = weights * density
    return _frozen(np.concatenate([-nodes[::-1], nodes])), _frozen(
        np.concatenate([half[::-1], half])
    )


def tensor_rule(rule: Rule, dim: int) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, " n"]]:
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


@cache
def sphere_cosine(num_nodes: int, dim: int) -> Rule:
    """Gauss rule for ``E g(u . v)``, u and v uniform on the unit sphere of R^dim, independent.

    The cosine has density proportional to ``(1 - c^2)^((dim - 3) / 2)``, with the Gegenbauer
    polynomials orthogonal under it; from their Jacobi matrix. Exact for polynomials of degree
    ``2 num_nodes - 1``, and in one dimension, where the cosine is a sign.

    Examples
    --------
    >>> nodes, weights = sphere_cosine(3, 10)
    >>> round(float(weights @ nodes**2), 12), round(float(weights @ nodes**4), 12)
    (0.1, 0.025)
    """
    k = np.arange(2, max(num_nodes, 2))
    squares = k * (k + dim - 3) / ((2 * k + dim - 2) * (2 * k + dim - 4))
    off_diagonal = np.sqrt(np.concatenate([[1 / dim], squares])[: num_nodes - 1])
    nodes, vectors = np.linalg.eigh(np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1))
    weights = vectors[0] ** 2
    return _frozen((nodes - nodes[::-1]) / 2), _frozen((weights + weights[::-1]) / 2)


def spread_points(
    num_points: int, dim: int, shift: Float[np.ndarray, " p"] | float = 0.5
) -> Float[np.ndarray, "n p"]:
    """Points spread evenly over the unit cube; each coordinate takes each k-th midpoint once.

    The ranks of the Kronecker sequence ``shift + i (g^-1, ..., g^-dim) mod 1`` of the generalised
    golden ratio g, ``g^(dim + 1) = g + 1``: a Latin hypercube. Another shift, other points.

    Examples
    --------
    >>> points = spread_points(100, 2)
    >>> bool(abs(np.mean(points[:, 0] * points[:, 1]) - 1 / 4) < 0.01)
    True
    """
    ratio = 1.5
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (dim + 1))
    steps = ratio ** -np.arange(1.0, dim + 1)
    points = (shift + np.arange(1, num_points + 1)[:, None] * steps) % 1.0
    ranks = np.argsort(np.argsort(points, axis=0), axis=0)
    return (ranks + 0.5) / num_points


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
