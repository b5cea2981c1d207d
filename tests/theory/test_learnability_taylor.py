"""Assumption 4.1: the series, the paper's recursion, the differential equation, the identities."""

import random
from fractions import Fraction
from itertools import product
from math import factorial, prod

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy import integrate

from polynomial_cases import CASES, random_polynomial
from twolayer.activations.facts import FACTS, facts_of
from twolayer.language import parse_polynomial
from twolayer.numerics.rational import RationalPolynomial
from twolayer.theory.learnability import certify
from twolayer.theory.learnability.condition import decide_condition
from twolayer.theory.learnability.taylor import taylor_orders


def moment(power: int) -> int:
    return 0 if power % 2 else prod(range(1, power, 2))


def mean(h: RationalPolynomial) -> Fraction:
    return sum((v * prod(map(moment, e)) for e, v in h.terms.items()), Fraction(0))


def compositions(total: int, parts: int):
    if parts == 0:
        if total == 0:
            yield ()
        return
    for first in range(1, total - parts + 2):
        for rest in compositions(total - first, parts - 1):
            yield (first, *rest)


def paper_recursion(h: RationalPolynomial, m, count: int) -> list[list[Fraction]]:
    """(C.9) and (C.10) letter by letter: sums over compositions, expectations of products."""
    z = [RationalPolynomial.variable(h.dim, i) for i in range(h.dim)]
    columns: list[list[Fraction]] = []
    for j in range(1, count + 1):
        column = [m[1] * mean(zi * h) if j == 1 else Fraction(0) for zi in z]
        for length in range(1, j):
            for parts in compositions(j - 1, length):
                product_ = h
                for part in parts:
                    product_ = product_ * sum(
                        (q * zi for q, zi in zip(columns[part - 1], z, strict=True)), 0 * h
                    )
                for i, zi in enumerate(z):
                    column[i] += m[length + 1] / factorial(length) * mean(zi * product_)
        columns.append([entry / j for entry in column])
    return columns


@pytest.mark.parametrize("activation", ["cos_sin", "tanh", "softplus", "(1+x)^3"])
def test_series_is_the_papers_recursion(activation):
    """The truncated-series recursion equals (C.9) exactly, coefficient by coefficient."""
    rng = random.Random(activation)
    derivatives = facts_of(activation).derivatives
    for _ in range(5):
        h = random_polynomial(rng, 2, 3) + RationalPolynomial.variable(2, 0) + 1
        found = taylor_orders(h.symbol(), (1, 1), derivatives, 6).columns
        expected = paper_recursion(h, derivatives(8), len(found))
        assert [list(column) for column in found] == expected


def test_series_in_an_orthogonal_basis():
    """In coordinates of vectors of any length the same weights result."""
    h = parse_polynomial("z1 + z1*z2 + 2*z2*z3 + z1^2*z3")
    basis = ((1, 2, 2), (2, 1, -2), (2, -2, 1))
    rows = list(zip(*basis, strict=True))
    derivatives = FACTS["cos_sin"].derivatives
    plain = taylor_orders(h.symbol(), (1, 1, 1), derivatives, 8)
    other = taylor_orders(h.symbol().substitute(rows), (9, 9, 9), derivatives, 8)
    assert plain.orders == other.orders
    for a, b in zip(plain.columns, other.columns, strict=True):
        assert [sum(x * y for x, y in zip(row, b, strict=True)) for row in rows] == list(a)


@pytest.mark.parametrize("text", ["z1 + z1*z2", "z1 + He2(z1)*z2", "z1 + z1*z2 + z1*z2*z3"])
@pytest.mark.parametrize("name", ["cos_sin", "tanh"])
def test_series_solves_the_differential_equation(text, name):
    """At t = 0.05 the series agrees with SciPy's integration of E[z h sigma'(w z)]."""
    h = parse_polynomial(text)
    nodes, weights = hermegauss(24)
    grid = np.stack(np.meshgrid(*[nodes] * h.dim, indexing="ij"), -1).reshape(-1, h.dim)
    mass = prod(np.meshgrid(*[weights] * h.dim, indexing="ij")).reshape(-1)
    mass = mass / mass.sum()
    values = np.array(h([column.astype(object) for column in grid.T]), dtype=float)
    slope = {
        "cos_sin": lambda u: np.cos(u) - np.sin(u),
        "tanh": lambda u: 1 / np.cosh(u) ** 2,
    }[name]

    def velocity(_, w):
        return grid.T @ (mass * values * slope(grid @ w))

    found = integrate.solve_ivp(velocity, (0, 0.05), np.zeros(h.dim), rtol=1e-11, atol=1e-13)
    expected = paper_recursion(h, FACTS[name].derivatives(10), 6)
    total = sum(np.array(q, dtype=float) * 0.05**j for j, q in enumerate(expected, start=1))
    np.testing.assert_allclose(found.y[:, -1], total, atol=3e-8)


def test_identities_by_exact_moments():
    """(I1) to (I5), (I7): the Hermite symbol gives means, inner products, conditional means."""
    rng = random.Random(2)
    for _ in range(8):
        h, g = random_polynomial(rng, 2, 4), random_polynomial(rng, 2, 3)
        symbol, other = h.symbol(), g.symbol()
        z = [RationalPolynomial.variable(2, i) for i in range(2)]
        assert mean(h) == symbol([0, 0])
        inner = sum(
            v * other.coefficient(e) * prod(map(factorial, e)) for e, v in symbol.terms.items()
        )
        assert mean(h * g) == inner
        # W = e1, S = e2: conditional means are polynomials in z1
        conditional = RationalPolynomial(2, {
            (a, 0): sum(v * moment(e[1]) for e, v in h.terms.items() if e[0] == a)
            for a in range(5)
        })  # fmt: skip
        assert conditional.symbol() == symbol.substitute([[1, 0], [0, 0]])
        force = RationalPolynomial(2, {
            (a, 0): sum(v * moment(e[1] + 1) for e, v in h.terms.items() if e[0] == a)
            for a in range(5)
        })  # fmt: skip
        assert force.symbol() == symbol.derivative(1).substitute([[1, 0], [0, 0]])
        w = [Fraction(rng.randint(-3, 3), 2) for _ in range(2)]
        square, line = w[0] ** 2 + w[1] ** 2, w[0] * z[0] + w[1] * z[1]
        for k in range(6):
            expected = sum(
                Fraction(factorial(k), 2**j * factorial(j))
                * square**j
                * symbol.parts([k - 2 * j])(w)
                for j in range(k // 2 + 1)
            )
            assert mean(h * line**k) == expected
        shifted = h([z[0] + w[0], z[1] + w[1]])
        for i in range(2):
            assert mean(shifted * z[i]) == symbol.derivative(i)(w)


@pytest.mark.parametrize("name", ["tanh", "cos_sin"])
def test_hermite_form_of_the_force_by_quadrature(name):
    """(I6): E[h sigma(w z + s G)] = sum_D h_D(w) E[sigma(r G) He_D(G)] / r^D (scipy)."""
    h = parse_polynomial("z1 + z1*z2 + He3(z2) - 2")
    value = {"tanh": np.tanh, "cos_sin": lambda u: np.cos(u) + np.sin(u)}[name]
    w, s = np.array([0.4, -0.7]), 0.5
    r = float(np.sqrt(w @ w + s * s))
    nodes, weights = hermegauss(40)
    weights = weights / weights.sum()
    z1, z2, noise = np.meshgrid(nodes, nodes, nodes, indexing="ij")
    mass = weights[:, None, None] * weights[None, :, None] * weights[None, None, :]
    target = z1 + z1 * z2 + z2**3 - 3 * z2 - 2
    direct = np.sum(mass * target * value(w[0] * z1 + w[1] * z2 + s * noise))
    hermite = [np.ones_like, lambda g: g, lambda g: g**2 - 1, lambda g: g**3 - 3 * g]
    total = 0.0
    for D in range(4):
        scale, _ = integrate.quad(
            lambda g, D=D: value(r * g) * hermite[D](g) * np.exp(-g * g / 2) / np.sqrt(2 * np.pi),
            -12, 12,
        )  # fmt: skip
        part = h.symbol().parts([D])
        total += float(part([Fraction(4, 10), Fraction(-7, 10)])) * scale / r**D
    assert direct == pytest.approx(total, abs=1e-7)


def test_generic_staircases_hold_at_most_at_order_four():
    """Prop. D.1 of chen2024subspace with p = 3: orders (1,2,3) or (1,2,4), always s <= 4."""
    rng = random.Random(5)
    supports = [(1, 0, 0), (1, 1, 0), (1, 1, 1)]
    others = [e for e in product(range(2), repeat=3) if sum(e) > 1 and e not in supports]
    for _ in range(20):
        chosen = [*supports, *rng.sample(others, rng.randint(0, 2))]
        symbol = RationalPolynomial(3, {e: Fraction(rng.randint(1, 10**6), 7) for e in chosen})
        orders = certify(symbol.from_symbol()).condition.orders
        assert orders in {(1, 2, 3), (1, 2, 4)}


def test_gelu_orders_match_floating_kappa():
    """Rational values in kappa's place give the orders that the true kappa gives."""
    kappa = Fraction(1 / np.sqrt(2 * np.pi))  # a rational of 50 bits: generic
    gelu = FACTS["gelu"]
    for case in CASES:
        c = certify(case.text, activation="gelu")
        symbol = c.symbol
        if c.condition.holds:
            true = taylor_orders(
                symbol, (1,) * symbol.dim, lambda n: gelu.derivatives_at(n, kappa), 24
            )
            assert true.orders == c.condition.orders


def test_the_search_ends_where_it_is_told():
    """max_order bounds the search; short of the order the condition is undecided."""
    c = certify("z1 + z1*z2 + z1*z2*z3", max_order=3)
    assert (c.condition.holds, c.condition.searched, c.verdict) == (None, 3, "undecided")
    c = certify("z1 + z1*z2 + z1*z2*z3", max_order=4)
    assert c.condition.holds


def test_condition_can_be_asked_alone():
    """The decision needs only symbol, basis, facts and chain."""
    c = certify("z1 + z1*z2")
    again = decide_condition(c.symbol, c.essential, c.facts, c.chain)
    assert again == c.condition
