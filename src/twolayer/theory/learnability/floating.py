"""Hermite components in floating point: symmetric tensors, rotations, ranks with a tolerance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from math import factorial, prod, sqrt

import numpy as np
from numpy.polynomial.hermite_e import hermegauss, hermeval

MAX_NODES = 3_000_000
_LARGEST = 1e100  # value of h, whose square must be a float
MARGIN = 30.0  # singular values within this factor of the tolerance are not decided

Exponents = tuple[int, ...]


@dataclass
class Ranks:
    """Rank decisions at a tolerance; remembers the singular values too close to call."""

    tolerance: float
    scale: float
    close_calls: list[float] = field(default_factory=list)

    def basis(self, matrix: np.ndarray) -> np.ndarray:
        """Give an orthonormal basis of the row space, shape ``[rank, dim]``."""
        if matrix.size == 0 or self.scale == 0:
            return np.zeros((0, matrix.shape[1]))
        _, values, rows = np.linalg.svd(matrix, full_matrices=False)
        return rows[: sum(self.nonzero(value / self.scale) for value in values)]

    def significant(self, second_moment: float) -> bool:
        """Tell whether a part with this second moment counts as nonzero."""
        return self.scale > 0 and self.nonzero(sqrt(second_moment) / self.scale)

    def nonzero(self, value: float) -> bool:
        """Tell whether a relative size counts as nonzero."""
        if self.tolerance / MARGIN < value < self.tolerance * MARGIN:
            self.close_calls.append(float(value))
        return value > self.tolerance


def hermite_tensors(
    h: Callable[[np.ndarray], np.ndarray], dim: int, degree: int
) -> tuple[dict[int, np.ndarray], float, float]:
    r"""Give the Hermite components of a function by Gauss-Hermite quadrature.

    .. math:: \hat h_D(x) = \langle T_D, x^{\otimes D} \rangle, \qquad
              E h^2 = \sum_D D!\, |T_D|^2

    With ``degree + 2`` nodes an axis everything is exact for polynomials of that degree; one more
    shows a component of either parity beyond it.

    Parameters
    ----------
    h
        Maps points of shape ``[m, dim]`` to values of shape ``[m]``.
    dim
        Number of variables.
    degree
        Total degree of h.

    Returns
    -------
    tuple
        The symmetric tensors by degree, the second moment of h, and that of what they leave out.

    Raises
    ------
    ValueError
        If dim or degree is no such number, the grid is too large, or h does not return one
        finite value a point, whose square is finite too.
    """
    if not (isinstance(dim, int) and isinstance(degree, int) and dim >= 1 and degree >= 0):
        message = f"Expected whole numbers dim >= 1 and degree >= 0, received {dim!r}, {degree!r}."
        raise ValueError(message)
    count = degree + 3
    if count**dim > MAX_NODES:
        message = (
            f"Expected at most {MAX_NODES} quadrature nodes, received {count}^{dim}; "
            f"use certify with an exact polynomial."
        )
        raise ValueError(message)
    nodes, weights = hermegauss(count)
    weights = weights / weights.sum()
    grid = np.stack(np.meshgrid(*[nodes] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    values = np.asarray(h(grid), dtype=float)
    if values.shape != (len(grid),) or not np.isfinite(values).all():
        message = (
            f"Expected one finite value a point, shape ({len(grid)},); received shape "
            f"{values.shape}."
        )
        raise ValueError(message)
    largest = float(np.max(np.abs(values)))
    if largest and not 1 / _LARGEST < largest < _LARGEST:
        message = f"Expected values between 1e-100 and 1e100, received {largest:.1e}: scale them."
        raise ValueError(message)
    table = values = values.reshape((count,) * dim)
    hermite = np.stack([hermeval(nodes, row) for row in np.eye(degree + 1)])
    # coefficients over He_k: E[h He_k] / k!, one axis after the other
    dual = hermite * weights / np.array([[factorial(k)] for k in range(degree + 1)])
    for _ in range(dim):
        table = np.tensordot(table, dual, axes=(0, 1))
    # node by node: the difference of two second moments would lose half the digits
    fitted = np.where(np.indices(table.shape).sum(axis=0) <= degree, table, 0.0)
    for _ in range(dim):
        fitted = np.tensordot(fitted, hermite, axes=(0, 0))
    beyond = _mean_square(values - fitted, weights)
    return _tensors(table, dim, degree), _mean_square(values, weights), beyond


def _mean_square(table: np.ndarray, weights: np.ndarray) -> float:
    total = table**2
    for _ in range(table.ndim):
        total = np.tensordot(total, weights, axes=(0, 0))
    return float(total)


def _tensors(table: np.ndarray, dim: int, degree: int) -> dict[int, np.ndarray]:
    tensors: dict[int, np.ndarray] = {}
    for D in range(degree + 1):
        tensor = np.zeros((dim,) * D)
        for index in np.ndindex(*tensor.shape):
            exponents = tuple(index.count(i) for i in range(dim))
            tensor[index] = table[exponents] * prod(map(factorial, exponents)) / factorial(D)
        tensors[D] = tensor
    return tensors


def rotate(tensors: dict[int, np.ndarray], basis: np.ndarray) -> dict[int, np.ndarray]:
    """Give the components in the coordinates of orthonormal rows, shape ``[k, dim]``."""
    rotated: dict[int, np.ndarray] = {}
    for D, tensor in tensors.items():
        result = tensor
        for _ in range(D):
            result = np.tensordot(result, basis, axes=(0, 1))
        rotated[D] = result
    return rotated


def squared_norm(tensors: dict[int, np.ndarray]) -> float:
    """Give the second moment ``sum_D D! |T_D|^2``."""
    return float(sum(factorial(D) * np.sum(tensor**2) for D, tensor in tensors.items()))


def hidden_norm(tensors: dict[int, np.ndarray], kept: int, dim: int) -> float:
    """Give the second moment of the terms that depend on more than the first `kept` coordinates."""
    terms = coefficients(tensors, dim)
    return sum(value**2 * prod(map(factorial, e)) for e, value in terms.items() if any(e[kept:]))


def coefficients(tensors: dict[int, np.ndarray], dim: int) -> dict[Exponents, float]:
    """Give the coefficients of the symbol by exponents."""
    terms: dict[Exponents, float] = {}
    for D, tensor in tensors.items():
        for index in combinations_with_replacement(range(dim), D):
            exponents = tuple(index.count(i) for i in range(dim))
            orderings = factorial(D) // prod(map(factorial, exponents))
            terms[exponents] = float(tensor[index]) * orderings
    return terms


def hidden_rows(terms: dict[Exponents, float], kept: int, dim: int, degree: int) -> np.ndarray:
    """Give the gradients across the first `kept` coordinates, one row a monomial.

    Rows are weighted so that the squared size of the matrix is a second moment of the gradient's
    Hermite series. A `degree` of 0 takes all degrees: the essential directions.
    """
    rows: dict[Exponents, np.ndarray] = {}
    for exponents, value in terms.items():
        if degree and sum(exponents[kept:]) != degree:
            continue
        for i in range(kept, dim):
            e = exponents[i]
            if e:
                lowered = (*exponents[:i], e - 1, *exponents[i + 1 :])
                row = rows.setdefault(lowered, np.zeros(dim - kept))
                row[i - kept] += e * value
    weighted = [row * sqrt(prod(map(factorial, key))) for key, row in rows.items()]
    return np.array(weighted).reshape(-1, dim - kept)


@dataclass(frozen=True)
class FloatFrame:
    """Orthonormal rows of the essential subspace, the first `learned` of which span W."""

    basis: np.ndarray
    learned: int = 0


def extend(
    frame: FloatFrame, tensors: dict[int, np.ndarray], degree: int, ranks: Ranks
) -> FloatFrame | None:
    """Add the hidden directions of one degree; ``None`` if there are none."""
    dim = len(frame.basis)
    if frame.learned == dim:
        return None
    terms = coefficients(rotate(tensors, frame.basis), dim)
    new = ranks.basis(hidden_rows(terms, frame.learned, dim, degree))
    if not len(new):
        return None
    # complete to an orthonormal basis of the hidden coordinates
    _, _, full = np.linalg.svd(new, full_matrices=True)
    order = np.concatenate([new, full[len(new) :]]) @ frame.basis[frame.learned :]
    basis = np.concatenate([frame.basis[: frame.learned], order])
    return FloatFrame(basis, frame.learned + len(new))


def chain(
    frame: FloatFrame, tensors: dict[int, np.ndarray], ranks: Ranks
) -> tuple[list[int], FloatFrame]:
    """Give the dimensions of the invariant chain and the frame adapted to its end."""
    dims = [0]
    while (extended := extend(frame, tensors, 1, ranks)) is not None:
        frame = extended
        dims.append(frame.learned)
    return dims, frame


def select(tensors: dict[int, np.ndarray], degrees: Iterable[int]) -> dict[int, np.ndarray]:
    """Keep some degrees."""
    kept = set(degrees)
    return {D: tensor for D, tensor in tensors.items() if D in kept}
