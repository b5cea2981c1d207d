"""`certify`: a target and an activation in, an exact certificate out."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, overload

from twolayer.activations.facts import Facts, facts_of
from twolayer.language import parse_polynomial
from twolayer.numerics.rational import RationalPolynomial, is_orthogonal
from twolayer.theory.learnability.certificate import LearnabilityCertificate
from twolayer.theory.learnability.chain import Chain, essential_basis, invariant_chain
from twolayer.theory.learnability.condition import decide_condition
from twolayer.theory.learnability.floors import (
    expressivity_floor,
    half_norm,
    loss_floor,
    representability_floor,
)
from twolayer.theory.learnability.leap import information_exponent, isotropic_flag, leap
from twolayer.theory.learnability.verdict import conclude

if TYPE_CHECKING:
    from twolayer.theory.learnability.numerical import NumericalCertificate


@overload
def certify(
    target: Any, *, activation: Any = ..., rotation: None = ..., max_order: int | None = ...
) -> LearnabilityCertificate: ...
@overload
def certify(
    target: Any,
    *,
    activation: Any = ...,
    rotation: Sequence[Sequence[Any]],
    max_order: int | None = ...,
) -> LearnabilityCertificate | NumericalCertificate: ...


def certify(
    target: Any,
    *,
    activation: Any = "cos_sin",
    rotation: Sequence[Sequence[Any]] | None = None,
    max_order: int | None = None,
) -> LearnabilityCertificate | NumericalCertificate:
    """Decide in exact arithmetic whether a two-layer network learns a polynomial.

    Decides the reflective property in its three forms with the largest subspaces, the floors of
    the loss, the leaps and Assumption 4.1 of chen2024subspace, and draws the conclusion of its
    Theorems 3.4 and 4.3; what goes beyond the paper is marked "derived here". Inputs are
    N(0, I_d), the network has no biases, labels no noise. It says nothing about training times
    that grow with the dimension d: targets "not learnable" here can be learned in a time of
    order log d or more.

    Parameters
    ----------
    target
        A polynomial: text such as ``"z1 + z1*z2"``, a `RationalPolynomial`, or an object with
        an attribute ``exact`` that holds one.
    activation
        A name, a polynomial in x as text, `Facts`, or an object with an attribute ``facts``.
    rotation
        An orthogonal matrix O: certify ``h(O z)``. Integers and fractions are exact; a matrix
        of floats gives a `NumericalCertificate`.
    max_order
        How many Taylor coefficients to try for Assumption 4.1.

    Raises
    ------
    ValueError
        If the text is no polynomial, the activation unknown, the matrix not orthogonal or
        `max_order` not positive.

    Examples
    --------
    >>> certificate = certify("z1 + z1*z2 + z1*z2*z3")
    >>> certificate.verdict, certificate.condition.orders
    ('learnable', (1, 2, 4))
    >>> certify("z1 + z1*z2", activation="tanh").floor
    Fraction(1, 2)
    """
    if max_order is not None and max_order < 1:
        message = f"Expected max_order of at least 1, received {max_order}."
        raise ValueError(message)
    polynomial, facts = exact_target(target), exact_facts(activation)
    if rotation is not None:
        if not _is_exact(rotation):
            from twolayer.theory.learnability.numerical import certify_rotated

            return certify_rotated(polynomial, rotation, activation=facts)
        polynomial = rotated(polynomial, rotation)
    return _certify(polynomial, facts, max_order)


def _certify(
    polynomial: RationalPolynomial, facts: Facts, max_order: int | None
) -> LearnabilityCertificate:
    symbol = polynomial.symbol()
    essential = essential_basis(symbol)
    degrees = {sum(exponents) for exponents in symbol.terms}

    def chain_on(seen: set[int]) -> Chain:
        if seen | {0} == degrees | {0}:
            return chain
        return invariant_chain([symbol.parts(seen)], essential)

    chain = invariant_chain([symbol], essential)
    network_chain = chain_on({D for D in degrees if facts.sees_with_bias(D)})
    activation_chain = chain_on({D for D in degrees if facts.sees(D)})
    condition = decide_condition(symbol, essential, facts, chain, max_order)
    learned = activation_chain.frame.learned_basis
    evidence = {
        "target": polynomial,
        "symbol": symbol,
        "facts": facts,
        "essential": essential,
        "chain": chain,
        "network_chain": network_chain,
        "activation_chain": activation_chain,
        "leap": leap(symbol),
        "flag": isotropic_flag(symbol, chain),
        "information_exponent": information_exponent(symbol),
        "initial_loss": half_norm(symbol),
        "loss_floor": _floor(symbol, chain),
        "network_loss_floor": _floor(symbol, network_chain),
        "activation_loss_floor": _floor(symbol, activation_chain),
        "expressivity_floor": expressivity_floor(symbol, learned, facts),
        "representability_floor": representability_floor(symbol, facts),
        "condition": condition,
    }
    return conclude(evidence)


def _floor(symbol: RationalPolynomial, chain: Chain) -> Fraction:
    if not chain.frame.hidden_basis:
        return Fraction(0)
    return loss_floor(symbol, chain.frame.learned_basis)


def exact_target(target: Any) -> RationalPolynomial:
    """Give the exact polynomial of a text, a polynomial or an object that carries one.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(target, str):
        return parse_polynomial(target)
    exact = target if isinstance(target, RationalPolynomial) else getattr(target, "exact", None)
    if not isinstance(exact, RationalPolynomial):
        message = (
            f"Expected a polynomial (text, RationalPolynomial or a target with an exact one), "
            f"received {type(target).__name__}; for a black-box function use certify_function."
        )
        raise ValueError(message)  # noqa: TRY004 - wrong use is a ValueError everywhere here
    return exact


def exact_facts(activation: Any) -> Facts:
    """Give the facts of a name, a polynomial as text, or an object that carries them.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(activation, str):
        return facts_of(activation)
    facts = activation if isinstance(activation, Facts) else getattr(activation, "facts", None)
    if not isinstance(facts, Facts):
        message = (
            f"Expected an activation whose parities are known exactly, received "
            f"{type(activation).__name__}; give a name or Facts."
        )
        raise ValueError(message)  # noqa: TRY004
    return facts


def _is_exact(rotation: Sequence[Sequence[Any]]) -> bool:
    return all(isinstance(entry, int | Fraction) for row in rotation for entry in row)


def rotated(
    polynomial: RationalPolynomial, rotation: Sequence[Sequence[int | Fraction]]
) -> RationalPolynomial:
    """Give ``h(O z)`` for an exactly orthogonal matrix.

    Raises
    ------
    ValueError
        If the matrix is not orthogonal or too small.
    """
    if not is_orthogonal(rotation):
        message = "Expected an orthogonal matrix: O O^T = I exactly (floats need not be exact)."
        raise ValueError(message)
    if len(rotation) < polynomial.dim:
        message = f"Expected a matrix of size {polynomial.dim}, received size {len(rotation)}."
        raise ValueError(message)
    return polynomial.substitute(rotation[: polynomial.dim])
