"""Gaussian moments by double factorials: the independent arithmetic of `verify`.

Nothing here uses Hermite symbols. A polynomial is given in coordinates of an orthogonal basis
with squared lengths q_i, so that the coordinates of a standard Gaussian are independent with
variances 1/q_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import factorial, prod

from twolayer.numerics.rational import RationalPolynomial

Exponents = tuple[int, ...]


@cache
def moment(power: int, square: int) -> Fraction:
    """Give E[x^k] = (k-1)!! / q^(k/2) for x ~ N(0, 1/q)."""
    if power % 2:
        return Fraction(0)
    return Fraction(prod(range(1, power, 2)), square ** (power // 2))


def expectation_of_product(
    left: RationalPolynomial, right: RationalPolynomial, squares: Sequence[int]
) -> Fraction:
    """Give E[f g], term by term."""
    classes: dict[Exponents, list[tuple[Exponents, Fraction]]] = {}
    for exponents, value in right.terms.items():
        classes.setdefault(tuple(e % 2 for e in exponents), []).append((exponents, value))
    total = Fraction(0)
    for a, x in left.terms.items():
        for b, y in classes.get(tuple(e % 2 for e in a), ()):
            total += x * y * prod(map(moment, map(sum, zip(a, b, strict=True)), squares))
    return total


def conditional_expectation(
    h: RationalPolynomial, squares: Sequence[int], kept: int, times: int | None = None
) -> RationalPolynomial:
    """Give ``E[h | first coordinates]``, or ``E[h x_times | first coordinates]``."""
    terms: dict[Exponents, Fraction] = {}
    for exponents, value in h.terms.items():
        raised = [e + int(i == times) for i, e in enumerate(exponents)]
        weight = prod(map(moment, raised[kept:], squares[kept:]))
        if weight:
            head = exponents[:kept]
            terms[head] = terms.get(head, Fraction(0)) + value * weight
    return RationalPolynomial(kept, terms)


@cache
def _hermite(degree: int, square: int) -> dict[int, Fraction]:
    """Give the monic orthogonal polynomial of N(0, 1/q), by its recurrence."""
    if degree == 0:
        return {0: Fraction(1)}
    result = {k + 1: c for k, c in _hermite(degree - 1, square).items()}
    if degree > 1:
        for k, c in _hermite(degree - 2, square).items():
            result[k] = result.get(k, Fraction(0)) - c * Fraction(degree - 1, square)
    return result


@cache
def _overlap(power: int, degree: int, square: int) -> Fraction:
    """Give E[x^k He_j(x)] / E[He_j(x)^2], the part of x^k along the j-th polynomial."""
    value = sum(c * moment(power + k, square) for k, c in _hermite(degree, square).items())
    return value * square**degree / factorial(degree)


def degree_components(
    h: RationalPolynomial, squares: Sequence[int]
) -> dict[int, dict[Exponents, Fraction]]:
    """Give the orthogonal components of h by degree: ``{degree: {exponents: coefficient}}``."""
    found: dict[Exponents, Fraction] = {}
    for exponents, value in h.terms.items():
        partial: dict[Exponents, Fraction] = {(): value}
        for power, square in zip(exponents, squares, strict=True):
            partial = {
                (*head, degree): weight * _overlap(power, degree, square)
                for head, weight in partial.items()
                for degree in range(power % 2, power + 1, 2)
            }
        for key, weight in partial.items():
            found[key] = found.get(key, Fraction(0)) + weight
    components: dict[int, dict[Exponents, Fraction]] = {}
    for key, weight in found.items():
        if weight:
            components.setdefault(sum(key), {})[key] = weight
    return components


def squared_norm(component: dict[Exponents, Fraction], squares: Sequence[int]) -> Fraction:
    """Give the second moment of a combination of the orthogonal polynomials."""
    return sum(
        (
            c * c * prod(Fraction(factorial(e), q**e) for e, q in zip(key, squares, strict=True))
            for key, c in component.items()
        ),
        Fraction(0),
    )
