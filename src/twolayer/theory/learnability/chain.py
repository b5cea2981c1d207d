r"""The chain W_k of subspaces that the weights reach, and the largest reflective subspace.

A target h is reflective with respect to S iff the gradient of its Hermite symbol on W, the
complement of S, stays in W: W is invariant under the gradient flow of the symbol (derived here).
The smallest invariant W is reached from {0} by

.. math:: W_{k+1} = W_k + \mathrm{span}\{\nabla \hat h(w) : w \in W_k\}

in at most p steps, and its complement is the largest reflective subspace. Everything is computed
in an orthogonal integer basis whose first vectors span W_k: there the gradient across W_k is read
off the terms of degree one in the hidden coordinates, and rotated targets become sparse again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from twolayer.numerics.rational import RationalPolynomial, Span, orthogonal_basis

Basis = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Frame:
    """An orthogonal integer basis, the first `learned` vectors of which span the subspace W.

    Attributes
    ----------
    basis
        Mutually orthogonal vectors that span the essential subspace.
    learned
        Dimension of W; the vectors after it span the complement S.
    """

    basis: Basis
    learned: int = 0

    @property
    def learned_basis(self) -> Basis:
        """The basis of W."""
        return self.basis[: self.learned]

    @property
    def hidden_basis(self) -> Basis:
        """The basis of S."""
        return self.basis[self.learned :]

    @property
    def squares(self) -> tuple[int, ...]:
        """The squared lengths of the basis vectors."""
        return tuple(sum(x * x for x in vector) for vector in self.basis)


@dataclass(frozen=True)
class Chain:
    """The subspaces W_0 = {0}, W_1, ... by dimension, and the frame adapted to the last."""

    dims: tuple[int, ...]
    frame: Frame

    @property
    def reflective_dim(self) -> int:
        """Dimension of the largest reflective subspace inside the essential one."""
        return len(self.frame.basis) - self.frame.learned


def essential_basis(symbol: RationalPolynomial) -> Basis:
    """Give an orthogonal basis of V0, the smallest subspace that the polynomial depends on.

    V0 is the span of all gradients (derived here; the caveat to chen2024subspace,
    Proposition B.1, which needs a target that depends on every direction).
    """
    vectors: dict[tuple[int, ...], list[Fraction]] = {}
    for exponents, value in symbol.terms.items():
        for i, e in enumerate(exponents):
            if e:
                lowered = (*exponents[:i], e - 1, *exponents[i + 1 :])
                row = vectors.setdefault(lowered, [Fraction(0)] * symbol.dim)
                row[i] += e * value
    span = _span(symbol.dim, vectors.values())
    return orthogonal_basis(span.basis())


def _span(dim: int, vectors) -> Span:
    span = Span(dim)
    for vector in vectors:
        if span.full:
            break
        span.add(vector)
    return span


def in_basis(symbol: RationalPolynomial, basis: Basis) -> RationalPolynomial:
    """Restrict to a subspace: the polynomial in the coordinates of the basis."""
    if all(sum(map(abs, vector)) == 1 and sum(vector) == 1 for vector in basis):
        return _keep_coordinates(symbol, [vector.index(1) for vector in basis])
    if not basis:
        return RationalPolynomial.constant(0, symbol.coefficient((0,) * symbol.dim))
    return symbol.substitute(list(zip(*basis, strict=True)))


def _keep_coordinates(symbol: RationalPolynomial, kept: Sequence[int]) -> RationalPolynomial:
    # unit vectors: dropping the other variables is the whole substitution
    dropped = [i for i in range(symbol.dim) if i not in kept]
    terms = {
        tuple(exponents[i] for i in kept): value
        for exponents, value in symbol.terms.items()
        if not any(exponents[i] for i in dropped)
    }
    return RationalPolynomial(len(kept), terms)


def hidden_span(symbol: RationalPolynomial, frame: Frame, degree: int) -> Span:
    """Give the directions in S on which the part of this degree in S depends.

    Parameters
    ----------
    symbol
        The symbol in the coordinates of the frame.
    frame
        The basis; the span is in the coordinates of its hidden vectors.
    degree
        Degree in the hidden coordinates; 1 gives the gradient across W at points of W.
    """
    start, squares = frame.learned, frame.squares
    vectors: dict[tuple[int, ...], list[Fraction]] = {}
    for exponents, value in symbol.terms.items():
        if sum(exponents[start:]) != degree:
            continue
        for i in range(start, len(exponents)):
            e = exponents[i]
            if e:
                lowered = (*exponents[:i], e - 1, *exponents[i + 1 :])
                row = vectors.setdefault(lowered, [Fraction(0)] * (len(squares) - start))
                # the gradient is the covector raised with the (diagonal) Gram matrix
                row[i - start] += e * value / squares[i]
    return _span(len(squares) - start, vectors.values())


def extend(frame: Frame, symbols: Sequence[RationalPolynomial], degree: int) -> Frame | None:
    """Add to W the hidden directions of this degree of all symbols; ``None`` if there are none."""
    hidden = frame.hidden_basis
    span = Span(len(hidden))
    for symbol in symbols:
        if span.full:
            break
        for vector in hidden_span(in_basis(symbol, frame.basis), frame, degree).basis():
            span.add(vector)
    if span.rank == 0:
        return None
    if span.full:
        return Frame(frame.basis, len(frame.basis))
    directions = [
        tuple(
            sum(c * b[i] for c, b in zip(row, hidden, strict=True)) for i in range(len(hidden[0]))
        )
        for row in span.basis()
    ]
    basis = orthogonal_basis([*frame.learned_basis, *directions, *hidden])
    return Frame(basis, frame.learned + span.rank)


def grow(frame: Frame, symbols: Sequence[RationalPolynomial], degree: int) -> Iterator[Frame]:
    """Extend by one degree again and again, until nothing is added or all is learned."""
    while frame.hidden_basis:
        extended = extend(frame, symbols, degree)
        if extended is None:
            return
        frame = extended
        yield frame


def invariant_chain(symbols: Sequence[RationalPolynomial], basis: Basis) -> Chain:
    """Give the chain of subspaces invariant under the gradients of all symbols (derived here).

    Parameters
    ----------
    symbols
        Hermite symbols; the parts that an activation sees, for its own chain.
    basis
        Orthogonal basis of the essential subspace.

    Examples
    --------
    >>> from twolayer.language import parse_polynomial
    >>> symbol = parse_polynomial("z1 + z1*z2*z3").symbol()
    >>> chain = invariant_chain([symbol], essential_basis(symbol))
    >>> chain.dims, chain.reflective_dim
    ((0, 1), 2)
    """
    frames = [Frame(basis), *grow(Frame(basis), symbols, 1)]
    return Chain(tuple(frame.learned for frame in frames), frames[-1])
