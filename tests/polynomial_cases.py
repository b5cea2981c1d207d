"""Targets with known answers, random rational rotations and random polynomials."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from twolayer.numerics.rational import RationalPolynomial, cayley


class Case(NamedTuple):
    """One row of the decision table for cos + sin: what every correct implementation gives."""

    text: str
    leap: int
    isotropic_leap: int
    chain_dims: tuple[int, ...]
    reflective: tuple[tuple[int, ...], ...]  # spans the largest reflective subspace
    initial_loss: Fraction
    floor: Fraction
    orders: tuple[int, ...] | None  # None: Assumption 4.1 fails for every s


HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
CASES = (
    Case("z1", 1, 1, (0, 1), (), HALF, Fraction(0), (1,)),
    Case("He2(z1)", 2, 2, (0,), ((1,),), Fraction(1), Fraction(1), None),
    Case("He3(z1)", 3, 3, (0,), ((1,),), Fraction(3), Fraction(3), None),
    Case("z1*z2", 2, 2, (0,), ((1, 0), (0, 1)), HALF, HALF, None),
    Case("z1*z2*z3", 3, 3, (0,), ((1, 0, 0), (0, 1, 0), (0, 0, 1)), HALF, HALF, None),
    Case("z1 + z1*z2", 1, 1, (0, 1, 2), (), Fraction(1), Fraction(0), (1, 2)),
    Case("z1 + z1*z2 + z1*z2*z3", 1, 1, (0, 1, 2, 3), (), Fraction(3, 2), Fraction(0), (1, 2, 4)),
    Case("z1 + z1*z2*z3", 2, 2, (0, 1), ((0, 1, 0), (0, 0, 1)), Fraction(1), HALF, None),
    Case("z1 + z2 + z1*z2", 1, 2, (0, 1), ((-1, 1),), Fraction(3, 2), QUARTER, None),
    Case("z1 + He2(z2)", 2, 2, (0, 1), ((0, 1),), Fraction(3, 2), Fraction(1), None),
    Case("z1 + z1*He2(z2)", 2, 2, (0, 1), ((0, 1),), Fraction(3, 2), Fraction(1), None),
    Case("z1 + z1*z2 + z2*z3", 1, 1, (0, 1, 2, 3), (), Fraction(3, 2), Fraction(0), (1, 2, 3)),
    Case("z1 + He2(z1)*z2", 1, 1, (0, 1, 2), (), Fraction(3, 2), Fraction(0), (1, 3)),
)


def staircase(dim: int) -> str:
    """Give z1 + z1*z2 + ... + z1*...*zp."""
    return " + ".join("*".join(f"z{j + 1}" for j in range(i + 1)) for i in range(dim))


def rational_rotation(dim: int, rng: random.Random) -> list[list[Fraction]]:
    """Give a random rational orthogonal matrix."""
    skew = [[Fraction(0)] * dim for _ in range(dim)]
    for i in range(dim):
        for j in range(i):
            skew[i][j] = Fraction(rng.randint(-3, 3), rng.randint(1, 3))
            skew[j][i] = -skew[i][j]
    return cayley(skew)


def embed(polynomial: RationalPolynomial, dim: int) -> RationalPolynomial:
    """Give the same polynomial in more variables."""
    padding = (0,) * (dim - polynomial.dim)
    return RationalPolynomial(dim, {e + padding: v for e, v in polynomial.terms.items()})


def random_polynomial(rng: random.Random, dim: int, degree: int) -> RationalPolynomial:
    """Give a sparse random polynomial whose Hermite symbol has small integer coefficients."""
    exponents = [e for e in product(range(degree + 1), repeat=dim) if 0 < sum(e) <= degree]
    chosen = rng.sample(exponents, rng.randint(1, min(5, len(exponents))))
    symbol = {e: Fraction(rng.choice([-2, -1, 1, 2, 3])) for e in chosen}
    return RationalPolynomial(dim, symbol).from_symbol()


def dense_polynomial(rng: random.Random, dim: int, degree: int) -> RationalPolynomial:
    """Give a polynomial with all terms up to a degree."""
    exponents = (e for e in product(range(degree + 1), repeat=dim) if sum(e) <= degree)
    return RationalPolynomial(
        dim, {e: Fraction(rng.randint(1, 9), rng.randint(1, 9)) for e in exponents}
    )
