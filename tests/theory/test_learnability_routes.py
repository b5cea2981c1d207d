"""Independent routes to the same decisions agree on random polynomials."""

import random
from fractions import Fraction
from itertools import permutations

import pytest

from polynomial_cases import random_polynomial, rational_rotation
from twolayer.numerics.rational import RationalPolynomial, Span, orthogonal_basis
from twolayer.theory.learnability import certify, certify_function, verify
from twolayer.theory.learnability.chain import Frame, essential_basis, hidden_span, in_basis
from twolayer.theory.learnability.leap import closure_leap, isotropic_flag, leap


def population(count: int, seed: int) -> list[RationalPolynomial]:
    rng = random.Random(seed)
    return [
        random_polynomial(rng, rng.choice([1, 2, 3, 3]), rng.choice([2, 3])) for _ in range(count)
    ]


def brute_force_leap(symbol: RationalPolynomial) -> int:
    """The definition: the best of all orderings of the terms."""
    terms = [e for e in symbol.terms if any(e)]
    best = 10**6 if terms else 0
    for ordering in permutations(terms):
        seen: set[int] = set()
        worst = 0
        for exponents in ordering:
            worst = max(worst, sum(e for i, e in enumerate(exponents) if i not in seen))
            seen |= {i for i, e in enumerate(exponents) if e}
        best = min(best, worst)
    return best


def is_reflective(symbol: RationalPolynomial, hidden) -> bool:
    """Condition (3.2) for a given S: no term of degree one in S."""
    basis = orthogonal_basis([
        *hidden,
        *[tuple(int(i == j) for j in range(symbol.dim)) for i in range(symbol.dim)],
    ])
    ordered = (*basis[len(hidden) :], *basis[: len(hidden)])
    frame = Frame(ordered, symbol.dim - len(hidden))
    return hidden_span(in_basis(symbol, ordered), frame, 1).rank == 0


@pytest.mark.parametrize("seed", range(4))
def test_two_hundred_random_polynomials(seed):
    """Greedy = closure = rotated isotropic leap; greedy leap = brute force; leap <= isotropic."""
    rng = random.Random(100 + seed)
    for h in population(50, seed):
        c = certify(h)
        assert c.isotropic_leap == closure_leap(c.symbol, c.essential)
        assert leap(c.symbol) == brute_force_leap(c.symbol)
        assert c.leap <= c.isotropic_leap
        assert (c.isotropic_leap <= 1) == (c.chain.dims[-1] == c.essential_dim)
        rotated = certify(h, rotation=rational_rotation(h.dim, rng)) if h.dim > 1 else c
        assert rotated.leap <= c.isotropic_leap
        for name in ("isotropic_leap", "loss_floor", "verdict", "essential_dim"):
            assert getattr(rotated, name) == getattr(c, name)
        assert rotated.chain.dims == c.chain.dims
        assert rotated.condition.orders == c.condition.orders
        assert rotated.condition.holds == c.condition.holds
        assert verify(c)


@pytest.mark.parametrize("activation", ["cos_sin", "tanh", "softplus", "x + x^2", "x^2 + x^3"])
def test_the_conditions_imply_each_other(activation):
    """(3.2) => (3.1) => (3.5) => noise-free invariance => not 4.1: subspaces shrink in order."""
    for h in population(40, 7):
        c = certify(h, activation=activation)
        dims = [c.chain.dims[-1], c.network_chain.dims[-1], c.activation_chain.dims[-1]]
        reach = c.condition.reachable_dim
        assert dims[0] >= dims[1] >= dims[2] >= reach
        assert c.loss_floor <= c.network_loss_floor <= c.activation_loss_floor
        assert len(c.condition.orders) <= reach
        assert (c.condition.holds is False) == (reach < c.essential_dim)
        assert c.representability_floor <= c.total_floor <= c.initial_loss
        assert verify(c), verify(c).failures


def test_analytic_activations_lose_nothing_without_noise():
    """For cos + sin the noise-free chain is the (3.5) chain when the first step exists."""
    for h in population(60, 8):
        c = certify(h)
        assert c.condition.reachable_dim == c.activation_chain.dims[-1]
        assert (c.isotropic_leap <= 1) == (c.condition.holds is True)


def test_random_reflective_subspaces_lie_in_the_largest():
    """Any S that satisfies (3.2) is inside the one that was found; its floor is no larger."""
    found = 0
    rng = random.Random(9)
    for h in population(80, 9):
        c = certify(h)
        hidden = c.chain.frame.hidden_basis
        assert is_reflective(c.symbol, hidden)
        if c.essential_dim < h.dim:
            continue
        largest = Span(h.dim, hidden)
        directions = [tuple(rng.randint(-1, 1) for _ in range(h.dim)) for _ in range(6)]
        for direction in filter(any, directions):
            if is_reflective(c.symbol, [direction]):
                found += 1
                assert not Span(h.dim, largest.basis()).add(direction)
    assert found > 5


def test_the_chain_is_the_span_of_sampled_gradients():
    """W_(k+1) = W_k + gradients at random points of W_k, evaluated directly."""
    rng = random.Random(10)
    for h in population(30, 10):
        c = certify(h)
        gradient = c.symbol.gradient()
        span, dims = Span(h.dim), [0]
        while True:
            grown = Span(h.dim, span.basis())
            for _ in range(25):
                w = [Fraction(0)] * h.dim
                for vector in span.basis():
                    weight = rng.randint(-50, 50)
                    w = [x + weight * y for x, y in zip(w, vector, strict=True)]
                grown.add([Fraction(g(w)) for g in gradient])
            if grown.rank == span.rank:
                break
            span = grown
            dims.append(span.rank)
        assert tuple(dims) == c.chain.dims


def test_the_isotropic_leap_of_a_chain_continues_it():
    """The flag begins with the chain and ends with the essential subspace."""
    for h in population(30, 11):
        c = certify(h)
        flag = isotropic_flag(c.symbol, c.chain)
        assert flag.dims[: len(c.chain.dims)] == c.chain.dims
        assert flag.dims[-1] == c.essential_dim == len(essential_basis(c.symbol))


@pytest.mark.parametrize("activation", ["cos_sin", "tanh", "relu", "gelu"])
def test_floating_point_agrees(activation):
    """The black-box version gives the same dimensions, floors, orders and verdict."""
    for h in population(50, 12):
        c = certify(h, activation=activation)
        n = certify_function(
            lambda z, h=h: h(list(z.T)) + 0 * z[:, 0],
            dim=h.dim,
            degree=h.degree,
            activation=activation,
        )
        assert not n.close_calls
        assert n.chain_dims == c.chain.dims
        assert n.activation_chain_dims == c.activation_chain.dims
        assert (n.leap, n.isotropic_leap) == (c.leap, c.isotropic_leap)
        assert n.loss_floor == pytest.approx(float(c.loss_floor), abs=1e-9)
        assert n.activation_loss_floor == pytest.approx(float(c.activation_loss_floor), abs=1e-9)
        assert n.expressivity_floor == pytest.approx(float(c.expressivity_floor), abs=1e-9)
        assert n.condition_holds == c.condition.holds
        assert n.orders == c.condition.orders
        assert n.verdict == c.verdict
