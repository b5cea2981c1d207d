"""The Taylor coefficients of Assumption 4.1 by the paper's own recursion, for `verify`.

The recursion (C.9), (C.10) of chen2024subspace with the sums over compositions collected by
exponents, all expectations from Gaussian moments:

    q_j = (1/j) [t^(j-1)] sum_b m_(|b|+1) / b!  w(t)^b  E[z h z^b]

It runs modulo a prime: a determinant that does not vanish there does not vanish.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import factorial, prod

from twolayer.numerics.rational import RationalPolynomial
from twolayer.theory.learnability.moments import moment

PRIME = 2**61 - 1
MAX_WORK = 1_000_000


class TooLargeError(Exception):
    """The recursion would take more than about a second."""


def modular(value: Fraction | int) -> int:
    """Give a fraction modulo the prime.

    Raises
    ------
    TooLargeError
        If the prime divides the denominator.
    """
    value = Fraction(value)
    if value.denominator % PRIME == 0:
        raise TooLargeError
    return value.numerator * pow(value.denominator, -1, PRIME) % PRIME


def rank_jumps(columns: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Give the orders (from 1) at which the rank modulo the prime grows."""
    echelon: dict[int, list[int]] = {}
    jumps: list[int] = []
    for order, column in enumerate(columns, start=1):
        rest = list(column)
        for i in range(len(rest)):
            if not rest[i]:
                continue
            if i not in echelon:
                scale = pow(rest[i], -1, PRIME)
                echelon[i] = [x * scale % PRIME for x in rest]
                jumps.append(order)
                break
            factor = rest[i]
            rest = [(x - factor * y) % PRIME for x, y in zip(rest, echelon[i], strict=True)]
    return tuple(jumps)


class Recursion:
    """The recursion for a polynomial in coordinates of an orthogonal basis.

    Parameters
    ----------
    h
        The target itself (not its symbol) in these coordinates.
    squares
        Squared lengths of the basis vectors.
    derivatives
        ``m_0, m_1, ...``.
    """

    def __init__(
        self, h: RationalPolynomial, squares: Sequence[int], derivatives: Sequence[Fraction]
    ) -> None:
        self.squares = squares
        self.m = [modular(m) for m in derivatives]
        self.classes: dict[tuple[int, ...], list[tuple[tuple[int, ...], int]]] = {}
        for exponents, value in h.terms.items():
            parity = tuple(e % 2 for e in exponents)
            self.classes.setdefault(parity, []).append((exponents, modular(value)))
        self.dim = h.dim
        self.weights: list[list[int]] = [[0] for _ in range(h.dim)]
        self.powers: dict[tuple[int, ...], list[int]] = {}
        self.forces: dict[tuple[int, ...], list[int]] = {}
        self.moments: dict[tuple[int, int], int] = {}
        self.work = 0

    def columns(self, count: int) -> list[list[int]]:
        """Give the first coefficients, modulo the prime.

        Raises
        ------
        TooLargeError
            If there are too many terms.
        """
        return [self._step(order) for order in range(count)]

    def _step(self, order: int) -> list[int]:
        """Give the coefficient of t^(order+1)."""
        starts = [next((k for k, x in enumerate(w) if x), None) for w in self.weights]
        velocity = [0] * self.dim
        for b in self._exponents(starts, order):
            coefficient = self._power(b, order)
            m = self.m[sum(b) + 1] if sum(b) + 1 < len(self.m) else 0
            if coefficient and m:
                weight = m * coefficient % PRIME
                for i, force in enumerate(self._force(b)):
                    velocity[i] = (velocity[i] + weight * force) % PRIME
        column = [v * pow(order + 1, -1, PRIME) % PRIME for v in velocity]
        for series, entry in zip(self.weights, column, strict=True):
            series.append(entry)
        return column

    def _exponents(
        self, starts: Sequence[int | None], order: int, head: tuple[int, ...] = ()
    ) -> Iterator[tuple[int, ...]]:
        """Give all b whose power of the weights starts at this order or before."""
        if len(head) == self.dim:
            yield head
            return
        start = starts[len(head)]
        highest = 0 if start is None else order // start
        for e in range(highest + 1):
            yield from self._exponents(starts, order - e * (start or 0), (*head, e))

    def _power(self, b: tuple[int, ...], order: int) -> int:
        """Give the coefficient of t^order of w(t)^b, extending its series."""
        if not any(b):
            return int(order == 0)
        lead = next(i for i in reversed(range(self.dim)) if b[i])
        lowered = (*b[:lead], b[lead] - 1, *b[lead + 1 :])
        series = self.powers.setdefault(b, [])
        while len(series) <= order:
            k = len(series)
            factor = self.weights[lead]
            if any(lowered):
                self._power(lowered, k)
                parent = self.powers[lowered]
                value = sum(parent[i] * factor[k - i] for i in range(k + 1)) % PRIME
            else:
                value = factor[k]
            series.append(value)
            self._charge(1 + k // 4)
        return series[order]

    def _charge(self, amount: int) -> None:
        self.work += amount
        if self.work > MAX_WORK:
            raise TooLargeError

    def _moment(self, power: int, i: int) -> int:
        key = (power, i)
        if key not in self.moments:
            self.moments[key] = modular(moment(power, self.squares[i]))
        return self.moments[key]

    def _force(self, b: tuple[int, ...]) -> list[int]:
        """Give ``E[z h z^b] / b!`` with the metric of the coordinates."""
        if b not in self.forces:
            scale = Fraction(
                prod(q**e for q, e in zip(self.squares, b, strict=True)), prod(map(factorial, b))
            )
            self.forces[b] = [self._expectation(b, i) * modular(scale) for i in range(self.dim)]
        return self.forces[b]

    def _expectation(self, b: tuple[int, ...], axis: int) -> int:
        raised = tuple(e + int(i == axis) for i, e in enumerate(b))
        total = 0
        members = self.classes.get(tuple(e % 2 for e in raised), ())
        self._charge(len(members))
        for exponents, value in members:
            for i, (e, r) in enumerate(zip(exponents, raised, strict=True)):
                if e + r:
                    value = value * self._moment(e + r, i) % PRIME
            total += value
        return total % PRIME
