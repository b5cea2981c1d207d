"""Powers of the dimension, and the degrees that follow from them."""

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from twolayer.theory.one_step.regimes import (
    capped_degree,
    data_strength,
    learning_rate,
    needed_degree,
    paper_degree,
)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.7), (0.3, 0.5), (1.0, 1.0), (0.5, 0.0)])
def test_strength_and_rate_share_the_exponent(alpha, beta):
    """eta theta = dim^beta, of which the step has the share alpha."""
    dim = 977
    eta, theta = learning_rate(dim, alpha, beta), data_strength(dim, alpha, beta)
    assert math.log(eta * theta) == pytest.approx(beta * math.log(dim), abs=1e-12)
    assert math.log(eta) == pytest.approx(alpha * beta * math.log(dim), abs=1e-12)


def test_degree_is_that_of_the_interval_in_the_theorem():
    """For each l, every beta strictly inside ((l - 2)/(l - 1), (l - 1)/l) gives degree l - 1."""
    for level in range(2, 40):
        low, high = Fraction(level - 2, level - 1), Fraction(level - 1, level)
        for share in (Fraction(1, 1000), Fraction(1, 2), Fraction(999, 1000)):
            found = paper_degree(float(low + share * (high - low)))
            assert found.degree == level - 1
            assert found.assumptions[0].holds is True
            margin = float(min(share, 1 - share) * (high - low))
            assert found.assumptions[0].margin == pytest.approx(margin, rel=1e-6)


def test_thresholds_are_reported_as_silent():
    """At (l - 1)/l, however it rounds, the degree below is given and the assumption fails."""
    for level in range(2, 40):
        found = paper_degree((level - 1) / level)
        assert (found.degree, found.assumptions[0].holds) == (level - 1, False)
        assert found.assumptions[0].margin == 0
    assert paper_degree(0.0).degree == 1
    assert paper_degree(0.0).assumptions[0].holds is False
    assert paper_degree(1).degree is None


def test_rule_of_the_experiments_is_capped():
    """Below beta = 4/5 it is the theorem's degree, above it stays at 4."""
    for beta in np.linspace(0.01, 0.79, 79):
        assert capped_degree(float(beta)) == paper_degree(float(beta)).degree or np.isclose(
            beta / (1 - beta), round(beta / (1 - beta))
        )
    assert [capped_degree(beta) for beta in (0.85, 0.99, 1.0)] == [4, 4, 4]


def test_needed_degree_is_the_least_that_satisfies_the_condition():
    """By brute force over L in exact arithmetic, over a grid of alpha and beta."""
    for a in range(11):
        for b in range(21):
            alpha, beta = Fraction(a, 10), Fraction(b, 20)
            exponent = max(beta - 1, (beta * (1 - alpha) - 1) / 2)
            least = next((L for L in range(99) if (L + 1) * exponent < Fraction(-1, 2)), None)
            assert needed_degree(float(alpha), float(beta)).degree == least, (alpha, beta)


def test_needed_degree_never_exceeds_the_theorem():
    """Inside the theorem's intervals the derived rule asks for no more, and the same at alpha 0."""
    for beta in (0.2, 0.6, 0.7, 0.78, 0.83):
        paper = paper_degree(beta).degree
        assert needed_degree(0, beta).degree == paper
        assert all(needed_degree(alpha, beta).degree <= paper for alpha in (0.25, 0.5, 1))
    assert needed_degree(1, 0.9).degree == 5  # 1 - 1 / (2 (L + 1)) reaches .9 at L = 4


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, True, "half"])
def test_bad_shares_are_refused(value):
    """Outside [0, 1], no number or not finite: one sentence."""
    for call in (
        lambda: paper_degree(value),
        lambda: capped_degree(value),
        lambda: needed_degree(0.5, value),
        lambda: needed_degree(value, 0.5),
        lambda: learning_rate(10, value, 0.5),
        lambda: data_strength(10, 0.5, value),
    ):
        with pytest.raises(ValueError, match=r"number in \[0, 1\]\. Received"):
            call()


@pytest.mark.parametrize("dim", [0, -3, 2.5, True])
def test_bad_dimensions_are_refused(dim):
    """A dimension is a whole number of at least 1."""
    with pytest.raises(ValueError, match="dimension of at least 1"):
        learning_rate(dim, 0.5, 0.5)


def test_regimes_load_without_jax():
    """The exponents are asked for before anything is compiled."""
    program = (
        "import sys, twolayer.theory.one_step.regimes as r; r.paper_degree(.3)\n"
        "assert not {'jax', 'equinox', 'numpy'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
