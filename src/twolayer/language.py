"""The polynomial language: text such as ``"z1 + 3/2*z1*He2(z2)"`` read into an exact polynomial.

Grammar (nothing is ever evaluated as code)::

    sum     = product (("+" | "-") product)*
    product = signed (("*" | "/") signed)*
    signed  = ("+" | "-")* power
    power   = atom (("^" | "**") signed)?
    atom    = number | variable | "He" digits "(" sum ")" | "(" sum ")"

``He3(...)`` is the unnormalised probabilists' Hermite polynomial: He2(z) = z^2 - 1. Division is by
nonzero constants only, an exponent is a constant integer. The limits below keep every text, good
or bad, well under a second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn

from twolayer.numerics.rational import RationalPolynomial

MAX_LENGTH = 100_000  # characters
MAX_VARIABLES = 30
MAX_DEGREE = 30
MAX_TERMS = 5_000
MAX_DIGITS = 300  # of one number in the text
MAX_BITS = 8_192  # of a numerator or denominator
MAX_DEPTH = 50  # of nested parentheses and powers
MAX_WORK = 400_000  # products of two terms, over the whole text

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<operator>\*\*|[-+*/^()])"
    r"|(?P<space>[ \t\r\n]+)",
    re.ASCII,
)


class PolynomialSyntaxError(ValueError):
    """A text that is not a polynomial of the language; the message marks the place.

    Attributes
    ----------
    problem
        One sentence: what is wrong.
    position
        Index of the character where it is wrong.
    hint
        What to do about it.
    """

    def __init__(self, problem: str, text: str, position: int, hint: str) -> None:
        self.problem = problem
        self.position = position
        self.hint = hint
        start, stop = max(0, position - 40), position + 40
        excerpt = "".join(c if " " <= c <= "~" else "?" for c in text[start:stop])
        left, right = "..." if start else "", "..." if stop < len(text) else ""
        caret = " " * (len(left) + position - start) + "^"
        super().__init__(f"{problem}\n  {left}{excerpt}{right}\n  {caret}\n{hint}")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def parse_polynomial(text: str, *, variable: str | None = None) -> RationalPolynomial:
    """Read a polynomial.

    Parameters
    ----------
    text
        The polynomial, in ``z1, z2, ...`` or in `variable`.
    variable
        The name of the single variable, e.g. ``"x"`` for an activation; by default the
        variables are ``z1, z2, ...`` and the largest index gives the dimension.

    Raises
    ------
    PolynomialSyntaxError
        If the text is not a polynomial, or larger than the limits of this module.

    Examples
    --------
    >>> print(parse_polynomial("z1 + 3/2*He2(z2)"))
    -3/2 + z1 + 3/2*z2^2
    >>> print(parse_polynomial("(1 + x)^2", variable="x").text("x"))
    1 + 2*x1 + x1^2
    """
    if len(text) > MAX_LENGTH:
        problem = f"The text has {len(text)} characters; at most {MAX_LENGTH} are read."
        raise PolynomialSyntaxError(problem, text, MAX_LENGTH, "Write a shorter polynomial.")
    return _Parser(text, variable).parse()


class _Parser:
    """Recursive descent over the tokens; every method returns an exact polynomial."""

    def __init__(self, text: str, variable: str | None) -> None:
        self.text = text
        self.variable = variable
        self.tokens = self._tokenize()
        self.index = 0
        self.depth = 0
        self.work = 0
        indices = [self._variable_index(token) for token in self.tokens if token.kind == "name"]
        self.dim = 1 if variable else max((i for i in indices if i is not None), default=1)

    def parse(self) -> RationalPolynomial:
        if self.token.kind == "end":
            self._fail("The polynomial is empty.", self.token, self._example())
        result = self._sum()
        if self.token.kind != "end":
            self._unexpected()
        return result

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def _example(self) -> str:
        name = self.variable or "z1"
        return f'Write a polynomial such as "{name} + 1/2*{name}^2".'

    def _fail(self, problem: str, token: _Token, hint: str) -> NoReturn:
        raise PolynomialSyntaxError(problem, self.text, token.position, hint)

    def _tokenize(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            if match is None:
                character = self.text[position]
                shown = character if " " <= character <= "~" else f"U+{ord(character):04X}"
                self._fail(
                    f"The character {shown} is not part of the polynomial language.",
                    _Token("", "", position),
                    f"Use {self._names()}, numbers, + - * / ^ and parentheses, in plain ASCII.",
                )
            if match.lastgroup != "space":
                tokens.append(_Token(str(match.lastgroup), match.group(), position))
            position = match.end()
        tokens.append(_Token("end", "", len(self.text)))
        return tokens

    def _names(self) -> str:
        return self.variable or "z1, z2, ..."

    def _variable_index(self, token: _Token) -> int | None:
        """Give the index of a variable from 1, ``None`` for a Hermite polynomial."""
        name = token.text
        if re.fullmatch(r"He\d+", name):
            return None
        if self.variable:
            if name == self.variable:
                return 1
            self._fail(
                f'The name "{name[:40]}" is unknown.',
                token,
                f"The only variable here is {self.variable}; Hermite polynomials are He2(...).",
            )
        if re.fullmatch(r"z0+", name):
            self._fail("There is no z0.", token, "Variables are counted from z1.")
        if not re.fullmatch(r"z[1-9]\d*", name):
            products = re.fullmatch(r"(z[1-9]\d*)+", name)
            hint = (
                f"Write a product with a star: {'*'.join(re.findall(r'z[0-9]+', name)[:4])}."
                if products
                else "Variables are z1, z2, ...; Hermite polynomials are He2(z1)."
            )
            self._fail(f'The name "{name[:40]}" is unknown.', token, hint)
        if len(name) > 6 or int(name[1:]) > MAX_VARIABLES:
            self._fail(
                f"The variable {name[:12]} is beyond z{MAX_VARIABLES}.",
                token,
                f"Number the variables from z1; at most {MAX_VARIABLES} are supported.",
            )
        return int(name[1:])

    def _unexpected(self) -> NoReturn:
        token = self.token
        if token.kind == "end":
            self._fail(
                "The polynomial ends too early.",
                token,
                "Add the missing number, variable or closing parenthesis.",
            )
        if token.text == ")":
            self._fail(
                "This closing parenthesis has no partner.",
                token,
                "Remove it, or open a parenthesis before it.",
            )
        if token.kind in {"number", "name"} or token.text == "(":
            self._fail(
                "Two factors stand side by side without an operator.",
                token,
                "Multiplication is written with a star: 2*z1, z1*(1 + z2).",
            )
        self._fail(
            f'The operator "{token.text}" has nothing to act on.',
            token,
            "Put a number, a variable or a parenthesis before it.",
        )

    def _enter(self, token: _Token) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._fail(
                f"Parentheses and powers are nested more than {MAX_DEPTH} deep.",
                token,
                "Expand the inner ones.",
            )

    def _checked(self, value: RationalPolynomial, token: _Token) -> RationalPolynomial:
        if len(value.terms) > MAX_TERMS:
            self._fail(
                f"The polynomial expands to more than {MAX_TERMS} terms.",
                token,
                "Use fewer variables or a lower degree.",
            )
        for c in value.terms.values():
            if max(c.numerator.bit_length(), c.denominator.bit_length()) > MAX_BITS:
                self._fail(
                    f"A coefficient grows beyond {MAX_BITS} bits.", token, "Use smaller numbers."
                )
        return value

    def _charge(self, amount: int, token: _Token) -> None:
        self.work += amount
        if self.work > MAX_WORK:
            self._fail(
                "Multiplying this out would take too long.",
                token,
                "Use fewer variables, a lower degree or fewer products of sums.",
            )

    def _sum(self) -> RationalPolynomial:
        total = dict(self._product().terms)
        while self.token.text in {"+", "-"}:
            operator = self._next()
            sign = -1 if operator.text == "-" else 1
            for exponents, value in self._product().terms.items():
                entry = total.get(exponents, Fraction(0)) + sign * value
                if entry.denominator.bit_length() > MAX_BITS:
                    self._fail(
                        f"A coefficient grows beyond {MAX_BITS} bits.",
                        operator,
                        "Use fractions with simpler denominators.",
                    )
                total[exponents] = entry
                self._charge(1, operator)
        return self._checked(RationalPolynomial(self.dim, total), self.token)

    def _next(self) -> _Token:
        token = self.token
        self.index += 1
        return token

    def _product(self) -> RationalPolynomial:
        result = self._signed()
        while self.token.text in {"*", "/"}:
            operator = self._next()
            position = self.token
            factor = self._signed()
            if operator.text == "*":
                result = self._multiply(result, factor, operator)
                continue
            if factor.degree > 0:
                self._fail(
                    "Division by a variable does not give a polynomial.",
                    position,
                    "Divide by nonzero numbers only.",
                )
            divisor = factor.coefficient((0,) * self.dim)
            if not divisor:
                self._fail("Division by zero.", position, "Divide by nonzero numbers only.")
            result = self._checked(result / divisor, operator)
        return result

    def _multiply(
        self, left: RationalPolynomial, right: RationalPolynomial, token: _Token
    ) -> RationalPolynomial:
        self._check_degree(left.degree + right.degree, token)
        self._charge(len(left.terms) * len(right.terms), token)
        return self._checked(left * right, token)

    def _check_degree(self, degree: int, token: _Token) -> None:
        if degree > MAX_DEGREE:
            self._fail(
                f"The degree exceeds {MAX_DEGREE}.",
                token,
                f"Polynomials up to degree {MAX_DEGREE} are supported.",
            )

    def _signed(self) -> RationalPolynomial:
        sign = 1
        while self.token.text in {"+", "-"}:
            sign = -sign if self._next().text == "-" else sign
        value = self._power()
        return value if sign == 1 else -value

    def _power(self) -> RationalPolynomial:
        base = self._atom()
        if self.token.text not in {"^", "**"}:
            return base
        operator = self._next()
        position = self.token
        self._enter(operator)
        exponent = self._signed()
        self.depth -= 1
        value = exponent.coefficient((0,) * self.dim)
        if exponent.degree > 0 or value.denominator != 1 or value < 0:
            self._fail(
                "An exponent must be a nonnegative integer.",
                position,
                "Write powers such as z1^2; divide by numbers with /.",
            )
        if value > MAX_DEGREE:
            self._fail(
                f"The exponent exceeds {MAX_DEGREE}.",
                position,
                f"Polynomials up to degree {MAX_DEGREE} are supported.",
            )
        self._check_degree(base.degree * int(value), position)
        power = RationalPolynomial.constant(self.dim, 1)
        for _ in range(int(value)):
            power = self._multiply(power, base, operator)
        return power

    def _atom(self) -> RationalPolynomial:
        token = self.token
        if token.kind == "number":
            self._next()
            return RationalPolynomial.constant(self.dim, self._number(token))
        if token.kind == "name":
            self._next()
            index = self._variable_index(token)
            if index is not None:
                return RationalPolynomial.variable(self.dim, index - 1)
            return self._hermite(token)
        if token.text != "(":
            self._unexpected()
        return self._parenthesis()

    def _parenthesis(self) -> RationalPolynomial:
        opening = self._next()
        self._enter(opening)
        value = self._sum()
        self.depth -= 1
        if self.token.kind == "end":
            self._fail("This parenthesis is never closed.", opening, 'Add the missing ")".')
        if self.token.text != ")":
            self._unexpected()
        self._next()
        return value

    def _number(self, token: _Token) -> Fraction:
        mantissa, _, exponent = token.text.lower().partition("e")
        if len(mantissa) > MAX_DIGITS or len(exponent) > 4 or abs(int(exponent or 0)) > MAX_DIGITS:
            self._fail(
                f"This number needs more than {MAX_DIGITS} digits.", token, "Use a shorter number."
            )
        return Fraction(token.text)

    def _hermite(self, token: _Token) -> RationalPolynomial:
        digits = token.text[2:]
        if len(digits) > 4 or int(digits) > MAX_DEGREE:
            self._fail(
                f"The degree of {token.text[:12]} exceeds {MAX_DEGREE}.",
                token,
                f"Hermite polynomials up to He{MAX_DEGREE} are supported.",
            )
        if self.token.text != "(":
            self._fail(
                f"{token.text} needs an argument in parentheses.",
                self.token,
                f"Write {token.text}({self.variable or 'z1'}).",
            )
        argument = self._parenthesis()
        order = int(digits)
        self._check_degree(argument.degree * order, token)
        before, value = 0 * argument, RationalPolynomial.constant(self.dim, 1)
        for k in range(order):
            before, value = value, self._multiply(argument, value, token) - k * before
        return self._checked(value, token)
