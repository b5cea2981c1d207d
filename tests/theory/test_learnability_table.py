"""The decision table: every row and extra, exactly."""

import random
import time
from fractions import Fraction
from types import SimpleNamespace

import pytest

from helpers import cpu_unit
from polynomial_cases import (
    CASES,
    HALF,
    dense_polynomial,
    embed,
    rational_rotation,
    staircase,
)
from twolayer.activations.facts import FACTS, Facts
from twolayer.language import parse_polynomial
from twolayer.numerics.rational import RationalPolynomial, Span
from twolayer.theory.learnability import certify, verify

by_text = pytest.mark.parametrize("case", CASES, ids=[case.text for case in CASES])


def r7_target() -> RationalPolynomial:
    """The target whose Taylor series stays in a plane although no subspace is reflective."""
    x1, x2, x3 = (RationalPolynomial.variable(3, i) for i in range(3))
    norm = x1**2 + x2**2 + x3**2
    symbol = x1 + 2 * x1 * x2 + x2 * x3 - Fraction(2, 3) * x1**3 - x1**2 * x3 - x1 * norm / 2
    return symbol.from_symbol()


@by_text
def test_rows(case):
    """Leap, isotropic leap, chain, reflective subspace, losses and orders of each target."""
    c = certify(case.text)
    assert c.leap == case.leap
    assert c.isotropic_leap == case.isotropic_leap
    assert c.chain.dims == case.chain_dims
    hidden = c.chain.frame.hidden_basis
    assert Span(c.target.dim, hidden).basis() == Span(c.target.dim, case.reflective).basis()
    assert c.initial_loss == case.initial_loss
    assert c.loss_floor == case.floor == c.activation_loss_floor
    assert c.expressivity_floor == 0
    assert c.condition.holds == (case.orders is not None)
    if case.orders is not None:
        assert c.condition.orders == case.orders
        assert c.condition.order == case.orders[-1]
    assert c.verdict == ("learnable" if case.floor == 0 else "not_learnable")
    assert c.floor == (case.floor or None)
    assert verify(c)


@by_text
def test_rows_under_rotation(case):
    """Nothing that is free of the basis changes under rational rotations, in larger spaces too."""
    rng = random.Random(case.text)
    plain = certify(case.text)
    for dim in (max(2, plain.target.dim), 4):
        h = embed(plain.target, dim)
        for activation in ("cos_sin", "tanh", "relu", "(1+x)^2"):
            expected = certify(case.text, activation=activation)
            c = certify(h, activation=activation, rotation=rational_rotation(dim, rng))
            assert c.essential_dim == expected.essential_dim
            for name in ("chain", "network_chain", "activation_chain"):
                assert getattr(c, name).dims == getattr(expected, name).dims
            for name in (
                "initial_loss", "loss_floor", "network_loss_floor", "activation_loss_floor",
                "expressivity_floor", "representability_floor", "verdict", "isotropic_leap",
                "information_exponent", "floor",
            ):  # fmt: skip
                assert getattr(c, name) == getattr(expected, name), name
            assert c.flag.leaps == expected.flag.leaps
            assert c.condition.holds == expected.condition.holds
            assert c.condition.orders == expected.condition.orders
            assert verify(c), verify(c).failures


@by_text
def test_unused_variables_change_nothing(case):
    """A target seen as a function of more variables has the same certificate."""
    c, wide = certify(case.text), certify(embed(parse_polynomial(case.text), 5))
    assert wide.essential_dim == c.essential_dim
    assert wide.chain.dims == c.chain.dims
    assert wide.chain.reflective_dim == c.chain.reflective_dim
    assert (wide.verdict, wide.loss_floor, wide.condition.orders) == (
        c.verdict, c.loss_floor, c.condition.orders,
    )  # fmt: skip


def test_cosine_alone_never_moves():
    """With cos, z1 has the chain {0} and floor 1/2."""
    c = certify("z1", activation="cos")
    assert (c.activation_chain.dims, c.activation_loss_floor, c.verdict) == (
        (0,), HALF, "not_learnable",
    )  # fmt: skip


@pytest.mark.parametrize("activation", ["tanh", "sin", "erf", "sigmoid"])
def test_odd_activations_miss_the_even_half(activation):
    """Without biases z1 + z1 z2 keeps S = e2 and floor 1/2, though (3.1) does not hold."""
    c = certify("z1 + z1*z2", activation=activation)
    assert c.network_chain.reflective_dim == 0
    assert c.activation_chain.frame.hidden_basis == ((0, 1),)
    assert c.activation_loss_floor == HALF
    assert c.verdict == "not_learnable"
    assert "derived here" in c.reason


def test_polynomial_activations_in_the_table():
    """Chains of (3.1), floors and orders for x, (1+x)^2, (1+x)^3."""
    linear = certify("z1 + z1*z2", activation="x")
    assert linear.network_loss_floor == HALF
    steps = "z1 + z1*z2 + z1*z2*z3"
    linear = certify(steps, activation="x")
    assert linear.network_chain.frame.hidden_basis == ((0, 1, 0), (0, 0, 1))
    assert linear.network_loss_floor == 1
    assert linear.chain.reflective_dim == 0
    assert certify(steps, activation="(1+x)^2").network_loss_floor == HALF
    cubic = certify(steps, activation="(1+x)^3")
    assert (cubic.condition.holds, cubic.condition.order) == (True, 4)
    assert cubic.verdict == "undecided"
    assert "unbounded" in cubic.reason
    assert certify(steps, activation="sin").activation_loss_floor == 1


def test_an_odd_target_is_learned_by_tanh():
    """z1 + He2(z1) z2 satisfies 4.1 with orders (1, 3) for tanh too."""
    c = certify("z1 + He2(z1)*z2", activation="tanh")
    assert (c.verdict, c.condition.orders) == ("learnable", (1, 3))


def test_shifted_sigmoids_learn_the_even_half():
    """A logistic shifted to sigma(0) = 2/5 sees all degrees; so does a shifted tanh."""

    def logistic(order):
        # s' = s (1 - s), s(0) = 2/5, as polynomials in s
        s = RationalPolynomial.variable(1, 0)
        current, values = s, []
        for _ in range(order + 1):
            values.append(current([Fraction(2, 5)]))
            current = current.derivative(0) * (s - s * s)
        return tuple(map(Fraction, values))

    inf = float("inf")
    facts = Facts("shifted logistic", inf, inf, logistic, 1.0, True)
    c = certify("z1 + z1*z2 + z1*z2*z3", activation=facts)
    assert (c.verdict, c.condition.orders) == ("learnable", (1, 2, 4))
    assert certify("z1 + z1*z2", activation="sigmoid").verdict == "not_learnable"


def test_the_gap_between_the_conditions():
    """No reflective subspace, order 3 with cos + sin, undecided with x + x^2/2 + x^3/6."""
    h = r7_target()
    c = certify(h)
    assert (c.isotropic_leap, c.chain.dims, c.target.degree) == (1, (0, 1, 3), 3)
    assert (c.verdict, c.condition.order) == ("learnable", 3)
    cubic = certify(h, activation="x + x^2/2 + x^3/6")
    assert cubic.condition.reachable_dim == 3
    assert cubic.activation_chain.dims == (0, 1, 3)
    assert cubic.condition.holds is None
    assert cubic.verdict == "undecided"
    # the solution is (t, t^2, 0)
    columns = cubic.condition.columns
    in_space = [
        [sum(x * b[i] for x, b in zip(q, cubic.condition.basis, strict=True)) for i in range(3)]
        for q in columns
    ]
    assert in_space[:2] == [[1, 0, 0], [0, 1, 0]]
    assert not any(any(q) for q in in_space[2:])


def test_leaps_in_a_basis_mislead():
    """Rotated leap can be smaller; coordinate staircases can have isotropic leap 2."""
    rotation = rational_rotation(3, random.Random(1))
    c = certify("z1 + z1*z2*z3", rotation=rotation)
    assert (c.leap, c.isotropic_leap) == (1, 2)
    for text in ("z1 + z2 + z1*z2", "z1 + z2 + z1*z3 + z2*z4"):
        c = certify(text)
        assert (c.leap, c.merged_staircase, c.isotropic_leap) == (1, True, 2)
        assert c.verdict == "not_learnable"


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 6])
def test_staircases_double_their_orders(dim):
    """The staircase needs s = 2^(p-1), with orders 1, 2, 4, ... (chen2024subspace, Prop. D.1)."""
    c = certify(staircase(dim))
    assert c.condition.orders == tuple(2**i for i in range(dim))
    assert c.chain.dims == tuple(range(dim + 1))


@pytest.mark.parametrize("name", FACTS)
def test_constants(name):
    """A constant has dimension 0 and leap 0; what matters is whether a constant can be output."""
    zero, one = certify("0", activation=name), certify("1", activation=name)
    assert zero.verdict == "learnable"
    assert (one.essential_dim, one.leap, one.isotropic_leap, one.chain.dims) == (0, 0, 0, (0,))
    assert one.information_exponent is None
    facts = FACTS[name]
    if not facts.sees(0):
        assert (one.verdict, one.floor) == ("not_learnable", HALF)
    else:
        assert one.verdict == ("learnable" if facts.derivative_bound < 2 else "undecided")
    assert verify(one)


def test_what_is_said_of_constants_is_not_credited_to_theorem_4_3():
    """It needs an order s >= 1 and an average over p >= 1 populations."""
    for name in ("cos_sin", "tanh"):
        c = certify("3", activation=name)
        (claim,) = (s for s in c.statements if s.name.startswith("Algorithm 1"))
        assert claim.holds
        assert claim.reference == "derived here"
        assert "Theorem 4.3" not in c.reason
        assert "s = 0" not in c.reason


def test_relu_sees_degree_one_and_even_degrees():
    """ReLU: unseen degrees are a floor for any width; else undecided, saying why."""
    c = certify("z1 + z1*z2 + z1*z2*z3", activation="relu")
    assert (c.verdict, c.floor, c.condition.holds) == ("not_learnable", HALF, None)
    assert "any width" in c.reason
    assert "chen2024subspace" not in c.reason
    c = certify("He2(z1)", activation="relu")
    assert c.verdict == "undecided"
    assert "not twice differentiable" in c.reason
    assert "sees every Hermite degree" in c.reason


def test_algorithm_1_rescues_what_joint_training_cannot():
    """Sin on z1 + He2(z1): a floor for joint training, yet Assumption 4.1 holds."""
    c = certify("z1 + He2(z1)", activation="sin")
    assert (c.verdict, c.activation_loss_floor, c.expressivity_floor) == ("not_learnable", 0, 1)
    assert c.condition.holds
    assert "Algorithm 1" in c.reason
    assert "Theorem 4.3" in c.reason


def test_no_first_derivative_no_first_step():
    """An activation flat at 0 never leaves the origin without noise (x^3 on z1)."""
    c = certify("z1", activation="x^3")
    assert (c.condition.holds, c.condition.reachable_dim) == (False, 0)
    assert verify(c)


def test_without_noise_components_can_cancel():
    """x + x^4 sees degrees 2 and 4 only as F_4 = 24 h_4 + 12 |w|^2 h_2, which is zero here."""
    x1, x2 = (RationalPolynomial.variable(2, i) for i in range(2))
    symbol = x1 + x1 * x2 - x1 * x2 * (x1**2 + x2**2) / 2
    c = certify(symbol.from_symbol(), activation="x + x^4")
    assert c.activation_chain.dims == (0, 1, 2)
    assert (c.condition.holds, c.condition.reachable_dim) == (False, 1)
    assert verify(c)
    # any other weight between the two, and the flow gets away
    symbol = x1 + x1 * x2 - x1 * x2 * (x1**2 + x2**2) / 3
    c = certify(symbol.from_symbol(), activation="x + x^4")
    assert (c.condition.holds, c.condition.reachable_dim) == (True, 2)


def test_smoothness_orders():
    """L = n s, against the paper's 2 s n binom(n+p, p)."""
    c = certify("z1 + z1*z2")
    assert (c.smoothness_derived, c.smoothness_paper) == (4, 48)


def test_gelu_orders_are_proved():
    """Gelu's transcendental coefficients: full rank at a rational value proves full rank."""
    c = certify("z1 + z1*z2 + z2*z3", activation="gelu")
    assert (c.condition.holds, c.condition.orders, c.condition.minimal) == (True, (1, 2, 3), True)
    assert c.verdict == "undecided"
    c = certify("z1 + z1*z2 + z1*z2*z3", activation="gelu")
    assert c.condition.holds is False


def test_every_verdict_names_its_source():
    """The paper is not credited with what is derived here, nor the reverse."""
    by_paper = certify("z1*z2")
    assert "Theorem 3.4" in by_paper.reason
    assert "derived here" not in by_paper.reason
    for statement in certify("z1 + z1*z2", activation="tanh").statements:
        assert "chen2024subspace" in statement.reference or "derived here" in statement.reference \
            or "abbe20" in statement.reference  # fmt: skip


def test_json_has_the_promised_keys():
    """The JSON form is plain data with every promised key and exact losses."""
    import json

    data = json.loads(json.dumps(certify("z1 + z1*z2 + z1*z2*z3").to_json()))
    assert data["verdict"] == "learnable"
    assert data["chain_dims"] == [0, 1, 2, 3] == data["activation_chain_dims"]
    assert data["initial_loss"] == {"exact": "3/2", "value": 1.5}
    assert data["assumption_4_1"]["holds"] is True
    assert data["assumption_4_1"]["order"] == 4
    assert data["assumption_4_1"]["orders"] == [1, 2, 4]
    for key in (
        "essential_dim", "reflective_dim", "loss_floor", "activation_reflective_dim",
        "activation_loss_floor", "expressivity_floor", "leap", "isotropic_leap", "activation",
        "statements", "reason", "target", "degree", "merged_staircase", "information_exponent",
        "network_chain_dims", "witness", "reflective_basis",
    ):  # fmt: skip
        assert key in data
    assert {"name", "holds", "reference"} <= set(data["statements"][0])


def test_targets_and_activations_may_carry_their_exact_form():
    """Objects with .exact and .facts are as good as text."""
    target = SimpleNamespace(exact=parse_polynomial("z1 + z1*z2"))
    c = certify(target, activation=SimpleNamespace(facts=FACTS["tanh"]))
    assert c == certify("z1 + z1*z2", activation="tanh")


def test_numbers_too_large_to_print():
    """Coefficients of hundreds of digits still give a certificate, JSON and a reason."""
    c = certify(" + ".join(f"{10**280 + i}/{10**270 + 7 * i}*z{i}*z{i + 1}" for i in range(1, 6)))
    assert c.verdict == "not_learnable"
    assert "e+" in c.reason
    data = c.to_json()
    assert data["initial_loss"]["value"] == pytest.approx(2.5e20)
    huge = certify(f"{10**280}*z1*z2").to_json()
    assert huge["initial_loss"]["value"] is None


def test_bad_arguments():
    """Wrong targets, activations and matrices raise one sentence."""
    with pytest.raises(ValueError, match="Expected a polynomial"):
        certify(3)
    with pytest.raises(ValueError, match="Expected an activation"):
        certify("z1", activation=3)
    with pytest.raises(ValueError, match="orthogonal"):
        certify("z1", rotation=[[2]])
    with pytest.raises(ValueError, match="size 2"):
        certify("z1*z2", rotation=[[1]])
    with pytest.raises(ValueError, match="at least 1"):
        certify("z1*z2", max_order=0)


@pytest.mark.parametrize(
    "name", ["staircase", "rotated staircase", "sixth power", "product", "dense", "rotated dense"]
)
def test_degree_six_in_six_variables_is_fast(name):
    """The largest documented size takes under two seconds of processor time, 40 units."""
    rng = random.Random(6)
    rotation = rational_rotation(6, rng)
    target = {
        "staircase": lambda: parse_polynomial(staircase(6)),
        "rotated staircase": lambda: parse_polynomial(staircase(6)).substitute(rotation),
        "sixth power": lambda: parse_polynomial("(z1+z2+z3+z4+z5+z6)^6"),
        "product": lambda: parse_polynomial("z1*z2*z3*z4*z5*z6").substitute(rotation),
        "dense": lambda: dense_polynomial(rng, 6, 6),
        "rotated dense": lambda: dense_polynomial(rng, 6, 6).substitute(rotation),
    }[name]()
    unit, start = cpu_unit(), time.process_time()
    certificate = certify(target)
    assert time.process_time() - start < 60 * unit  # half as much again for a noisy machine
    if "staircase" in name:
        assert certificate.condition.orders == (1, 2, 4, 8, 16, 32)
