"""Comparison of a prediction with training: verdicts follow from gaps and their errors alone."""

import numpy as np
import pytest

from twolayer.compare import compare, compare_sizes
from twolayer.outcomes import Prediction, Trajectory

TIME = np.linspace(0.0, 4.0, 9)
LOSS = np.exp(-TIME)


def predicted(value=LOSS, kind="exact", **rest):
    return Prediction("loss", TIME, value, kind, "derived here", **rest)


def measured(offset=0.0, noise=0.01, seeds=6, status=None, time=TIME, loss=LOSS):
    rng = np.random.default_rng(7)
    value = loss + offset + noise * rng.standard_normal((seeds, len(time)))
    return Trajectory("loss", time, value, status or ("finished",) * seeds)


def test_noise_around_the_truth_agrees():
    """Curves that scatter around the predicted one agree with it."""
    assert compare(predicted(), measured()).verdict == "agrees"


@pytest.mark.parametrize("offset", [-0.1, 0.1])
def test_an_offset_of_many_errors_disagrees(offset):
    """A shift by twenty standard errors is a disagreement on either side."""
    assert compare(predicted(), measured(offset)).verdict == "disagrees"


@pytest.mark.parametrize(("kind", "good"), [("lower", 0.1), ("upper", -0.1)])
def test_bounds_are_one_sided(kind, good):
    """A lower bound is broken only from below, an upper bound only from above."""
    assert compare(predicted(kind=kind), measured(good)).verdict == "agrees"
    assert compare(predicted(kind=kind), measured(-good)).verdict == "disagrees"


def test_the_prediction_s_own_error_counts_once():
    """A prediction's numerical error widens the margin by itself, not by a multiple."""
    for error, verdict in ((0.11, "agrees"), (0.09, "disagrees")):
        uncertain = predicted(error=np.full(TIME.shape, error))
        assert compare(uncertain, measured(0.1, noise=1e-4)).verdict == verdict


def test_few_seeds_widen_the_margin_as_students_distribution_says():
    """The same gap in standard errors is a disagreement for many seeds and not for three."""
    for seeds, verdict in ((3, "agrees"), (400, "disagrees")):
        curves = np.where(np.arange(seeds)[:, None] < seeds / 2, 1.0, -1.0) * np.ones(TIME.shape)
        curves -= curves.mean(axis=0)
        error = curves.std(axis=0, ddof=1) / np.sqrt(seeds)
        value = LOSS + 0.01 * (curves + 5 * error)
        run = Trajectory("loss", TIME, value, ("finished",) * seeds)
        assert compare(predicted(), run).verdict == verdict


def test_tolerance_is_added_to_the_margin():
    """A gap inside the tolerance agrees, one outside does not."""
    run = measured(0.1, noise=1e-4)
    assert compare(predicted(), run, tolerance=0.11).verdict == "agrees"
    assert compare(predicted(), run, tolerance=0.09).verdict == "disagrees"


def test_noise_too_large_to_tell_is_undecided():
    """Scatter as large as the curve itself decides nothing."""
    assert compare(predicted(), measured(noise=2.0)).verdict == "undecided"


def test_an_undecided_comparison_names_the_widest_margin():
    """Where the error is too large is said, not where the gap comes closest to its margin."""
    noise = np.where(TIME == 3.0, 2.0, 1e-3)
    comparison = compare(predicted(), measured(noise=noise))
    assert comparison.verdict == "undecided"
    assert "at time 3" in comparison.reason


def test_one_seed_decides_nothing():
    """One seed has no standard error, so its agreement is undecided."""
    assert compare(predicted(), measured(seeds=1)).verdict == "undecided"


def test_diverged_seeds_are_left_out_and_named():
    """A diverged seed changes no mean but is mentioned; if all diverge the verdict is failed."""
    run = measured(status=("diverged", *["finished"] * 5))
    run.value[0] = np.nan
    comparison = compare(predicted(), run)
    assert comparison.verdict == "agrees"
    assert "1 of 6 seeds" in comparison.reason
    assert compare(predicted(), measured(status=("diverged",) * 6)).verdict == "failed"
    assert compare(predicted(status="diverged"), measured()).verdict == "failed"


def test_interpolates_between_predicted_times_and_refuses_to_extrapolate():
    """Times between the grid points are interpolated; times beyond the grid raise."""
    between = TIME[1:] - 0.25
    run = measured(time=between, loss=np.interp(between, TIME, LOSS))
    assert compare(predicted(), run).verdict == "agrees"
    with pytest.raises(ValueError, match="one up to 4"):
        compare(predicted(), measured(time=TIME + 1))


def shrinking(rate, sizes=(64, 256, 1024), seeds=8):
    rng = np.random.default_rng(3)
    return [
        Trajectory(
            "loss",
            TIME,
            LOSS + size**-rate * (1 + 0.1 * rng.standard_normal((seeds, 1))),
            ("finished",) * seeds,
        )
        for size in sizes
    ]


@pytest.mark.parametrize(
    ("rate", "verdict"), [(0.5, "agrees"), (1.0, "agrees"), (0.25, "disagrees"), (0.0, "disagrees")]
)
def test_the_gap_must_shrink_at_the_expected_rate(rate, verdict):
    """Gaps that fall as size^-1/2 or faster agree, slower ones and constant ones do not."""
    convergence = compare_sizes(predicted(), shrinking(rate), (64, 256, 1024))
    assert convergence.verdict == verdict
    assert abs(convergence.slope - rate) < 4 * convergence.slope_error


def test_convergence_needs_two_sizes_and_two_seeds():
    """One size is wrong use; sizes with fewer than two finished seeds fail."""
    with pytest.raises(ValueError, match="at least two"):
        compare_sizes(predicted(), shrinking(0.5)[:1], (64,))
    assert compare_sizes(predicted(), shrinking(0.5, seeds=1), (1, 2, 3)).verdict == "failed"


def test_seeds_that_agree_exactly_give_a_slope():
    """Gaps without scatter between the seeds have a finite slope and error."""
    runs = [
        Trajectory("loss", TIME, np.tile(LOSS + 1 / size, (3, 1)), ("finished",) * 3)
        for size in (10, 100)
    ]
    convergence = compare_sizes(predicted(), runs, (10, 100))
    assert convergence.verdict == "agrees"
    assert abs(convergence.slope - 1) < 1e-6


def test_no_slope_without_gaps_or_without_a_limit():
    """Gaps that are all 0 have no slope; a limit that ended early is no limit."""
    exact = [Trajectory("loss", TIME, np.tile(LOSS, (3, 1)), ("finished",) * 3)] * 2
    assert compare_sizes(predicted(), exact, (10, 100)).verdict == "undecided"
    ended = predicted(status="diverged")
    assert compare_sizes(ended, shrinking(0.5), (64, 256, 1024)).verdict == "failed"
