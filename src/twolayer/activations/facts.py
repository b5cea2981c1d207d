r"""What is known exactly of an activation: parities, Taylor coefficients, bounds. No JAX.

The certificates depend on an activation through these facts only. Its even and odd part decide
which Hermite degrees a network without biases can represent at all: with G ~ N(0, 1),

.. math:: E[\sigma(sG) He_D(G)] = 0 \text{ for all } s > 0
          \iff \text{the part of } \sigma \text{ of D's parity is a polynomial of degree} < D

(derived here: the heat flow of that part keeps its parity, so a vanishing D-th derivative at 0
for all times makes the D-th derivative vanish everywhere).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import comb, factorial, inf, pi, sqrt

from twolayer.language import PolynomialSyntaxError, parse_polynomial
from twolayer.numerics.rational import RationalPolynomial

Derivatives = Callable[[int], tuple[Fraction, ...]]


@dataclass(frozen=True)
class Facts:
    """What is exactly known of an activation.

    Attributes
    ----------
    name
        Its name in the catalogue, or the text of a polynomial.
    even_degree, odd_degree
        Degree of its even and odd part: -1 where the part is absent, infinity where it is not
        a polynomial.
    derivatives
        The derivatives at zero ``m_0..m_n`` up to one common positive factor (which only
        rescales time in condition 4.1); ``None`` where they do not exist or are not rational.
        ``m_0`` never enters the conditions and is 0 where it is irrational.
    derivatives_at
        Where the derivatives are polynomials in one transcendental number kappa: the same for a
        rational value put in kappa's place. Ranks over Q(kappa) follow from such values.
    derivative_bound
        A bound of the absolute values of the activation and of its first two derivatives;
        infinity if one is unbounded or undefined somewhere.
    smooth
        Whether all derivatives exist and those of order one and more are bounded.
    polynomial
        The activation itself where it is a polynomial.
    """

    name: str
    even_degree: float
    odd_degree: float
    derivatives: Derivatives | None
    derivative_bound: float
    smooth: bool
    derivatives_at: Callable[[int, Fraction], tuple[Fraction, ...]] | None = None
    polynomial: RationalPolynomial | None = None

    @property
    def degree(self) -> float:
        """The degree: -1 for zero, infinity where it is not a polynomial."""
        return max(self.even_degree, self.odd_degree)

    @property
    def differentiable(self) -> bool:
        """Whether all derivatives at zero exist."""
        return self.derivatives is not None or self.derivatives_at is not None

    def sees(self, degree: int) -> bool:
        """Tell whether a network without biases can have Hermite components of this degree.

        Derived here: see the module's introduction. The degrees seen are the set D35 on which
        the reflective condition (3.5) of chen2024subspace acts.

        Examples
        --------
        >>> [D for D in range(6) if FACTS["relu"].sees(D)]
        [0, 1, 2, 4]
        """
        return degree <= (self.odd_degree if degree % 2 else self.even_degree)

    def sees_with_bias(self, degree: int) -> bool:
        """Tell the same with biases: the degrees on which condition (3.1) acts (derived here)."""
        return degree <= self.degree


def _tangent_derivatives(order: int) -> tuple[Fraction, ...]:
    """Give the derivatives of tanh at 0, from y' = 1 - y^2 and Leibniz' rule."""
    m = [Fraction(0), Fraction(1)]
    for k in range(1, order):
        m.append(Fraction(-sum(comb(k, i) * m[i] * m[k - i] for i in range(k + 1))))
    return tuple(m[: order + 1])


def _sigmoid_derivatives(order: int) -> tuple[Fraction, ...]:
    """Give those of the logistic function: sigmoid(x) = 1/2 + tanh(x/2)/2."""
    tangent = _tangent_derivatives(order)
    return tuple(Fraction(int(k == 0), 2) + m / 2 ** (k + 1) for k, m in enumerate(tangent))


def _softplus_derivatives(order: int) -> tuple[Fraction, ...]:
    """Give those of softplus, whose derivative is the logistic function; m_0 = log 2 put to 0."""
    return (Fraction(0), *_sigmoid_derivatives(order))[: order + 1]


def _double_factorial(n: int) -> int:
    return n * _double_factorial(n - 2) if n > 1 else 1


def _erf_derivatives(order: int) -> tuple[Fraction, ...]:
    """Give those of erf over their common factor 2/sqrt(pi)."""
    return tuple(
        Fraction((-2) ** ((k - 1) // 2) * _double_factorial(k - 2)) if k % 2 else Fraction(0)
        for k in range(order + 1)
    )


def _gelu_derivatives(order: int, kappa: Fraction) -> tuple[Fraction, ...]:
    """Give those of x Phi(x), whose even ones are multiples of kappa = 1/sqrt(2 pi)."""
    m = [Fraction(0), Fraction(1, 2)]
    for k in range(2, order + 1):
        sign = (-1) ** ((k - 2) // 2)
        m.append(kappa * k * sign * _double_factorial(k - 3) if k % 2 == 0 else Fraction(0))
    return tuple(m[: order + 1])


def _periodic(*cycle: int) -> Derivatives:
    """Give the derivatives at 0 of a combination of sine and cosine."""
    return lambda order: tuple(Fraction(cycle[k % 4]) for k in range(order + 1))


FACTS: dict[str, Facts] = {
    facts.name: facts
    for facts in (
        # x_+ = x/2 + |x|/2
        Facts("relu", inf, 1, None, inf, False),
        Facts("abs", inf, -1, None, inf, False),
        Facts("erf", -1, inf, _erf_derivatives, 2 / sqrt(pi), True),
        Facts("tanh", -1, inf, _tangent_derivatives, 1.0, True),
        # even part: the constant 1/2
        Facts("sigmoid", 0, inf, _sigmoid_derivatives, 1.0, True),
        # odd parts of softplus and gelu: x/2
        Facts("softplus", inf, 1, _softplus_derivatives, inf, True),
        Facts("gelu", inf, 1, None, inf, True, derivatives_at=_gelu_derivatives),
        Facts("cos_sin", inf, inf, _periodic(1, 1, -1, -1), sqrt(2), True),
        Facts("sin", -1, inf, _periodic(0, 1, 0, -1), 1.0, True),
        Facts("cos", inf, -1, _periodic(1, 0, -1, 0), 1.0, True),
    )
}


def polynomial_facts(polynomial: RationalPolynomial, name: str | None = None) -> Facts:
    """Give the facts of a polynomial activation.

    Raises
    ------
    ValueError
        If the polynomial has more than one variable.

    Examples
    --------
    >>> polynomial_facts(parse_polynomial("x + x^2", variable="x")).derivatives(3)
    (Fraction(0, 1), Fraction(1, 1), Fraction(2, 1), Fraction(0, 1))
    """
    if polynomial.dim != 1:
        message = f"Expected an activation of one variable, received {polynomial.dim} variables."
        raise ValueError(message)
    degrees = [exponents[0] for exponents in polynomial.terms]
    degree = max(degrees, default=-1)

    def derivatives(order: int) -> tuple[Fraction, ...]:
        return tuple(polynomial.coefficient((k,)) * factorial(k) for k in range(order + 1))

    return Facts(
        name=name or polynomial.text("x").replace("x1", "x"),
        even_degree=max((d for d in degrees if d % 2 == 0), default=-1),
        odd_degree=max((d for d in degrees if d % 2), default=-1),
        derivatives=derivatives,
        derivative_bound=inf if degree > 0 else abs(float(polynomial.coefficient((0,)))),
        smooth=degree <= 1,
        polynomial=polynomial,
    )


def facts_of(activation: str) -> Facts:
    """Give the facts of an activation by name, or of a polynomial in x such as ``"(1+x)^3"``.

    Raises
    ------
    ValueError
        If the text is neither; the message names the nearest activation and lists them all.

    Examples
    --------
    >>> facts_of("(1+x)^3").degree
    3
    """
    activation = activation.strip()
    known = FACTS.get(activation)
    if known is not None:
        return known
    # a bare word is a misspelt name; anything else is meant as a polynomial
    if activation.isidentifier() and activation != "x":
        near = difflib.get_close_matches(activation[:40].lower(), FACTS, n=1, cutoff=0.5)
        guess = f' Did you mean "{near[0]}"?' if near else ""
        message = (
            f'The activation "{activation[:40]}" is unknown.{guess} '
            f'Choose one of {", ".join(FACTS)}, or write a polynomial in x such as "(1+x)^3".'
        )
        raise ValueError(message)
    try:
        polynomial = parse_polynomial(activation, variable="x")
    except PolynomialSyntaxError as error:
        message = (
            f"The activation is neither a polynomial in x nor one of {', '.join(FACTS)}. {error}"
        )
        raise ValueError(message) from error
    if any(abs(coefficient) > 10**308 for coefficient in polynomial.terms.values()):
        message = f'The coefficients of the activation "{activation[:40]}" exceed 1e308: scale it.'
        raise ValueError(message)
    return polynomial_facts(polynomial, activation)
