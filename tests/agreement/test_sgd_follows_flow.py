"""Finite networks against the mean-field flow: the gap shrinks with size, wrong flows fail.

Theory and training share only the nouns, so their agreement tests both.
"""

import math
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from twolayer.activations import cos_sin
from twolayer.compare import compare, compare_sizes
from twolayer.dynamics import SGD, GradientFlow, simulate
from twolayer.inputs import Gaussian
from twolayer.networks import mean_field_network
from twolayer.targets import Polynomial
from twolayer.tasks import Regression
from twolayer.theory.mean_field import mean_field_flow

TARGET = Polynomial("z1 + z1*z2")
TIMES = np.linspace(0.0, 5.0, 6)
SIZES = (16, 64, 256)


@pytest.fixture(scope="module")
def flow():
    return mean_field_flow(TARGET, activation=cos_sin, times=TIMES).loss


@pytest.fixture(scope="module")
def sgd():
    return [train(SGD(0.1 / d * math.sqrt(SIZES[0] / d)), d) for d in SIZES]


def train(dynamics, d, width=None, seeds=8):
    return simulate(
        dynamics,
        partial(mean_field_network, width or 2 * d, d, cos_sin),
        Regression(Gaussian(d), TARGET),
        times=TIMES,
        seeds=seeds,
        key=jax.random.key(5),
    )


@pytest.mark.slow
def test_the_gap_between_sgd_and_the_flow_shrinks_with_size(flow, sgd):
    """SGD's loss approaches the flow at d = infinity at least like d^-1/2."""
    convergence = compare_sizes(flow, sgd, SIZES)
    assert convergence.verdict == "agrees", convergence.reason
    assert convergence.gap[-1] < convergence.gap[0] / 3


WRONG = {
    "half the speed": lambda flow: replace(flow, value=np.interp(TIMES / 2, TIMES, flow.value)),
    "twice the loss": lambda flow: replace(flow, value=2 * flow.value),
    "another target": lambda flow: (
        mean_field_flow(Polynomial("z1 + 2*z1*z2"), activation=cos_sin, times=TIMES).loss
    ),
    "another activation": lambda flow: mean_field_flow(TARGET, activation="tanh", times=TIMES).loss,
}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_flow_is_found_out(flow, sgd, wrong):
    """The gap to a wrong flow does not shrink: time or loss off by 2, wrong target, wrong sigma."""
    assert compare_sizes(wrong(flow), sgd, SIZES).verdict == "disagrees"


@pytest.mark.slow
def test_wide_networks_follow_the_exact_finite_dimension_flow():
    """At d = 20 gradient flow of wide networks meets the flow at d = 20, not the one at infinity.

    The mean over seeds differs from infinite width by a term of order 1 / width.
    """
    width = 800
    run = train(GradientFlow(), 20, width=width, seeds=12)
    finite = mean_field_flow(TARGET, activation=cos_sin, times=TIMES, dim=20).loss
    limit = mean_field_flow(TARGET, activation=cos_sin, times=TIMES).loss
    assert compare(finite, run, tolerance=2 / width).verdict == "agrees"
    assert compare(limit, run, tolerance=2 / width).verdict == "disagrees"
