"""Normalised probabilists' Hermite polynomials h_k = He_k / sqrt(k!), orthonormal under N(0, 1)."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from jaxtyping import Float


def hermite_values(x: Float[np.ndarray, "*n"], degree: int) -> Float[np.ndarray, "*n k"]:
    """Values ``h_0(x), ..., h_degree(x)`` in the last axis.

    By the recursion ``sqrt(k+1) h_{k+1}(x) = x h_k(x) - sqrt(k) h_{k-1}(x)``.

    Examples
    --------
    >>> hermite_values(np.array([2.0]), 2) * np.sqrt([1, 1, 2])
    array([[1., 2., 3.]])
    """
    x = np.asarray(x, dtype=np.float64)
    values = np.empty((*x.shape, degree + 1))
    values[..., 0] = 1.0
    if degree >= 1:
        values[..., 1] = x
    for k in range(1, degree):
        values[..., k + 1] = (x * values[..., k] - math.sqrt(k) * values[..., k - 1]) / math.sqrt(
            k + 1
        )
    return values


def he_coefficients(degree: int) -> list[list[int]]:
    """Integer coefficients of ``He_0, ..., He_degree``, lowest power first.

    Examples
    --------
    >>> he_coefficients(3)[3]
    [0, -3, 0, 1]
    """
    rows = [[1], [0, 1]][: degree + 1]
    for k in range(1, degree):
        row = [0, *rows[k]]
        for power, coefficient in enumerate(rows[k - 1]):
            row[power] -= k * coefficient
        rows.append(row)
    return rows


def multi_indices(dim: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """All exponents of `dim` variables up to a total degree, by degree.

    Examples
    --------
    >>> multi_indices(2, 1)
    ((0, 0), (0, 1), (1, 0))
    """
    every = product(range(degree + 1), repeat=dim)
    return tuple(sorted((alpha for alpha in every if sum(alpha) <= degree), key=sum))
