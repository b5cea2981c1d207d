"""Exact arithmetic over the rationals: multivariate polynomials and linear algebra."""

from twolayer.numerics.rational.linear import (
    Span,
    cayley,
    determinant,
    inverse,
    is_orthogonal,
    orthogonal_basis,
    orthogonal_complement,
    primitive,
    projector,
    rank,
    row_reduce,
)
from twolayer.numerics.rational.polynomial import RationalPolynomial

__all__ = [
    "RationalPolynomial",
    "Span",
    "cayley",
    "determinant",
    "inverse",
    "is_orthogonal",
    "orthogonal_basis",
    "orthogonal_complement",
    "primitive",
    "projector",
    "rank",
    "row_reduce",
]
