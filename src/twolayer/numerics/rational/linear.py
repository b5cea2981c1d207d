"""Linear algebra over the rationals: spans, orthogonal bases, projectors, orthogonal matrices.

A vector is a sequence of ``int`` or ``Fraction``, a matrix a sequence of rows.
Spans are kept as primitive integer vectors: the same subspace, without the cost of fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import gcd, lcm

Number = int | Fraction
Vector = Sequence[Number]
Matrix = Sequence[Vector]


def primitive(vector: Vector) -> tuple[int, ...]:
    """Give the shortest integer vector on the same line, its first nonzero entry positive.

    Examples
    --------
    >>> primitive([Fraction(0), Fraction(-1, 2), Fraction(3)])
    (0, 1, -6)
    """
    scale = lcm(*(entry.denominator for entry in vector))
    integers = [entry.numerator * (scale // entry.denominator) for entry in vector]
    divisor = gcd(*integers)
    if divisor == 0:
        return tuple(integers)
    lead = next(entry for entry in integers if entry)
    divisor = divisor if lead > 0 else -divisor
    return tuple(entry // divisor for entry in integers)


def dot(left: Vector, right: Vector) -> Number:
    """Give the inner product ``sum_i left_i right_i``."""
    return sum((a * b for a, b in zip(left, right, strict=True) if a and b), 0)


class Span:
    """A subspace that grows one vector at a time, kept in integer echelon form.

    Parameters
    ----------
    dim
        Dimension of the space that it lives in.
    vectors
        What it is spanned by at first.

    Examples
    --------
    >>> span = Span(3, [(1, 1, 0)])
    >>> span.add((2, 2, 0)), span.add((0, 1, 1)), span.rank
    (False, True, 2)
    """

    def __init__(self, dim: int, vectors: Iterable[Vector] = ()) -> None:
        self.dim = dim
        self._rows: dict[int, tuple[int, ...]] = {}
        for vector in vectors:
            self.add(vector)

    @property
    def rank(self) -> int:
        """The dimension of the span."""
        return len(self._rows)

    @property
    def full(self) -> bool:
        """Whether the span is the whole space."""
        return len(self._rows) == self.dim

    def add(self, vector: Vector) -> bool:
        """Add a vector; tell whether it was independent of the others."""
        reduced = primitive(vector)
        for column in range(self.dim):
            if not reduced[column]:
                continue
            row = self._rows.get(column)
            if row is None:
                self._rows[column] = reduced
                return True
            a, b = row[column], reduced[column]
            reduced = primitive([a * x - b * y for x, y in zip(reduced, row, strict=True)])
        return False

    def basis(self) -> tuple[tuple[int, ...], ...]:
        """Give the reduced echelon basis, each row primitive: the same for equal subspaces."""
        rows, _ = row_reduce(list(self._rows.values()))
        return tuple(primitive(row) for row in rows)


def row_reduce(rows: Matrix) -> tuple[list[list[Fraction]], list[int]]:
    """Give the reduced row echelon form without its zero rows, and the pivot columns.

    Examples
    --------
    >>> row_reduce([[2, 4], [1, 2]])[1]
    [0]
    """
    reduced = [[Fraction(entry) for entry in row] for row in rows]
    pivots: list[int] = []
    for column in range(len(reduced[0]) if reduced else 0):
        top = len(pivots)
        pivot = next((i for i in range(top, len(reduced)) if reduced[i][column]), None)
        if pivot is None:
            continue
        reduced[top], reduced[pivot] = reduced[pivot], reduced[top]
        scale = reduced[top][column]
        reduced[top] = [entry / scale for entry in reduced[top]]
        for i, row in enumerate(reduced):
            factor = row[column]
            if i != top and factor:
                reduced[i] = [x - factor * y for x, y in zip(row, reduced[top], strict=True)]
        pivots.append(column)
    return reduced[: len(pivots)], pivots


def rank(rows: Matrix) -> int:
    """Give the rank of a matrix."""
    return Span(len(rows[0]), rows).rank if rows else 0


def orthogonal_basis(rows: Iterable[Vector]) -> tuple[tuple[int, ...], ...]:
    """Give primitive integer orthogonal vectors with the same spans (Gram-Schmidt).

    Dependent vectors are left out; the first k independent vectors and the first k results
    span the same space. The lengths stay what they are: a unit vector need not be rational.

    Examples
    --------
    >>> orthogonal_basis([(1, 1), (2, 2), (1, 0)])
    ((1, 1), (1, -1))
    """
    basis: list[tuple[int, ...]] = []
    squares: list[Number] = []
    for vector in rows:
        if len(basis) == len(vector):
            break
        rest: list[Number] = list(vector)
        for other, square in zip(basis, squares, strict=True):
            factor = Fraction(dot(rest, other)) / square
            if factor:
                rest = [x - factor * y for x, y in zip(rest, other, strict=True)]
        if any(rest):
            basis.append(primitive(rest))
            squares.append(dot(basis[-1], basis[-1]))
    return tuple(basis)


def orthogonal_complement(rows: Iterable[Vector], dim: int) -> tuple[tuple[int, ...], ...]:
    """Give an orthogonal integer basis of the vectors orthogonal to all rows.

    Examples
    --------
    >>> orthogonal_complement([(1, 1, 0)], 3)
    ((1, -1, 0), (0, 0, 1))
    """
    own = orthogonal_basis(rows)
    return orthogonal_basis([*own, *identity(dim)])[len(own) :]


def identity(dim: int) -> tuple[tuple[int, ...], ...]:
    """Give the unit matrix."""
    return tuple(tuple(int(i == j) for j in range(dim)) for i in range(dim))


def inverse(matrix: Matrix) -> list[list[Fraction]]:
    """Give the inverse of a square matrix.

    Raises
    ------
    ValueError
        If the matrix is singular.
    """
    size = len(matrix)
    rows, pivots = row_reduce([[*a, *b] for a, b in zip(matrix, identity(size), strict=True)])
    if pivots != list(range(size)):
        message = "Expected an invertible matrix, received a singular one."
        raise ValueError(message)
    return [row[size:] for row in rows]


def determinant(matrix: Matrix) -> Fraction:
    """Give the determinant by elimination."""
    rows = [[Fraction(entry) for entry in row] for row in matrix]
    value = Fraction(1)
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return Fraction(0)
        if pivot != k:
            rows[k], rows[pivot] = rows[pivot], rows[k]
            value = -value
        value *= rows[k][k]
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    return value


def multiply(left: Matrix, right: Matrix) -> list[list[Number]]:
    """Give the matrix product."""
    columns = list(zip(*right, strict=True))
    return [[dot(row, column) for column in columns] for row in left]


def projector(rows: Matrix) -> list[list[Fraction]]:
    """Give the orthogonal projector onto the span of independent rows: ``B^T (B B^T)^-1 B``."""
    gram = [[dot(a, b) for b in rows] for a in rows]
    transpose = list(zip(*rows, strict=True))
    product = multiply(multiply(transpose, inverse(gram)), rows)
    return [[Fraction(entry) for entry in row] for row in product]


def is_orthogonal(matrix: Matrix) -> bool:
    """Tell whether ``O O^T = I`` exactly."""
    size = len(matrix)
    if any(len(row) != size for row in matrix):
        return False
    return all(
        dot(matrix[i], matrix[j]) == int(i == j) for i in range(size) for j in range(i, size)
    )


def cayley(skew: Matrix) -> list[list[Fraction]]:
    """Give the rational orthogonal matrix ``(I - A)(I + A)^-1`` of a skew-symmetric A.

    Raises
    ------
    ValueError
        If the matrix is not skew-symmetric.

    Examples
    --------
    >>> cayley([[0, 1], [-1, 0]])
    [[Fraction(0, 1), Fraction(-1, 1)], [Fraction(1, 1), Fraction(0, 1)]]
    """
    size = len(skew)
    if any(skew[i][j] != -skew[j][i] for i in range(size) for j in range(size)):
        message = "Expected a skew-symmetric matrix (A^T = -A)."
        raise ValueError(message)
    unit = identity(size)
    minus = [[unit[i][j] - skew[i][j] for j in range(size)] for i in range(size)]
    plus = [[unit[i][j] + skew[i][j] for j in range(size)] for i in range(size)]
    return [[Fraction(entry) for entry in row] for row in multiply(minus, inverse(plus))]
