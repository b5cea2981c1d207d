"""One-pass SGD of committees: starts, exact risks, rates, refusals."""

import math

import jax
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.dynamics.committee_sgd import CommitteeSGD, committee_sgd, weights_with_overlaps
from twolayer.pair_kernels import relu_pairs

Q = np.array([[0.5, 0.1], [0.1, 0.6]])
R = np.array([[0.2, -0.1], [0.05, 0.25]])
T = np.eye(2)
ONES = np.ones(2)
KEY = jax.random.key(3)


def run(algorithm, dim=20, times=(0.0, 1.0), seeds=64, **options):
    W, V = weights_with_overlaps(Q, R, T, dim)
    return committee_sgd(
        algorithm, (W, ONES), (V, ONES), relu_pairs, times=times, seeds=seeds, key=KEY, **options
    )


def test_weights_have_the_overlaps_asked_for():
    """Over the dimension the products of the weights are Q, R and T."""
    W, V = weights_with_overlaps(Q, R, T, 9)
    for found, asked in ((W @ W.T, Q), (W @ V.T, R), (V @ V.T, T)):
        np.testing.assert_allclose(found / 9, asked, atol=1e-14)


@pytest.mark.slow
def test_without_rates_nothing_moves_and_decay_alone_shrinks():
    """A step with decay multiplies all weights by ``1 - decay / N``, whatever the sample."""
    resting = run(CommitteeSGD(0.0))
    np.testing.assert_array_equal(resting.Q[:, 1], resting.Q[:, 0])
    decay = run(CommitteeSGD(0.0, weight_decay=0.5))
    factor = (1 - 0.5 / 20) ** 20
    # single precision over 20 steps
    np.testing.assert_allclose(decay.Q[:, 1], factor**2 * decay.Q[:, 0], rtol=1e-5)
    np.testing.assert_allclose(decay.R[:, 1], factor * decay.R[:, 0], rtol=1e-5)
    np.testing.assert_allclose(decay.student_weights[:, 1], factor, rtol=1e-5)


def test_risk_is_half_the_mean_square_of_the_weights_at_hand():
    """The risk that is reported at the start is a sampled half mean square of the same weights."""
    W, V = weights_with_overlaps(Q, R, T, 20)
    x = np.random.default_rng(0).normal(size=(100_000, 20)) / math.sqrt(20)
    gap = np.maximum(x @ W.T, 0).sum(axis=1) - np.maximum(x @ V.T, 0).sum(axis=1)
    sample = gap**2 / 2
    reported = run(CommitteeSGD(0.1)).risk.value[:, 0]
    np.testing.assert_allclose(reported, reported[0], rtol=1e-12)
    assert_within_sem(sample.mean(), sample.std() / math.sqrt(len(x)), reported[0])


def test_one_step_of_both_layers_shares_one_sample_and_one_error():
    """Relu neurons with equal rates: ``dQ_ii = 2 dv_i + |dw_i|^2 / N``, the last alike for all.

    The first layer moves by ``-(eta / sqrt N) error x`` where it is active, so that
    ``2 w . dw / N = -2 eta error lambda_+ / N``, which is twice the move of the output weight, and
    active neurons move equally far. Neurons that are not active rest.
    """
    dim, eta = 20, 0.3
    both = run(CommitteeSGD(eta, second_layer_rate=eta), times=(0.0, 1 / dim))
    dv = both.student_weights[:, 1] - both.student_weights[:, 0]
    dQ = np.diagonal(both.Q[:, 1] - both.Q[:, 0], axis1=1, axis2=2)
    active = np.abs(dv) > 1e-7
    assert np.any(active.all(axis=1))
    assert np.any(~active)
    np.testing.assert_allclose(dQ[~active], 0.0, atol=1e-6)  # single precision
    lengths = (dQ - 2 * dv)[active.all(axis=1)]
    assert np.all(lengths > 1e-6)
    np.testing.assert_allclose(lengths[:, 0], lengths[:, 1], rtol=2e-3, atol=2e-6)


def test_label_noise_has_the_standard_deviation_asked_for():
    """Of a student equal to its teacher one step moves output weights by the noise alone.

    ``dv = (eta_2 / N) g(lambda) sigma z``, whose mean square is ``(eta_2 sigma / N)^2 E g^2``.
    """
    dim, rate, sigma = 20, 0.8, 0.25
    _, V = weights_with_overlaps(Q, R, T, dim)
    moved = committee_sgd(
        CommitteeSGD(0.0, second_layer_rate=rate, noise_std=sigma), (V, ONES), (V, ONES),
        relu_pairs, times=(0.0, 1 / dim), seeds=64, key=KEY,
    ).student_weights[:, 1] - 1  # fmt: skip
    squares = np.mean(moved**2, axis=1) * (dim / rate) ** 2
    assert_within_sem(squares.mean(), squares.std() / 8, sigma**2 / 2)


def test_what_is_observed_changes_nothing():
    """A run that is looked at more often passes through the same weights."""
    seldom = run(CommitteeSGD(0.2), times=(0.0, 5.0))
    often = run(CommitteeSGD(0.2), times=(0.0, 0.35, 1.0, 4.9, 5.0))
    np.testing.assert_array_equal(often.Q[:, -1], seldom.Q[:, -1])
    assert seldom.risk.value[0, 1] != seldom.risk.value[1, 1]


def test_padding_leaves_the_law_of_a_run():
    """With more columns than inputs the mean risk is the same within its error."""
    plain = run(CommitteeSGD(0.5), times=(3.0,)).risk.value[:, 0]
    padded = run(CommitteeSGD(0.5), times=(3.0,), padded_dim=32).risk.value[:, 0]
    error = math.hypot(plain.std(), padded.std()) / math.sqrt(64)
    assert_within_sem(padded.mean(), error, plain.mean())
    assert not np.array_equal(plain, padded)


def test_too_large_a_step_ends_as_diverged():
    """A run that explodes is reported as such, without a warning."""
    wild = run(CommitteeSGD(50.0), times=(0.0, 20.0))
    assert set(wild.risk.status) == {"diverged"}


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_rates_that_are_no_rates_are_refused(rate):
    """Negative and missing rates are refused by name."""
    with pytest.raises(ValueError, match="noise_std"):
        run(CommitteeSGD(0.1, noise_std=rate))


def test_what_does_not_fit_is_refused():
    """Wrong shapes, times that fall, no seed, too few inputs, overlaps of no vectors."""
    W, V = weights_with_overlaps(Q, R, T, 20)
    good = dict(times=[1.0], key=KEY)
    with pytest.raises(ValueError, match="shapes"):
        committee_sgd(CommitteeSGD(0.1), (W, np.ones(3)), (V, ONES), relu_pairs, **good)
    with pytest.raises(ValueError, match="shapes"):
        committee_sgd(CommitteeSGD(0.1), (W[:, :-1], ONES), (V, ONES), relu_pairs, **good)
    for times in ([], [1.0, 0.5], [-1.0], [math.nan]):
        with pytest.raises(ValueError, match="increasing times"):
            run(CommitteeSGD(0.1), times=times)
    with pytest.raises(ValueError, match="2\\^31"):
        run(CommitteeSGD(0.1), times=[1e9])
    for seeds in (0, True, 1.5):
        with pytest.raises(ValueError, match="seeds"):
            run(CommitteeSGD(0.1), seeds=seeds)
    for padded in (19, True, 20.5):
        with pytest.raises(ValueError, match="padded_dim"):
            run(CommitteeSGD(0.1), padded_dim=padded)
    for dim in (3, True, 8.0):
        with pytest.raises(ValueError, match="dimension of at least 4"):
            weights_with_overlaps(Q, R, T, dim)
    with pytest.raises(ValueError, match="negative eigenvalue"):
        weights_with_overlaps(Q, 3 * R, T, 9)
