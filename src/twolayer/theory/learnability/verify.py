"""`verify`: check a certificate by arithmetic that shares nothing with what produced it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from twolayer.activations.facts import Facts
from twolayer.numerics.rational import RationalPolynomial, orthogonal_complement
from twolayer.theory.learnability.brute_force import Recursion, TooLargeError, modular, rank_jumps
from twolayer.theory.learnability.certificate import LearnabilityCertificate, bounded, fraction_text
from twolayer.theory.learnability.chain import Chain
from twolayer.theory.learnability.condition import derivatives_or_specialised
from twolayer.theory.learnability.moments import (
    conditional_expectation,
    degree_components,
    expectation_of_product,
    squared_norm,
)


@dataclass(frozen=True)
class Check:
    """One check: what, whether it holds (``None``: too large to check), and why."""

    name: str
    holds: bool | None
    detail: str = ""


@dataclass(frozen=True)
class Verification:
    """All checks of a certificate; true if none of them failed.

    Attributes
    ----------
    checks
        One entry a check; those with ``holds=None`` were skipped as too large.
    """

    checks: tuple[Check, ...]

    def __bool__(self) -> bool:
        return all(check.holds is not False for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.holds is False)


def verify(certificate: LearnabilityCertificate) -> Verification:
    """Check a certificate independently: Gaussian moments instead of Hermite symbols.

    The losses and floors are recomputed from double factorials; the reflective subspaces are
    checked as the polynomial identities that define them, ``E[h z_S | z_W] = 0`` (Definition 3.3
    of chen2024subspace; per Hermite degree for an activation); Assumption 4.1 by the paper's
    recursion (C.9), (C.10) and a determinant that does not vanish; the verdict against these.
    Not checked: that a reflective subspace is the largest, beyond the consistency of floors.

    Examples
    --------
    >>> from twolayer.theory.learnability import certify
    >>> bool(verify(certify("z1 + z1*z2*z3")))
    True
    """
    return Verification(tuple(_checks(certificate)))


def _checks(c: LearnabilityCertificate) -> Iterator[Check]:
    dim = c.target.dim
    yield _same("initial loss", c.initial_loss, _half_square(c.target, [1] * dim))
    yield Check("essential subspace", _depends_only_on(c))
    degrees = range(1, c.target.degree + 1)
    seen = {D for D in degrees if c.facts.sees(D)}
    forms = (
        ("(3.2)", c.chain, set(degrees), c.loss_floor),
        ("(3.1)", c.network_chain, {D for D in degrees if c.facts.sees_with_bias(D)},
         c.network_loss_floor),
        ("(3.5)", c.activation_chain, seen, c.activation_loss_floor),
    )  # fmt: skip
    for name, chain, acting, floor in forms:
        yield from _reflective_checks(c, name, chain, acting, floor)
    yield from _expressivity_checks(c)
    yield from _taylor_checks(c)
    yield _verdict_check(c)


def _same(name: str, claimed: Fraction, found: Fraction) -> Check:
    return Check(
        name,
        claimed == found,
        f"certificate {fraction_text(claimed)}, moments {fraction_text(found)}",
    )


def _half_square(h: RationalPolynomial, squares: list[int]) -> Fraction:
    return expectation_of_product(h, h, squares) / 2


def _coordinates(
    h: RationalPolynomial, basis: tuple[tuple[int, ...], ...]
) -> tuple[RationalPolynomial, list[int]]:
    rows = list(zip(*basis, strict=True)) if basis else [()] * h.dim
    return h.substitute(rows), [sum(x * x for x in vector) for vector in basis]


def _orthogonal(basis: tuple[tuple[int, ...], ...]) -> bool:
    return all(
        sum(x * y for x, y in zip(a, b, strict=True)) == 0
        for i, a in enumerate(basis)
        for b in basis[:i]
    ) and all(any(vector) for vector in basis)


def _depends_only_on(c: LearnabilityCertificate) -> bool:
    """Tell whether h is constant across V0, and V0 no larger than the gradients' span."""
    gradient = c.target.gradient()
    for vector in orthogonal_complement(c.essential, c.target.dim):
        slope = sum((x * g for x, g in zip(vector, gradient, strict=True)), 0 * c.target)
        if slope.terms:
            return False
    for vector in c.essential:
        slope = sum((x * g for x, g in zip(vector, gradient, strict=True)), 0 * c.target)
        if not slope.terms:
            return False
    return _orthogonal(c.essential)


def _reflective_checks(
    c: LearnabilityCertificate, name: str, chain: Chain, acting: set[int], floor: Fraction
) -> Iterator[Check]:
    frame, kept = chain.frame, chain.frame.learned
    shape = (
        _orthogonal(frame.basis)
        and len(frame.basis) == c.essential_dim
        and chain.dims[-1] == kept
        and all(a < b for a, b in zip(chain.dims, chain.dims[1:], strict=False))
    )
    yield Check(f"basis of {name}", shape)
    h, squares = _coordinates(c.target, frame.basis)
    identity = True
    for hidden in range(kept, len(frame.basis)):
        force = conditional_expectation(h, squares, kept, times=hidden)
        # degree D of h acts on the weights through degree D-1 of E[h z_S | z_W]
        present = {degree + 1 for degree in degree_components(force, squares[:kept])}
        identity = identity and not (present & acting)
    yield Check(f"reflective identity {name}", identity)
    found = Fraction(0)  # with nothing hidden, the conditional mean is h itself
    if kept < len(frame.basis):
        mean = conditional_expectation(h, squares, kept)
        found = c.initial_loss - _half_square(mean, squares[:kept])
    yield _same(f"floor of {name}", floor, found)


def _expressivity_checks(c: LearnabilityCertificate) -> Iterator[Check]:
    frame, kept = c.activation_chain.frame, c.activation_chain.frame.learned
    h, squares = _coordinates(c.target, frame.basis)
    degrees = range(c.target.degree + 1)
    if all(c.facts.sees(D) for D in degrees):
        yield _same("expressivity floor", c.expressivity_floor, Fraction(0))
        yield _same("representability floor", c.representability_floor, Fraction(0))
        return
    mean = conditional_expectation(h, squares, kept)
    found = _unseen_half_norm(mean, squares[:kept], c.facts)
    yield _same("expressivity floor", c.expressivity_floor, found)
    found = _unseen_half_norm(h, squares, c.facts)
    yield _same("representability floor", c.representability_floor, found)


def _unseen_half_norm(h: RationalPolynomial, squares: list[int], facts: Facts) -> Fraction:
    parts = degree_components(h, squares)
    lost = (squared_norm(part, squares) for D, part in parts.items() if not facts.sees(D))
    return sum(lost, Fraction(0)) / 2


def _taylor_checks(c: LearnabilityCertificate) -> Iterator[Check]:
    condition = c.condition
    if not c.facts.differentiable or not c.essential:
        return
    if condition.holds and len(condition.orders) != c.essential_dim:
        yield Check("rank of the Taylor coefficients", False, "fewer jumps than dimensions")
    basis = condition.basis
    if not _orthogonal(basis):
        yield Check("basis of the Taylor coefficients", False)
        return
    if condition.holds is False:
        yield _containment_check(c)
    h, squares = _full_coordinates(c)
    count = len(condition.columns)
    try:
        recursion = Recursion(h, squares, derivatives_or_specialised(c.facts, count + 1))
        columns = recursion.columns(count)
        claimed = [[modular(x) for x in column] for column in condition.columns]
    except TooLargeError:
        yield Check("Taylor coefficients by (C.9), (C.10)", None, "too many terms to check")
        return
    inside = [column[: len(basis)] for column in columns]
    outside = any(any(column[len(basis) :]) for column in columns)
    yield Check("Taylor coefficients by (C.9), (C.10)", inside == claimed and not outside)
    jumps = rank_jumps(columns)
    yield Check("rank jumps, determinant nonzero modulo a prime", jumps == condition.orders)


def _full_coordinates(c: LearnabilityCertificate) -> tuple[RationalPolynomial, list[int]]:
    """Give h in the basis of the Taylor coefficients, completed to the essential subspace."""
    basis = c.condition.basis
    outside = orthogonal_complement(c.essential, c.target.dim)
    rest = orthogonal_complement([*basis, *outside], c.target.dim)
    return _coordinates(c.target, (*basis, *rest))


def _containment_check(c: LearnabilityCertificate) -> Check:
    """Check that the flow (4.1) cannot leave the subspace, for the derivatives that can matter."""
    h, squares = _full_coordinates(c)
    kept, degree = len(c.condition.basis), c.target.degree
    if kept == len(squares):
        return Check("the noise-free flow stays in its subspace", False, "it is the whole space")
    m = derivatives_or_specialised(c.facts, 3 * degree + 8)
    active = [k for k in range(1, len(m)) if m[k]]
    for hidden in range(kept, len(squares)):
        force = conditional_expectation(h, squares, kept, times=hidden)
        parts = degree_components(force, squares[:kept])
        for k in active:
            if _pairing(parts, k - 1, squares[:kept]):
                return Check("the noise-free flow stays in its subspace", False)
    return Check("the noise-free flow stays in its subspace", True)


def _pairing(
    parts: dict[int, dict[tuple[int, ...], Fraction]], power: int, squares: list[int]
) -> bool:
    """Tell whether ``E[g(z) (w.z)^power]`` is a nonzero polynomial in w.

    From ``x^k = sum_j k!/(2^j j! (k-2j)!) He_(k-2j)(x)``: the degree-D component of g enters
    with ``|w|^(power-D)``, so cancellation needs components of different degrees.
    """
    dim = len(squares)
    if dim == 0:
        return power == 0 and bool(parts)
    norm = RationalPolynomial(
        dim,
        {tuple(2 * int(i == j) for j in range(dim)): Fraction(q) for i, q in enumerate(squares)},
    )
    own = {D: part for D, part in parts.items() if power >= D and (power - D) % 2 == 0}
    top = max(own, default=0)
    total = RationalPolynomial(dim)
    for D, part in own.items():
        j = (power - D) // 2
        weight = Fraction(1)
        for i in range(1, j + 1):
            weight /= 2 * i
        total = total + RationalPolynomial(dim, part) * norm ** ((top - D) // 2) * weight
    return bool(total.terms)


def _verdict_check(c: LearnabilityCertificate) -> Check:
    """Check the verdict against the verified parts."""
    if c.verdict == "not_learnable":
        holds = c.representability_floor > 0 or (bounded(c.facts) and c.total_floor > 0)
    elif c.verdict == "learnable":
        smooth = c.facts.smooth and c.facts.derivative_bound < inf
        proved = smooth and c.condition.holds is True and c.total_floor == 0
        holds = proved or c.initial_loss == 0
    else:
        holds = c.representability_floor == 0 and not (bounded(c.facts) and c.total_floor > 0)
    return Check("verdict follows", holds)
