"""Assumption 4.1 decided: its order s, a proof that every order fails, or undecided."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import factorial, inf

from twolayer.activations.facts import Facts
from twolayer.numerics.rational import RationalPolynomial
from twolayer.theory.learnability.chain import Basis, Chain, Frame, in_basis, invariant_chain
from twolayer.theory.learnability.taylor import MAX_WORK, TaylorOrders, taylor_orders

MIN_SEARCH = 24  # orders tried in low dimension; 2^p covers the staircase's 2^(p-1)
KAPPA = Fraction(2, 5)  # near 1/sqrt(2 pi); any rational would do
MAX_SPECIALISATIONS = 64


@dataclass(frozen=True)
class TaylorCondition:
    """What is known of Assumption 4.1 of chen2024subspace.

    Attributes
    ----------
    holds
        ``False`` only with a proof for every s; ``None`` where undecided or not defined.
    order
        The order s where it holds; 0 for a constant target.
    orders
        The orders at which the Taylor coefficients gained rank, as far as they were computed.
    minimal
        Whether `order` and `orders` are proved minimal; else they are upper bounds.
    searched
        How many orders were computed.
    reachable_dim
        Dimension of the smallest subspace that the noise-free flow cannot leave.
    basis, columns
        Orthogonal basis and Taylor coefficients in its coordinates: the witness.
    reason
        One sentence.
    """

    holds: bool | None
    order: int | None
    orders: tuple[int, ...]
    minimal: bool
    searched: int
    reachable_dim: int | None
    basis: Basis
    columns: tuple[tuple[Fraction, ...], ...]
    reason: str


def derivatives_or_specialised(facts: Facts, order: int) -> tuple[Fraction, ...]:
    """Give ``m_0..m_n``, at a rational value of kappa where they are not rational.

    Raises
    ------
    ValueError
        If the activation is not differentiable at 0.
    """
    if facts.derivatives is not None:
        return facts.derivatives(order)
    if facts.derivatives_at is not None:
        return facts.derivatives_at(order, KAPPA)
    message = f"Expected an activation that is differentiable at 0, received {facts.name}."
    raise ValueError(message)


def noise_free_symbols(symbol: RationalPolynomial, facts: Facts) -> list[RationalPolynomial]:
    r"""Give polynomials whose invariant subspaces are those of the flow (4.1) (derived here).

    The flow is the gradient of ``sum_k m_k/k! F_k``, with

    .. math:: F_k(w) = \sum_j \frac{k!}{2^j j!} |w|^{2j} \hat h_{k-2j}(w)

    A subspace holds the flow for all times if it is invariant under every F_k with m_k != 0.
    The origin is, unless m_1 and the degree-one part are both nonzero. On any other subspace
    |w|^2 is not zero and its gradient is tangent, so a common power of it may be divided out;
    and within a parity, as many of these k as the target can have degrees suffice: their
    coefficients are a minor of a triangular totally positive matrix, so the invariance is then
    that of each homogeneous part alone.
    """
    degree = symbol.degree
    polynomial_degree = int(facts.degree) if facts.degree < inf else 0
    m = derivatives_or_specialised(facts, max(3 * degree + 8, polynomial_degree))
    if not m[1] or not symbol.parts([1]).terms:
        return []
    whole: list[int] = []
    symbols: list[RationalPolynomial] = []
    for parity in (1, 0):
        own = [D for D in range(2 - parity, degree + 1, 2)]
        active = [k for k in range(2 - parity, len(m), 2) if m[k]][: len(own)]
        part_degree = facts.odd_degree if parity else facts.even_degree
        if len(active) == len(own) or part_degree == inf:
            whole.extend(own)
            continue
        for k in active:
            symbols.append(_radial_sum(symbol, [D for D in own if k >= D], k))
    return [part for part in (symbol.parts(whole), *symbols) if part.degree > 0]


def _radial_sum(symbol: RationalPolynomial, degrees: list[int], k: int) -> RationalPolynomial:
    """Give ``F_k`` over the largest common power of ``|w|^2``."""
    parts = {D: part for D in degrees if (part := symbol.parts([D])).terms}
    dim = symbol.dim
    norm = sum((RationalPolynomial.variable(dim, i) ** 2 for i in range(dim)), start=0 * symbol)
    top = max(parts, default=0)
    total = 0 * symbol
    for D, part in parts.items():
        j = (k - D) // 2
        weight = Fraction(factorial(k), 2**j * factorial(j))
        total = total + weight * (part * norm ** ((top - D) // 2))
    return total


def decide_condition(
    symbol: RationalPolynomial,
    essential: Basis,
    facts: Facts,
    free_chain: Chain,
    max_order: int | None = None,
) -> TaylorCondition:
    """Decide Assumption 4.1 of chen2024subspace for a target and an activation.

    Parameters
    ----------
    symbol
        Hermite symbol of the target.
    essential
        Orthogonal basis of the essential subspace.
    facts
        The activation.
    free_chain
        The activation-free chain, reused where the noise-free one is the same.
    max_order
        How many Taylor coefficients to try; by default enough for a staircase of this dimension,
        as far as the work stays near a second.
    """
    dim = len(essential)
    if not facts.differentiable:
        reason = f"It is not defined: {facts.name} is not differentiable at 0."
        return TaylorCondition(None, None, (), True, 0, None, (), (), reason)
    if dim == 0:
        reason = "The target is constant: there is nothing for the weights to learn."
        return TaylorCondition(True, 0, (), True, 0, 0, (), (), reason)
    symbols = noise_free_symbols(symbol, facts)
    same = len(symbols) == 1 and symbols[0] == symbol.parts(range(1, symbol.degree + 1))
    chain = free_chain if same else invariant_chain(symbols, essential)
    basis, restricted = _sparsest(symbol, essential, chain.frame)
    squares = Frame(basis).squares
    limit = max_order or max(MIN_SEARCH, 2 ** min(dim, 10))
    found, minimal = _orders(restricted, squares, facts, limit)
    reach = len(basis)
    holds = (reach == dim) if found.spans else (None if reach == dim else False)
    order = found.orders[-1] if holds else None
    reason = _reason(holds, order, minimal, len(found.columns), reach, dim)
    return TaylorCondition(
        holds, order, found.orders, minimal, len(found.columns), reach, basis, found.columns, reason
    )


def _sparsest(
    symbol: RationalPolynomial, essential: Basis, frame: Frame
) -> tuple[Basis, RationalPolynomial]:
    """Give coordinates of the reachable subspace in which the target has few terms."""
    adapted = in_basis(symbol, frame.learned_basis)
    if frame.hidden_basis or frame.learned_basis == essential:
        return frame.learned_basis, adapted
    plain = in_basis(symbol, essential)
    if len(plain.terms) <= len(adapted.terms):
        return essential, plain
    return frame.learned_basis, adapted


def _orders(
    symbol: RationalPolynomial, squares: tuple[int, ...], facts: Facts, limit: int
) -> tuple[TaylorOrders, bool]:
    """Give the jump orders and whether they are proved minimal."""
    if facts.derivatives is not None:
        return taylor_orders(symbol, squares, facts.derivatives, limit), True
    at = facts.derivatives_at
    found = taylor_orders(symbol, squares, lambda n: derivatives_or_specialised(facts, n), limit)
    if at is None or not found.spans:
        return found, False
    # kappa is transcendental: a rank at one rational value bounds the rank over Q(kappa) from
    # below. The coefficient of t^j is a polynomial in kappa of degree < j (every leaf of a term
    # of the recursion carries m_1, which is free of kappa), so a minor of i of the columns
    # before the i-th jump has degree at most (s_i-2) + (s_i-3) + ...; where it vanishes at more
    # values than that it vanishes identically and the jump cannot come earlier.
    bound = max(
        (sum(max(0, s - 2 - r) for r in range(i)) for i, s in enumerate(found.orders, start=1)),
        default=0,
    )
    if bound >= MAX_SPECIALISATIONS or bound * len(found.columns) ** 2 * 30 > MAX_WORK:
        return found, False
    for numerator in range(1, bound + 1):
        value = Fraction(numerator, 7)
        other = taylor_orders(symbol, squares, lambda n, v=value: at(n, v), found.orders[-1])
        if any(a < b for a, b in zip(other.orders, found.orders, strict=False)):
            return found, False
    return found, True


def _reason(
    holds: bool | None, order: int | None, minimal: bool, searched: int, reach: int, dim: int
) -> str:
    if holds:
        return f"It holds with s = {order}{'' if minimal else ' at most'}."
    if holds is False:
        return (
            f"It fails for every s: the noise-free flow never leaves a subspace of dimension "
            f"{reach} of {dim}."
        )
    return (
        f"It is undecided: no invariant subspace excludes it, but the first {searched} Taylor "
        f"coefficients do not span the {dim} dimensions."
    )
