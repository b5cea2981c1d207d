"""Leap in the given basis, isotropic leap, information exponent."""

from __future__ import annotations

from dataclasses import dataclass

from twolayer.numerics.rational import RationalPolynomial
from twolayer.theory.learnability.chain import Chain, Frame, extend, grow


@dataclass(frozen=True)
class Flag:
    """The subspaces of the isotropic leap and the degree by which each was reached.

    Attributes
    ----------
    dims
        Dimensions of S_0 = {0}, S_1, ..., the last the essential one.
    leaps
        The degree of each step; their maximum is the isotropic leap.
    frame
        Basis adapted to the last extension.
    """

    dims: tuple[int, ...]
    leaps: tuple[int, ...]
    frame: Frame

    @property
    def isotropic_leap(self) -> int:
        """The largest step; 0 for a constant."""
        return max(self.leaps, default=0)


def leap(symbol: RationalPolynomial) -> int:
    """Give the leap in the given basis: how many new coordinates, with multiplicity, at a time.

    The formula of abbe2023leap for ``h = sum_a c_a He_a`` over orderings of the terms, minimal
    over them; taking the cheapest term first is optimal. Leap 1 is the merged-staircase property.
    It depends on the basis: see `isotropic_flag` for what does not.

    Examples
    --------
    >>> from twolayer.language import parse_polynomial
    >>> leap(parse_polynomial("z1 + z1*z2*z3").symbol())
    2
    """
    terms = [exponents for exponents in symbol.terms if any(exponents)]
    learned: set[int] = set()
    worst = 0
    while True:
        costs = {
            exponents: sum(e for i, e in enumerate(exponents) if i not in learned)
            for exponents in terms
        }
        new = [exponents for exponents in terms if costs[exponents]]
        if not new:
            return worst
        cheapest = min(costs[exponents] for exponents in new)
        worst = max(worst, cheapest)
        # all terms of the cheapest cost at once: none of them can raise the others' cost
        for exponents in new:
            if costs[exponents] == cheapest:
                learned.update(i for i, e in enumerate(exponents) if e)


def isotropic_flag(symbol: RationalPolynomial, chain: Chain) -> Flag:
    """Give the flag of the isotropic leap, the leap that no rotation changes.

    Greedy: from the learned subspace take the smallest degree in the hidden coordinates that the
    symbol has, and add its directions. This is Definition 5 of damian2025generative; it equals
    the largest leap over orthonormal bases (abbe2023leap), checked against the closures of
    `closure_leap`. The reflective property (3.2) has a nontrivial S iff the isotropic leap is at
    least 2 (chen2024subspace, Proposition B.1, on the essential subspace).

    Parameters
    ----------
    symbol
        Hermite symbol of the target.
    chain
        Its activation-free chain: the steps of degree one, taken already.
    """
    frame = chain.frame
    dims, leaps = list(chain.dims), [1] * (len(chain.dims) - 1)
    degree = 1
    while frame.hidden_basis:
        extended = extend(frame, [symbol], degree)
        if extended is None:
            degree += 1
            continue
        frame = extended
        dims.append(frame.learned)
        leaps.append(degree)
        degree = 1
    return Flag(tuple(dims), tuple(leaps), frame)


def closure_leap(symbol: RationalPolynomial, basis: tuple[tuple[int, ...], ...]) -> int:
    """Give the isotropic leap by another route: the least L whose closure is everything.

    The L-closure adds the hidden directions of every degree up to L until none is left; closed
    subspaces are stable under intersection (derived here).
    """
    for bound in range(symbol.degree + 1):
        frame = Frame(basis)
        degree = 1
        while degree <= bound and frame.hidden_basis:
            grown = list(grow(frame, [symbol], degree))
            frame, degree = (grown[-1], 1) if grown else (frame, degree + 1)
        if not frame.hidden_basis:
            return bound
    message = "Expected a basis of the essential subspace."
    raise ValueError(message)


def information_exponent(symbol: RationalPolynomial) -> int | None:
    """Give the smallest degree >= 1 of a Hermite component; ``None`` for a constant.

    The information exponent of benarous2021online, of the target as a whole.
    """
    return min((sum(e) for e in symbol.terms if any(e)), default=None)
