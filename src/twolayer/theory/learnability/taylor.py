r"""Assumption 4.1: the Taylor series of the first phase of Algorithm 1, and when it spans V.

The weights start at 0 and follow (chen2024subspace, (4.1))

.. math:: \frac{d}{dt}\hat w = E[z h(z) \sigma'(\hat w \cdot z)] = \nabla F(\hat w), \qquad
          F(w) = \sum_D \hat h_D(w)\, \mu_D(|w|^2), \quad
          \mu_D(y) = \sum_j \frac{m_{D+2j}}{2^j j!} y^j

with the derivatives m_k of the activation at 0 (the second form derived here). The series is
computed online: each product in the right-hand side gains one coefficient an order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial
from typing import Any

from twolayer.activations.facts import Derivatives
from twolayer.numerics.rational import RationalPolynomial, Span

MAX_WORK = 250_000  # multiplications of fractions: a second or so


@dataclass(frozen=True)
class TaylorOrders:
    """How far the Taylor series spans the subspace it lives in.

    Attributes
    ----------
    columns
        The coefficients of t^1, t^2, ... in the coordinates given.
    orders
        The orders at which the rank of the columns so far jumps.
    spans
        Whether the rank reached the dimension asked for.
    """

    columns: tuple[tuple[Any, ...], ...]
    orders: tuple[int, ...]
    spans: bool


class _Product:
    """A power series that is the product of two others."""

    def __init__(self, left: list, right: list, valuation: int) -> None:
        self.left, self.right, self.valuation = left, right, valuation
        self.series: list = []

    def extend(self, order: int) -> int:
        """Append the coefficient of t^order; give the number of multiplications."""
        left, right = self.left, self.right
        total, work = 0, 0
        if order >= self.valuation:
            work += order // 16  # zeros cost less than fractions, but not nothing
            for i in range(order + 1):
                a, b = left[i], right[order - i]
                if a and b:
                    total += a * b
                    work += 1
        self.series.append(total)
        return work


class _Combination:
    """A power series that is a linear combination of others."""

    def __init__(self, parts: list[tuple[Any, list]]) -> None:
        self.parts = parts
        self.series: list = []

    def extend(self, order: int) -> int:
        """Append the coefficient of t^order; give the number of multiplications."""
        total, work = 0, 0
        for weight, series in self.parts:
            value = series[order]
            if value:
                total += weight * value
                work += 1
        self.series.append(total)
        return work


class TaylorFlow:
    """The power series solution of (4.1), one order at a step.

    Parameters
    ----------
    symbol
        Hermite symbol in the coordinates of an orthogonal basis.
    squares
        Squared lengths of the basis vectors.
    derivatives
        ``m_0, m_1, ...`` of the activation at 0.
    max_order
        How many orders will be asked for at most.
    """

    def __init__(
        self,
        symbol: RationalPolynomial,
        squares: Sequence,
        derivatives: Sequence,
        max_order: int,
    ) -> None:
        self.order = 0
        self.work = 0
        self.max_order = max_order
        self.derivatives = derivatives
        self.weights: list[list] = [[0] for _ in range(symbol.dim)]
        # each node needs the coefficient of this order of the nodes before it
        self._nodes: list[_Product | _Combination] = []
        self._one = [1] + [0] * max_order
        self._monomials: dict[tuple[int, ...], list] = {(0,) * symbol.dim: self._one}
        self._powers = self._norm_powers(squares)
        self._scales: dict[int, list] = {}
        self._velocity = self._gradient(symbol, squares)

    def step(self) -> tuple[Any, ...]:
        """Give the next coefficient of the weights, in the coordinates of the basis."""
        order = self.order
        for node in self._nodes:
            self.work += node.extend(order)
        column = tuple(series[order] / (order + 1) for series in self._velocity)
        for series, entry in zip(self.weights, column, strict=True):
            series.append(entry)
        self.order += 1
        return column

    def _multiply(self, left: list, right: list, valuation: int) -> list:
        node = _Product(left, right, valuation)
        self._nodes.append(node)
        return node.series

    def _combine(self, parts: list[tuple[Any, list]]) -> list:
        node = _Combination(parts)
        self._nodes.append(node)
        return node.series

    def _norm_powers(self, squares: Sequence) -> list[list]:
        """Give the series of |w|^0, |w|^2, |w|^4, ..."""
        parts = [(g, self._multiply(w, w, 2)) for g, w in zip(squares, self.weights, strict=True)]
        square = self._combine(parts)
        powers = [self._one, square]
        for j in range(2, self.max_order // 2 + 1):
            powers.append(self._multiply(powers[-1], square, 2 * j))
        return powers

    def _scale(self, degree: int) -> list:
        """Give the series of mu_D(|w|^2)."""
        if degree not in self._scales:
            parts = [
                (self.derivatives[degree + 2 * j] / (2**j * factorial(j)), power)
                for j, power in enumerate(self._powers)
                if degree + 2 * j < len(self.derivatives)
            ]
            self._scales[degree] = self._combine([part for part in parts if part[0]])
        return self._scales[degree]

    def _monomial(self, exponents: tuple[int, ...]) -> list:
        if exponents not in self._monomials:
            lead = next(i for i in reversed(range(len(exponents))) if exponents[i])
            lowered = (*exponents[:lead], exponents[lead] - 1, *exponents[lead + 1 :])
            factor = self._monomial(lowered)
            series = self._multiply(factor, self.weights[lead], sum(exponents))
            self._monomials[exponents] = series
        return self._monomials[exponents]

    def _polynomial(self, polynomial: RationalPolynomial) -> list:
        # a monomial of degree k starts at t^k: those beyond the last order never matter
        return self._combine([
            (value, self._monomial(exponents))
            for exponents, value in polynomial.terms.items()
            if sum(exponents) < self.max_order
        ])

    def _gradient(self, symbol: RationalPolynomial, squares: Sequence) -> list[list]:
        """Give the series of ``sum_D (grad h_D mu_D + h_D mu_{D+2} w)``."""
        parts: list[list[tuple[Any, list]]] = [[] for _ in squares]
        radial: list[tuple[Any, list]] = []
        for degree in sorted({sum(exponents) for exponents in symbol.terms}):
            part = symbol.parts([degree])
            if degree < self.max_order:
                value = self._polynomial(part)
                radial.append((1, self._multiply(value, self._scale(degree + 2), degree)))
            for i, g in enumerate(squares):
                slope = part.derivative(i)
                if slope.terms and degree <= self.max_order:
                    series = self._polynomial(slope)
                    product = self._multiply(series, self._scale(degree), degree - 1)
                    # a covector, raised with the diagonal Gram matrix
                    parts[i].append((1 / g, product))
        pull = self._combine(radial)
        for i, weights in enumerate(self.weights):
            parts[i].append((1, self._multiply(pull, weights, 1)))
        return [self._combine(own) for own in parts]


def taylor_orders(
    symbol: RationalPolynomial,
    squares: Sequence[int | Fraction],
    derivatives: Derivatives,
    max_order: int,
) -> TaylorOrders:
    """Give the orders at which the Taylor coefficients gain rank, until they span everything.

    Condition 4.1 of chen2024subspace holds with s = the last of these orders, and not with a
    smaller one; the jumps are the s_i of its Lemma C.9 (that they are, derived here).

    Parameters
    ----------
    symbol
        Hermite symbol in the coordinates of an orthogonal basis.
    squares
        Squared lengths of the basis vectors.
    derivatives
        Function that gives ``m_0..m_n``, exactly.
    max_order
        Where to give up.

    Examples
    --------
    >>> from twolayer.activations.facts import FACTS
    >>> from twolayer.language import parse_polynomial
    >>> symbol = parse_polynomial("z1 + z1*z2 + z1*z2*z3").symbol()
    >>> taylor_orders(symbol, (1, 1, 1), FACTS["cos_sin"].derivatives, 8).orders
    (1, 2, 4)
    """
    span = Span(symbol.dim)
    columns: list[tuple[Fraction, ...]] = []
    orders: list[int] = []
    if span.full:
        return TaylorOrders((), (), True)
    flow = TaylorFlow(
        symbol,
        [Fraction(g) for g in squares],
        derivatives(max_order + symbol.degree + 2),
        max_order,
    )
    while flow.order < max_order and not span.full and flow.work < MAX_WORK:
        columns.append(tuple(Fraction(entry) for entry in flow.step()))
        if span.add(columns[-1]):
            orders.append(flow.order)
    return TaylorOrders(tuple(columns), tuple(orders), span.full)
