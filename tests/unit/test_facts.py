import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, special

from twolayer.activations.facts import FACTS, facts_of, polynomial_facts
from twolayer.language import parse_polynomial

VALUES = {
    "relu": lambda x: max(x, 0.0),
    "abs": abs,
    "erf": special.erf,
    "tanh": math.tanh,
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "gelu": lambda x: x * special.ndtr(x),
    "cos_sin": lambda x: math.cos(x) + math.sin(x),
    "sin": math.sin,
    "cos": math.cos,
}
KAPPA = 1 / math.sqrt(2 * math.pi)
# what the rational derivatives are short of: a common factor, or m_0
FACTOR = {"erf": 2 / math.sqrt(math.pi)}
OFFSET = {"softplus": math.log(2)}


def taylor(name: str, x: float, order: int = 40) -> float:
    facts = FACTS[name]
    if facts.derivatives is not None:
        m = facts.derivatives(order)
    else:
        m = facts.derivatives_at(order, Fraction(KAPPA))
    value = sum(float(c) * x**k / math.factorial(k) for k, c in enumerate(m))
    return FACTOR.get(name, 1.0) * value + OFFSET.get(name, 0.0)


def test_the_catalogue_is_complete():
    """Every activation of the library has facts and a reference value here."""
    assert set(FACTS) == set(VALUES)


@pytest.mark.parametrize("name", [n for n in FACTS if FACTS[n].differentiable])
def test_derivatives_are_those_of_the_function(name):
    """The Taylor series from the exact derivatives sums to the function."""
    for x in (-0.5, 0.3, 0.7):
        assert taylor(name, x) == pytest.approx(float(VALUES[name](x)), abs=1e-9)


@pytest.mark.parametrize("name", ["relu", "abs"])
def test_kinks_have_no_derivatives(name):
    """ReLU and the absolute value are not differentiable at 0 and say so."""
    assert not FACTS[name].differentiable


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("degree", range(7))
def test_degrees_seen_are_the_nonzero_hermite_coefficients(name, degree):
    """E[sigma(sG) He_D(G)] vanishes for all s exactly where the facts say so (quadrature)."""
    hermite = special.hermitenorm(degree)

    def coefficient(scale):
        def integrand(g):
            return VALUES[name](scale * g) * hermite(g) * math.exp(-g * g / 2) * KAPPA

        left, _ = integrate.quad(integrand, -12, 0, limit=200)
        right, _ = integrate.quad(integrand, 0, 12, limit=200)
        return left + right

    largest = max(abs(coefficient(scale)) for scale in (0.7, 1.3, 2.0))
    assert (largest > 1e-4) == FACTS[name].sees(degree)


@pytest.mark.parametrize("name", FACTS)
def test_the_bound_bounds_and_is_tight(name):
    """K bounds the function and two derivatives by finite differences, and is attained."""
    facts, x = FACTS[name], np.linspace(-6, 6, 4001)
    if math.isinf(facts.derivative_bound):
        return
    y = np.array([VALUES[name](t) for t in x], dtype=float)
    first, step = np.gradient(y, x), x[1] - x[0]
    second = np.diff(y, 2) / step**2
    worst = max(np.abs(y).max(), np.abs(first).max(), np.abs(second).max())
    assert worst <= facts.derivative_bound * (1 + 1e-5)
    assert worst >= 0.95 * facts.derivative_bound


def test_polynomials():
    """A polynomial's facts are read off its coefficients."""
    facts = facts_of("(1+x)^3")
    assert facts.derivatives(4) == (1, 3, 6, 6, 0)
    assert (facts.even_degree, facts.odd_degree) == (2, 3)
    assert [D for D in range(6) if facts.sees(D)] == [0, 1, 2, 3]
    assert [D for D in range(6) if facts_of("x^3 + x^2").sees_with_bias(D)] == [0, 1, 2, 3]
    assert facts_of("x").smooth
    assert facts_of("0").degree == -1
    assert math.isinf(facts.derivative_bound)
    assert facts_of("2").derivative_bound == 2
    with pytest.raises(ValueError, match="one variable"):
        polynomial_facts(parse_polynomial("z1*z2"))


@pytest.mark.parametrize(
    ("text", "part"), [("tahn", '"tanh"'), ("ReLU", '"relu"'), ("nonsense", "Choose one of relu")]
)
def test_unknown_names_are_one_sentence(text, part):
    """An unknown activation gives the nearest name and the list."""
    with pytest.raises(ValueError, match="unknown") as caught:
        facts_of(text)
    assert part in str(caught.value)
    assert "cos_sin" in str(caught.value)


def test_space_around_a_name_does_not_matter():
    """A name is known with space around it."""
    assert facts_of(" tanh ") is FACTS["tanh"]


def test_coefficients_beyond_the_floats_are_refused():
    """An activation that no float can evaluate is one sentence."""
    with pytest.raises(ValueError, match="1e308"):
        facts_of("1e300*1e300*x")


@pytest.mark.parametrize("text", ["", "x^^2", "1/x", "x^9999", "exp(x)", "z1"])
def test_bad_polynomials(text):
    """A bad polynomial is a syntax error or an unknown name, both ValueErrors."""
    with pytest.raises(ValueError, match=r"\w"):
        facts_of(text)
    with pytest.raises(ValueError, match="polynomial"):
        facts_of("x +")


def test_facts_are_hashable():
    """Facts may be static fields of compiled functions."""
    assert len({*FACTS.values(), facts_of("x^2"), facts_of("x^2 ")}) == len(FACTS) + 2
