"""Losses that training cannot go below, exactly: half squared norms of parts of the target."""

from __future__ import annotations

from fractions import Fraction

from twolayer.activations.facts import Facts
from twolayer.numerics.rational import RationalPolynomial
from twolayer.theory.learnability.chain import Basis, in_basis


def half_norm(symbol: RationalPolynomial, basis: Basis | None = None) -> Fraction:
    """Give half the second moment, of the conditional expectation on a subspace if one is given.

    Examples
    --------
    >>> from twolayer.language import parse_polynomial
    >>> half_norm(parse_polynomial("z1 + z1*z2").symbol(), ((1, 0),))
    Fraction(1, 2)
    """
    if basis is None:
        return symbol.fock_norm() / 2
    squares = [sum(x * x for x in vector) for vector in basis]
    return in_basis(symbol, basis).fock_norm(squares) / 2


def loss_floor(symbol: RationalPolynomial, learned: Basis) -> Fraction:
    """Give ``1/2 E|h - E[h | z_W]|^2``.

    The bound of chen2024subspace, Theorem 3.4, in the limit d -> infinity for the reflective
    subspace S, the complement of W; largest for the largest S (derived here).
    """
    return half_norm(symbol) - half_norm(symbol, learned)


def unseen(symbol: RationalPolynomial, facts: Facts) -> RationalPolynomial:
    """Give the Hermite components that no bias-free network with the activation has."""
    degrees = {sum(exponents) for exponents in symbol.terms}
    return symbol.parts(degree for degree in degrees if not facts.sees(degree))


def expressivity_floor(symbol: RationalPolynomial, learned: Basis, facts: Facts) -> Fraction:
    """Give half the squared norm of the unseen degrees of ``E[h | z_W]`` (derived here).

    It adds to the loss floor of condition (3.5): the two parts of h are orthogonal.
    """
    return half_norm(unseen(symbol, facts), learned)


def representability_floor(symbol: RationalPolynomial, facts: Facts) -> Fraction:
    """Give half the squared norm of the unseen degrees of the whole target (derived here).

    No network of any width with this activation and without biases has a lower loss, however
    it was trained; needs only that the activation is square integrable under Gaussians.
    """
    return half_norm(unseen(symbol, facts))
