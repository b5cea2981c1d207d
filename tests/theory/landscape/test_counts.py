"""Published counts, tests of counts by exact enumeration, one-point curvature by differences."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from twolayer.theory.landscape import (
    compare_counts,
    one_point_curvature,
    perturbed_schedule,
    published_counts,
    published_means,
    relu_risk,
    relu_risk_gradient,
)
from twolayer.theory.landscape.published import PublishedCount

ORACLE = Path(__file__).parents[4] / "shared/oracles/safran_yehudai_shamir_minima.json"
RNG = np.random.default_rng(10)


def hypergeometric_p(bad, runs, other_bad, other_runs):
    """Fisher's two-sided p-value in exact arithmetic: all tables no likelier than the one found."""
    total = bad + other_bad

    def weight(j):
        return math.comb(runs, j) * math.comb(other_runs, total - j)

    tables = range(max(0, total - other_runs), min(runs, total) + 1)
    chance = sum(weight(j) for j in tables if weight(j) <= weight(bad))
    return float(Fraction(chance, math.comb(runs + other_runs, total)))


@pytest.mark.parametrize(("bad", "runs"), [(3, 20), (0, 7), (12, 20)])
def test_test_of_counts_by_enumeration(bad, runs):
    published = PublishedCount(9, 30, "made up")
    test = compare_counts(bad, runs, published)
    assert test.p_value == pytest.approx(hypergeometric_p(bad, runs, 9, 30), rel=1e-9)
    rate = Fraction(9, 30)
    chances = [math.comb(runs, j) * rate**j * (1 - rate) ** (runs - j) for j in range(runs + 1)]
    one_sample = sum(chance for chance in chances if chance <= chances[bad])
    assert test.p_value_of_rate == pytest.approx(float(one_sample), rel=1e-9)


def test_counts_of_the_same_rate_pass_and_of_a_neighbour_fail():
    seven, nine = (published_counts(k, k)[0] for k in (7, 9))
    assert compare_counts(66, 300, nine).p_value > 0.5
    assert compare_counts(66, 300, seven).p_value < 1e-6


def test_published_counts_are_those_of_the_stored_minima():
    if not ORACLE.exists():
        pytest.skip("the published minima are not at hand: they carry no licence to copy them")
    oracle = json.loads(ORACLE.read_text())
    for k in range(6, 21):
        count = published_counts(k, k)[0]
        assert (count.runs, count.bad) == (oracle[str(k)]["runs"], 500 - oracle[str(k)]["global_"])


def test_published_counts_grow_with_k_and_fall_with_width():
    for k in range(8, 18):
        shares = [published_counts(k, n)[-1].bad / 1000 for n in (k, k + 1, k + 2)]
        assert shares[0] > shares[1] >= shares[2] == 0
    assert published_counts(5, 5) == published_counts(19, 21) == ()  # up to 20 neurons
    assert published_means(5) is None


def test_a_count_beyond_its_runs_is_refused():
    with pytest.raises(ValueError, match="between 0 and the number of runs"):
        compare_counts(4, 3, PublishedCount(1, 2, "made up"))


OWNER = np.repeat(np.arange(4), 2)


def test_one_point_curvature_is_a_second_derivative():
    W = np.eye(4)[OWNER] / 2 + 0.1 * RNG.normal(size=(8, 4))
    found = one_point_curvature(W, np.eye(4), OWNER)
    shift = W - np.eye(4)[OWNER] / 2
    slopes = [np.sum(relu_risk_gradient(W + s * shift, np.eye(4)) * shift) for s in (1e-5, -1e-5)]
    assert found.curvature == pytest.approx((slopes[0] - slopes[1]) / 2e-5, rel=1e-6)
    assert found.distance == pytest.approx(np.linalg.norm(shift), rel=1e-14)
    assert all(assumption.holds for assumption in found.assumptions)
    assert all(assumption.margin >= 0 for assumption in found.assumptions)
    tilted = one_point_curvature(W, np.eye(4) + 1e-3 * np.eye(4)[::-1], OWNER).assumptions
    assert [(a.holds, a.margin >= 0) for a in tilted] == [(False, False), (True, True)]
    uneven = one_point_curvature(W, np.eye(4), [0, 0, 0, 1, 1, 2, 2, 3]).assumptions
    assert [(a.holds, a.margin >= 0) for a in uneven] == [(True, True), (False, False)]


def test_one_point_curvature_along_the_scale():
    """(1 + c) w~ has the loss c^2 E f*^2 / 2, so its curvature is twice the loss."""
    W = 1.3 * np.eye(4)[OWNER] / 2
    found = one_point_curvature(W, np.eye(4), OWNER)
    assert found.curvature == pytest.approx(2 * relu_risk(W, np.eye(4)), rel=1e-12)
    # g_i = c v_i, g = c sum v_i: the bound by hand
    assert found.bound == pytest.approx(0.09 * (4 + (1 - 2 / math.pi) * 4) / 4, rel=1e-12)


def test_curvature_stays_above_the_bound_near_the_minimum():
    """Theorem 10 with the error term; its 2.5th power shrinks against squares."""
    for size in (1e-2, 1e-4):
        for _ in range(10):
            W = np.eye(4)[OWNER] / 2 + size * RNG.normal(size=(8, 4))
            found = one_point_curvature(W, np.eye(4), OWNER)
            assert found.slack >= -(found.distance**2.5)


def test_curvature_vanishes_where_groups_keep_their_sums():
    """Against Theorem 9's failure of strong convexity: the quotient by eps^2 goes to zero."""
    kick = RNG.normal(size=(4, 4))
    quotients = []
    for size in (1e-1, 1e-2, 1e-3):
        W = np.eye(4)[OWNER] / 2
        W[::2] += size * kick
        W[1::2] -= size * kick
        found = one_point_curvature(W, np.eye(4), OWNER)
        assert found.bound == pytest.approx(0.0, abs=1e-16)
        quotients.append(found.curvature / found.distance**2)
    # the curvature of a pair at angle t is of order t |shift|^2
    assert 0 < quotients[2] < 0.2 * quotients[1] < 0.04 * quotients[0] * 1.2


def test_schedule_of_perturbed_descent():
    schedule = perturbed_schedule(3, convexity=0.5, smoothness=1.0, delta=0.5)
    assert schedule.step == pytest.approx(0.5 * 0.25 / 64)
    assert schedule.perturbation == pytest.approx(0.5 / 12)
    # by hand: shrink by 1 - eta lambda delta^2 / 64 until delta is reached
    rate, size, steps = 1 - schedule.step * 0.5 * 0.25 / 64, 1.0, 0
    while size > 0.5:
        size *= rate
        steps += 1
    assert 10**schedule.log10_steps == pytest.approx(steps, abs=1)
    # in units in which gradients are twice as long the step is half as long
    twice = perturbed_schedule(3, convexity=1.0, smoothness=2.0, delta=0.5)
    assert twice.step == pytest.approx(schedule.step / 2)


def test_bad_curvature_arguments_are_refused():
    with pytest.raises(ValueError, match="one owner"):
        one_point_curvature(np.eye(3), np.eye(3), [0, 1, 1])
    with pytest.raises(ValueError, match="delta in"):
        perturbed_schedule(3, convexity=0.5, smoothness=1.0, delta=1.5)
