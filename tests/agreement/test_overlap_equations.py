"""One-pass SGD against the equations of its overlaps: both layers, noise and decay."""

import jax
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.dynamics.committee_sgd import CommitteeSGD, committee_sgd, weights_with_overlaps
from twolayer.pair_kernels import erf_pairs, relu_pairs
from twolayer.theory.order_parameters import (
    Committee,
    erf_integrals,
    online_learning,
    relu_integrals,
)

RATES = {"second_layer_rate": 0.4, "weight_decay": 0.1, "noise_std": 0.5}
START = Committee(
    [[0.5, 0.1], [0.1, 0.6]], [[0.2, -0.1], [0.05, 0.25]], np.eye(2), [1.0, 0.7], [1.0, -0.8]
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "integrals", "rate"),
    [(erf_pairs, erf_integrals, 0.8), (relu_pairs, relu_integrals, 0.5)],
    ids=["erf", "relu"],
)
def test_both_layers_with_noise_and_decay_follow_the_equations(pairs, integrals, rate):
    """Risk, overlaps and output weights of SGD are those of the equations; each term is needed.

    Runs of 200 inputs have a bias of about the value over 200 in the mean, which is added to the
    error.
    """
    dim, times = 200, np.array([0.5, 1.0, 3.0])
    W, V = weights_with_overlaps(START.Q, START.R, START.T, dim)
    run = committee_sgd(
        CommitteeSGD(rate, **RATES), (W, START.student_weights), (V, START.teacher_weights), pairs,
        times=times, seeds=400, key=jax.random.key(11),
    )  # fmt: skip
    seen = {"risk": run.risk.value, "Q": run.Q, "R": run.R, "v": run.student_weights}

    def solved(**changed):
        flow = online_learning(
            START, integrals, times, **{"learning_rate": rate, **RATES, **changed}
        )
        return {"risk": flow.risk.value, "Q": flow.Q, "R": flow.R, "v": flow.student_weights}

    def excess(flow):
        """How many of its margins the worst quantity is away."""
        worst = 0.0
        for name, value in seen.items():
            error = value.std(axis=0) / np.sqrt(len(value))
            margin = 4 * error + 2 / dim * np.max(np.abs(flow[name]))
            worst = max(worst, float(np.max(np.abs(value.mean(axis=0) - flow[name]) / margin)))
        return worst

    whole = solved()
    assert excess(whole) < 1
    error = run.risk.value.std(axis=0) / 20
    assert_within_sem(run.risk.value.mean(axis=0), error + whole["risk"] / dim, whole["risk"])
    for wrong in (
        {"quadratic_term": False},
        {"noise_std": 0.0},
        {"weight_decay": 0.0},
        {"second_layer_rate": 0.0},
        {"learning_rate": 2 * rate},
    ):
        assert excess(solved(**wrong)) > 1.5, wrong
