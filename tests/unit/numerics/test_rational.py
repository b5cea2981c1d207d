import random
from fractions import Fraction
from itertools import product
from math import factorial, prod

import numpy as np
import pytest
from scipy import integrate

from polynomial_cases import dense_polynomial, random_polynomial, rational_rotation
from twolayer.numerics.rational import (
    RationalPolynomial,
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
from twolayer.numerics.rational.linear import dot, identity, multiply


def moment(power: int) -> int:
    return 0 if power % 2 else prod(range(1, power, 2))


def gaussian_mean(h: RationalPolynomial) -> Fraction:
    """Double factorials, nothing else."""
    return sum((v * prod(map(moment, e)) for e, v in h.terms.items()), Fraction(0))


def random_matrix(rng, rows, columns):
    return [
        [Fraction(rng.randint(-4, 4), rng.randint(1, 3)) for _ in range(columns)]
        for _ in range(rows)
    ]


def test_arithmetic_is_that_of_values():
    """Sum, product, power and derivative agree with evaluation at rational points."""
    rng = random.Random(1)
    for _ in range(20):
        f, g = random_polynomial(rng, 3, 4), random_polynomial(rng, 3, 3)
        point = [Fraction(rng.randint(-5, 5), 3) for _ in range(3)]
        assert (f + g)(point) == f(point) + g(point)
        assert (f - g)(point) == f(point) - g(point)
        assert (f * g)(point) == f(point) * g(point)
        assert (g**3)(point) == g(point) ** 3
        assert (2 - f / 3)(point) == 2 - f(point) / 3
        assert (f * g).derivative(1) == f.derivative(1) * g + f * g.derivative(1)


def test_substitution_is_composition():
    """Substituting linear forms equals evaluating at the transformed point, any shape."""
    rng = random.Random(2)
    for columns in (0, 1, 3, 5):
        f = random_polynomial(rng, 3, 5) + 7
        rows = random_matrix(rng, 3, columns)
        point = [Fraction(rng.randint(-3, 3), 2) for _ in range(columns)]
        assert f.substitute(rows)(point) == f([dot(row, point) for row in rows])


def test_symbol_is_the_gaussian_average():
    """The symbol at x is E h(x+z), by moments; from_symbol inverts it."""
    rng = random.Random(3)
    for _ in range(10):
        h = random_polynomial(rng, 2, 5)
        x = [Fraction(rng.randint(-3, 3)) for _ in range(2)]
        variables = [RationalPolynomial.variable(2, i) + x[i] for i in range(2)]
        assert h.symbol()(x) == gaussian_mean(h(variables))
        assert h.symbol().from_symbol() == h


def test_symbol_by_quadrature():
    """The symbol of z^4 agrees with numerical integration by an independent library."""
    h = RationalPolynomial(1, {(4,): Fraction(1), (1,): Fraction(2)})

    def integrand(z):
        return float(h([1.5 + z])) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

    value, _ = integrate.quad(integrand, -12, 12)
    assert float(h.symbol()([Fraction(3, 2)])) == pytest.approx(value, rel=1e-9)


def test_fock_norm_is_the_second_moment():
    """Sum of a! c_a^2 equals E h^2 by double factorials."""
    rng = random.Random(4)
    for _ in range(20):
        h = random_polynomial(rng, 3, 4)
        assert h.second_moment() == gaussian_mean(h * h)


def test_fock_norm_in_an_orthogonal_basis():
    """In coordinates of orthogonal vectors of any length the norm is the same."""
    rng = random.Random(5)
    h = random_polynomial(rng, 3, 4).symbol()
    basis = orthogonal_basis(random_matrix(rng, 3, 3))
    coordinates = h.substitute(list(zip(*basis, strict=True)))
    assert coordinates.fock_norm([dot(b, b) for b in basis]) == h.fock_norm()


def test_symbol_commutes_with_rotations():
    """The symbol of a rotated polynomial is the rotated symbol; norms do not change."""
    rng = random.Random(6)
    rotation = rational_rotation(4, rng)
    h = random_polynomial(rng, 4, 4)
    rotated = h.substitute(rotation)
    assert rotated.symbol() == h.symbol().substitute(rotation)
    assert rotated.second_moment() == h.second_moment()


def test_hermite_coefficients_are_projections():
    """Coefficients equal E[h He_a]/a! with moments and explicit Hermite polynomials."""
    h = random_polynomial(random.Random(7), 2, 4)
    x = [RationalPolynomial.variable(2, i) for i in range(2)]
    hermite = {
        0: lambda z: z * 0 + 1,
        1: lambda z: z,
        2: lambda z: z * z - 1,
        3: lambda z: z**3 - 3 * z,
        4: lambda z: z**4 - 6 * z * z + 3,
    }
    for a in product(range(5), repeat=2):
        if sum(a) <= 4:
            projection = gaussian_mean(h * hermite[a[0]](x[0]) * hermite[a[1]](x[1]))
            assert h.hermite_coefficients().get(a, 0) == projection / factorial(a[0]) / factorial(
                a[1]
            )


def test_parts_add_up():
    """Homogeneous parts sum to the polynomial."""
    h = dense_polynomial(random.Random(8), 3, 4)
    assert sum((h.parts([D]) for D in range(5)), 0 * h) == h
    assert h.degree == 4
    assert h.parts([9]).terms == {}


def test_wrong_shapes_are_refused():
    """Exponents of the wrong length and mixed dimensions raise a sentence."""
    with pytest.raises(ValueError, match="length 2"):
        RationalPolynomial(2, {(1,): Fraction(1)})
    with pytest.raises(ValueError, match="2 variables"):
        RationalPolynomial.variable(2, 0) + RationalPolynomial.variable(3, 0)


def test_equal_polynomials_have_equal_hashes():
    """Value objects: equality and hash ignore order and zeros."""
    a = RationalPolynomial(1, {(1,): Fraction(1), (0,): Fraction(0)})
    b = RationalPolynomial(1, {(1,): Fraction(1)})
    assert a == b
    assert hash(a) == hash(b)


def test_rank_and_reduction_agree_with_numpy():
    """Rank, inverse and determinant agree with floating point linear algebra."""
    rng = random.Random(9)
    for _ in range(20):
        low = multiply(random_matrix(rng, 4, 2), random_matrix(rng, 2, 5))
        floats = np.array(low, dtype=float)
        assert rank(low) == np.linalg.matrix_rank(floats) == len(row_reduce(low)[1])
        square = random_matrix(rng, 3, 3)
        value = np.linalg.det(np.array(square, dtype=float))
        assert float(determinant(square)) == pytest.approx(value, abs=1e-9)
        if determinant(square):
            assert multiply(square, inverse(square)) == [list(row) for row in identity(3)]
    with pytest.raises(ValueError, match="singular"):
        inverse([[1, 2], [2, 4]])


def test_orthogonal_basis_complement_and_projector():
    """Gram-Schmidt keeps spans, the complement is orthogonal and complete, P is a projector."""
    rng = random.Random(10)
    for count in (1, 2, 3):
        rows = random_matrix(rng, count, 4)
        basis = orthogonal_basis(rows)
        assert len(basis) == rank(rows) == rank([*rows, *basis])
        complement = orthogonal_complement(rows, 4)
        assert len(basis) + len(complement) == 4
        everything = [*basis, *complement]
        assert all(dot(a, b) == 0 for i, a in enumerate(everything) for b in everything[:i])
        P = projector(basis)
        assert multiply(P, P) == P
        assert multiply(P, list(zip(*basis, strict=True))) == [
            list(r) for r in zip(*basis, strict=True)
        ]
        assert all(not any(row) for row in multiply(complement, P)) or not complement


def test_cayley_matrices_are_orthogonal():
    """Cayley's transform gives exactly orthogonal matrices; anything not skew is refused."""
    assert is_orthogonal(rational_rotation(5, random.Random(11)))
    assert not is_orthogonal([[1, 1], [0, 1]])
    assert not is_orthogonal([[1, 0]])
    with pytest.raises(ValueError, match="skew"):
        cayley([[1, 0], [0, 1]])


def test_span_basis_is_canonical():
    """Equal subspaces have equal bases, whatever spans them."""
    rng = random.Random(12)
    rows = random_matrix(rng, 2, 4)
    mixed = multiply([[2, 1], [Fraction(1, 3), -1]], rows)
    assert Span(4, rows).basis() == Span(4, mixed).basis()
    assert primitive((0, 0)) == (0, 0)
