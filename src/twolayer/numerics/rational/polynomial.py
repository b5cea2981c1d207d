"""Exact multivariate polynomials with rational coefficients, and their Hermite side.

The heavy operations (product, linear substitution, symbol) run on integers with one common
denominator and on exponent vectors packed into one integer, so that multiplying two monomials
is one addition: some twenty times faster than a dictionary of tuples and fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import factorial, lcm, prod

Exponents = tuple[int, ...]
BITS = 12  # of a packed exponent: degrees stay below 4096


@dataclass(frozen=True)
class RationalPolynomial:
    """A polynomial in ``dim`` variables with rational coefficients.

    Attributes
    ----------
    dim
        Number of variables, used or not.
    terms
        The nonzero coefficients by exponent tuple; read only.

    Examples
    --------
    >>> h = RationalPolynomial(2, {(1, 0): 1, (1, 1): Fraction(1, 2)})
    >>> print(h * h)
    z1^2 + z1^2*z2 + 1/4*z1^2*z2^2
    """

    dim: int
    terms: Mapping[Exponents, Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clean: dict[Exponents, Fraction] = {}
        for exponents, value in self.terms.items():
            if len(exponents) != self.dim:
                message = f"Expected exponent tuples of length {self.dim}, received {exponents}."
                raise ValueError(message)
            if value:
                clean[exponents] = value if type(value) is Fraction else Fraction(value)
        object.__setattr__(self, "terms", clean)

    def __hash__(self) -> int:
        return hash((self.dim, frozenset(self.terms.items())))

    def __str__(self) -> str:
        return self.text()

    @classmethod
    def constant(cls, dim: int, value: int | Fraction) -> RationalPolynomial:
        """Give the constant polynomial."""
        return cls(dim, {(0,) * dim: Fraction(value)})

    @classmethod
    def variable(cls, dim: int, index: int) -> RationalPolynomial:
        """Give the polynomial ``x_index``, counted from zero."""
        return cls(dim, {tuple(int(i == index) for i in range(dim)): Fraction(1)})

    @property
    def degree(self) -> int:
        """The total degree; 0 for constants, the zero polynomial among them."""
        return max(map(sum, self.terms), default=0)

    def __add__(self, other: RationalPolynomial | int | Fraction) -> RationalPolynomial:
        other = self._coerce(other)
        terms = dict(self.terms)
        for exponents, value in other.terms.items():
            terms[exponents] = terms[exponents] + value if exponents in terms else value
        return RationalPolynomial(self.dim, terms)

    __radd__ = __add__

    def __neg__(self) -> RationalPolynomial:
        return RationalPolynomial(self.dim, {e: -value for e, value in self.terms.items()})

    def __sub__(self, other: RationalPolynomial | int | Fraction) -> RationalPolynomial:
        return self + -self._coerce(other)

    def __rsub__(self, other: int | Fraction) -> RationalPolynomial:
        return -self + other

    def __mul__(self, other: RationalPolynomial | int | Fraction) -> RationalPolynomial:
        if isinstance(other, int | Fraction):
            return RationalPolynomial(self.dim, {e: v * other for e, v in self.terms.items()})
        other = self._coerce(other)
        left, left_scale = _pack(self.terms)
        right, right_scale = _pack(other.terms)
        product: dict[int, int] = {}
        for a, x in left.items():
            for b, y in right.items():
                product[a + b] = product.get(a + b, 0) + x * y
        return _unpack(product, left_scale * right_scale, self.dim)

    __rmul__ = __mul__

    def __truediv__(self, other: int | Fraction) -> RationalPolynomial:
        return self * (Fraction(1) / other)

    def __pow__(self, exponent: int) -> RationalPolynomial:
        power = RationalPolynomial.constant(self.dim, 1)
        for _ in range(exponent):
            power = power * self
        return power

    def _coerce(self, other: RationalPolynomial | int | Fraction) -> RationalPolynomial:
        if isinstance(other, int | Fraction):
            return RationalPolynomial.constant(self.dim, other)
        if other.dim != self.dim:
            message = f"Expected a polynomial in {self.dim} variables, received {other.dim}."
            raise ValueError(message)
        return other

    def __call__(self, point: Sequence):
        """Evaluate at a point: numbers, arrays or polynomials, one entry a variable."""
        return sum(
            (
                value * prod((x**e for x, e in zip(point, exponents, strict=True) if e), start=1)
                for exponents, value in self.terms.items()
            ),
            0,
        )

    def coefficient(self, exponents: Exponents) -> Fraction:
        """Give one coefficient, zero where the term is absent."""
        return self.terms.get(exponents, Fraction(0))

    def derivative(self, index: int) -> RationalPolynomial:
        """Differentiate along one variable."""
        lowered = {
            (*e[:index], e[index] - 1, *e[index + 1 :]): value * e[index]
            for e, value in self.terms.items()
            if e[index]
        }
        return RationalPolynomial(self.dim, lowered)

    def gradient(self) -> tuple[RationalPolynomial, ...]:
        """Give all first derivatives."""
        return tuple(self.derivative(i) for i in range(self.dim))

    def parts(self, degrees: Iterable[int]) -> RationalPolynomial:
        """Keep only the homogeneous parts of the given degrees."""
        kept = set(degrees)
        return RationalPolynomial(self.dim, {e: v for e, v in self.terms.items() if sum(e) in kept})

    def substitute(self, rows: Sequence[Sequence[int | Fraction]]) -> RationalPolynomial:
        """Substitute linear forms: ``x_i = sum_j rows[i][j] y_j`` (nested Horner scheme).

        Parameters
        ----------
        rows
            One linear form for each old variable, all in the same new variables.

        Examples
        --------
        >>> print(RationalPolynomial(2, {(1, 1): Fraction(1)}).substitute([[1, 1], [1, -1]]))
        z1^2 - z2^2
        """
        dim = len(rows[0]) if rows else 0
        scale = lcm(1, *(Fraction(x).denominator for row in rows for x in row))
        forms = [
            [(1 << BITS * j, int(Fraction(x) * scale)) for j, x in enumerate(row) if x]
            for row in rows
        ]
        degree = self.degree
        common = lcm(1, *(value.denominator for value in self.terms.values()))
        # y = x/scale in every form: a term of degree k is short of scale^(degree-k)
        integers = {
            e: v.numerator * (common // v.denominator) * scale ** (degree - sum(e))
            for e, v in self.terms.items()
        }
        return _unpack(_horner(integers, 0, forms), common * scale**degree, dim)

    def symbol(self) -> RationalPolynomial:
        r"""Give the Hermite symbol: coefficients ``c_a x^a`` where ``h = sum_a c_a He_a``.

        .. math:: \hat h(x) = E[h(x + z)] = (e^{\Delta/2} h)(x), \qquad z \sim N(0, I)

        Derived here; the identity is classical.

        Examples
        --------
        >>> print(RationalPolynomial(1, {(3,): Fraction(1)}).symbol())
        3*z1 + z1^3
        """
        return self._heat(1)

    def from_symbol(self) -> RationalPolynomial:
        """Give the polynomial whose Hermite symbol this is: the inverse of `symbol`."""
        return self._heat(-1)

    def hermite_coefficients(self) -> dict[Exponents, Fraction]:
        """Give the coefficients over unnormalised probabilists' Hermite products."""
        return dict(self.symbol().terms)

    def _heat(self, sign: int) -> RationalPolynomial:
        packed, scale = _pack(self.terms)
        mask = (1 << BITS) - 1
        for i in range(self.dim):
            smeared: dict[int, int] = {}
            for key, value in packed.items():
                e = key >> BITS * i & mask
                for j in range(e // 2 + 1):
                    weight = factorial(e) // (2**j * factorial(j) * factorial(e - 2 * j))
                    lower = key - (2 * j << BITS * i)
                    smeared[lower] = smeared.get(lower, 0) + sign**j * weight * value
            packed = smeared
        return _unpack(packed, scale, self.dim)

    def fock_norm(self, squares: Sequence[int | Fraction] | None = None) -> Fraction:
        """Give ``sum_a a! c_a^2``: for a Hermite symbol, E[h^2] under the Gaussian.

        Parameters
        ----------
        squares
            Squared lengths of the orthogonal basis that the variables are coordinates of;
            ones if not given.
        """
        squares = [1] * self.dim if squares is None else squares
        total = Fraction(0)
        for exponents, value in self.terms.items():
            length = prod((g**e for g, e in zip(squares, exponents, strict=True) if e), start=1)
            total += value * value * prod(map(factorial, exponents)) / length
        return total

    def second_moment(self) -> Fraction:
        """Give E[h(z)^2] for standard Gaussian z.

        Examples
        --------
        >>> RationalPolynomial(1, {(2,): Fraction(1)}).second_moment()
        Fraction(3, 1)
        """
        return self.symbol().fock_norm()

    def text(self, name: str = "z") -> str:
        """Write the polynomial so that it can be read again, lowest degree first."""
        if not self.terms:
            return "0"
        pieces: list[str] = []
        for exponents in sorted(self.terms, key=lambda e: (sum(e), [-x for x in e])):
            value = self.terms[exponents]
            factors = [
                f"{name}{i + 1}" + (f"^{e}" if e > 1 else "") for i, e in enumerate(exponents) if e
            ]
            if abs(value) != 1 or not factors:
                factors.insert(0, str(abs(value)))
            sign = ("-" if value < 0 else "") if not pieces else (" - " if value < 0 else " + ")
            pieces.append(sign + "*".join(factors))
        return "".join(pieces)


def _pack(terms: Mapping[Exponents, Fraction]) -> tuple[dict[int, int], int]:
    """Give the terms with packed exponents and integer values, and their denominator."""
    scale = lcm(1, *(value.denominator for value in terms.values()))
    packed: dict[int, int] = {}
    for exponents, value in terms.items():
        key = 0
        for e in reversed(exponents):
            key = key << BITS | e
        packed[key] = value.numerator * (scale // value.denominator)
    return packed, scale


def _unpack(packed: Mapping[int, int], scale: int, dim: int) -> RationalPolynomial:
    mask = (1 << BITS) - 1
    shifts = [BITS * i for i in range(dim)]
    terms = {
        tuple([key >> shift & mask for shift in shifts]): Fraction(value, scale)
        for key, value in packed.items()
        if value
    }
    return RationalPolynomial(dim, terms)


def _horner(
    terms: Mapping[Exponents, int], start: int, forms: Sequence[Sequence[tuple[int, int]]]
) -> dict[int, int]:
    """Substitute linear forms into ``c + sum_i x_i q_i(x_i, x_{i+1}, ...)``, recursively."""
    result: dict[int, int] = {}
    groups: dict[int, dict[Exponents, int]] = {}
    for exponents, value in terms.items():
        lead = next((i for i in range(start, len(exponents)) if exponents[i]), None)
        if lead is None:
            result[0] = value
        else:
            lowered = (*exponents[:lead], exponents[lead] - 1, *exponents[lead + 1 :])
            groups.setdefault(lead, {})[lowered] = value
    for lead, group in groups.items():
        inner = _horner(group, lead, forms)
        for step, weight in forms[lead]:
            for key, value in inner.items():
                key_up = key + step
                result[key_up] = result.get(key_up, 0) + weight * value
    return result
