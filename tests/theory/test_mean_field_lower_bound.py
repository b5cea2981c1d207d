"""Theorem 3.4 of chen2024subspace with its constants."""

import math

import numpy as np
import pytest

from twolayer.targets import Polynomial
from twolayer.theory.mean_field import loss_lower_bound
from twolayer.theory.mean_field.lower_bound import log10_stability_constant


def test_dimensions_needed_are_those_worked_out_by_hand():
    """For z1 z2 with all constants 1: d(.1), d(.5), d(1), d(2) = 10^2.62, 6.69, 15.27, 48.95."""
    bound = loss_lower_bound("z1*z2", activation="sin", times=[0.1, 0.5, 1, 2], dim=1e9)
    np.testing.assert_allclose(bound.log10_dim, [2.62, 6.69, 15.27, 48.95], atol=6e-3)


def test_stability_constant_is_that_of_the_lemmas():
    """T = 1, all bounds 1: A = 2, C_f = 5, C_Delta = 15 + 4 sqrt 5 + 4 sqrt 3 (by hand)."""
    by_hand = math.log10(5) + (14 + 4 * math.sqrt(5) + 4 * math.sqrt(3)) / math.log(10)
    assert log10_stability_constant(1.0, 1.0, 1.0) == pytest.approx(by_hand, abs=1e-12)


def test_bound_is_half_the_floor_at_the_needed_dimension():
    """At d = d(T) the bound is floor / 2, and it tends to the floor."""
    for T in (0.1, 0.5):
        needed = loss_lower_bound("z1*z2", activation="sin", times=[T], dim=1e3).log10_dim[0]
        at = loss_lower_bound("z1*z2", activation="sin", times=[T], dim=10**needed)
        assert at.loss.value[0] == pytest.approx(at.floor / 2, rel=1e-9)
        beyond = loss_lower_bound("z1*z2", activation="sin", times=[T], dim=10 ** (needed + 12))
        assert beyond.loss.value[0] == pytest.approx(0.5, rel=1e-4)


def test_vacuous_bound_says_so():
    """At a long horizon the bound is 0, never negative or NaN, and its assumption fails."""
    bound = loss_lower_bound("z1*z2", activation="sin", times=[0.1, 2, 50], dim=100)
    assert bound.loss.kind == "lower"
    assert np.all(bound.loss.value[1:] == 0)
    vacuous = bound.loss.assumptions[-1]
    assert vacuous.holds is False
    assert vacuous.margin < -100


@pytest.mark.parametrize(("text", "activation"), [("z1 + z1*z2", "cos_sin"), ("z1", "cos_sin")])
def test_learnable_target_has_no_bound(text, activation):
    """Without a reflective subspace the theorem says nothing: floor 0, infinite dimension."""
    bound = loss_lower_bound(Polynomial(text), activation=activation, times=[1], dim=1e6)
    assert bound.floor == 0
    assert np.isinf(bound.log10_dim[0])
    assert bound.loss.value[0] == 0


def test_parity_of_the_activation_counts():
    """z1 + z1 z2 resists tanh, with floor 1/2, by property (3.5)."""
    bound = loss_lower_bound("z1 + z1*z2", activation="tanh", times=[0.1], dim=1e12)
    assert bound.floor == 0.5
    assert 0.49 < bound.loss.value[0] < 0.5
    assert bound.loss.reference.startswith("derived here")  # the theorem itself asks for (3.1)
    reference = loss_lower_bound("z1*z2", activation="tanh", times=[0.1], dim=1e12).loss.reference
    assert reference.startswith("chen2024subspace, Theorem 3.4")


def test_unbounded_activation_is_outside_the_theorem():
    """relu is unbounded: the hypothesis fails, the bound is vacuous."""
    bound = loss_lower_bound("z1*z2*z3", activation="relu", times=[0.1], dim=1e12)
    assert bound.loss.assumptions[0].holds is False
    assert bound.loss.value[0] == 0


@pytest.mark.parametrize("dim", [0, -1, math.nan])
def test_dimensions_below_one_are_refused(dim):
    """A dimension below 1 is one sentence."""
    with pytest.raises(ValueError, match="dimension"):
        loss_lower_bound("z1*z2", activation="sin", times=[1.0], dim=dim)
