"""Lower bounds for kernels, against enumeration of corners, parities and best weights."""

import itertools
import math

import numpy as np
import pytest

from helpers import assert_allclose
from twolayer.theory.gradient_features.hinge_programme import least_hinge
from twolayer.theory.gradient_features.kernel_bounds import (
    average_kernel_bound,
    corners,
    kernel_bound,
    parity_correlations,
    parity_eigenvalue,
    published_kernel_bound,
    statistical_queries,
)
from twolayer.theory.kernels import random_feature_kernel

DIM, DEGREE, FEATURES = 6, 3, 10


def feature_map(seed=0):
    W = np.random.default_rng(seed).standard_normal((DIM, FEATURES))
    return lambda x: np.sin(x @ W)


def test_correlations_by_their_definition():
    """The transform gives the mean of parity times features at all corners, for each parity."""
    sets, lengths = parity_correlations(feature_map(), DIM, DEGREE)
    x = np.asarray(list(itertools.product([1.0, -1.0], repeat=DIM)))
    assert_allclose(corners(DIM), x)
    psi = feature_map()(x)
    direct = [np.linalg.norm(np.mean(np.prod(x[:, A], axis=1)[:, None] * psi, 0)) for A in sets]
    assert_allclose(lengths, direct, loss=1e-6)
    assert len(sets) == math.comb(DIM, DEGREE)


@pytest.mark.parametrize("norm", [0.5, 4.0])
def test_the_best_weights_do_no_better(norm):
    """The least hinge loss over the ball, by linear programming, is above every bound.

    For small weights it is the bound itself, since all outputs stay within [-1, 1].
    """
    psi = feature_map()(corners(DIM))
    sets, lengths = parity_correlations(feature_map(), DIM, DEGREE)
    least = []
    for A, length in zip(sets[:6], lengths[:6], strict=True):
        y = np.prod(corners(DIM)[:, A], axis=1)
        least.append(least_hinge(psi, y, norm=norm)[1])
        assert least[-1] >= 1 - norm * length - 1e-9
    mean = average_kernel_bound(lengths[:6], norm)
    if norm == 0.5:
        assert abs(np.mean(least) - mean) < 1e-5  # the programme's gap
    else:
        assert np.mean(least) > mean + 0.05
    energy = float(np.mean(np.sum(psi**2, axis=1)))
    assert kernel_bound(energy, norm, DIM, DEGREE) <= average_kernel_bound(lengths, norm)
    assert kernel_bound(FEATURES, norm, DIM, DEGREE) <= kernel_bound(energy, norm, DIM, DEGREE)


def test_parseval_is_attained():
    """Features that are the parities themselves have the correlations of the bound."""
    sets = list(itertools.combinations(range(DIM), DEGREE))

    def parities(x):
        return np.stack([np.prod(x[:, A], axis=1) for A in sets], axis=1)

    lengths = parity_correlations(parities, DIM, DEGREE)[1]
    bound = kernel_bound(len(sets), 0.7, DIM, DEGREE)
    assert_allclose(bound, average_kernel_bound(lengths, 0.7))
    assert_allclose(bound, 0.3)


@pytest.mark.parametrize("activity", [0.0, 0.4, 1.0])
def test_sparse_backgrounds_by_enumeration(activity):
    """With units that are 0 at times the mean over all parities is above the bound."""
    rest = DIM - DEGREE
    units = np.asarray(list(itertools.product([-1.0, 0.0, 1.0], repeat=rest)))
    busy = np.sum(units != 0, axis=1)
    weight = (activity / 2) ** busy * (1 - activity) ** (rest - busy)
    signs = np.asarray(list(itertools.product([-1.0, 1.0], repeat=DEGREE)))
    lengths = []
    for A in itertools.combinations(range(DIM), DEGREE):
        others = [i for i in range(DIM) if i not in A]
        total = 0.0
        for sign in signs:
            x = np.zeros((len(units), DIM))
            x[:, A], x[:, others] = sign, units
            total = total + np.prod(sign) / len(signs) * (weight @ feature_map(1)(x))
        lengths.append(np.linalg.norm(total))
    for share in (1.0, 0.5):
        bound = kernel_bound(FEATURES, 0.3, DIM, DEGREE, uniform_weight=share, activity=activity)
        assert bound <= average_kernel_bound(np.asarray(lengths), 0.3, uniform_weight=share)
    sizes = DEGREE + rest * int(activity)  # of the cube, where that is certain
    if activity != 0.4:
        known = 1 - 0.3 * math.sqrt(FEATURES / math.comb(sizes, DEGREE))
        assert_allclose(kernel_bound(FEATURES, 0.3, DIM, DEGREE, activity=activity), max(known, 0))


def test_eigenvalues_of_a_kernel():
    """By enumeration of pairs; and the bound of an eigenvalue is attained by the parity itself."""
    x, dim = corners(5), 5

    def kappa(s):
        first = np.concatenate([math.sqrt(dim) * np.ones((1, 1)), np.zeros((1, 1))], axis=1)
        s = np.atleast_1d(s) / math.sqrt(dim)
        second = np.stack([s, np.sqrt(np.maximum(dim - s**2, 0))], axis=1)
        return random_feature_kernel(first, second, bias=0.4)[0]

    K = random_feature_kernel(x, bias=0.4)
    for degree in range(dim + 1):
        chi = np.prod(x[:, :degree], axis=1)
        value = parity_eigenvalue(kappa, dim, degree)
        assert abs(value - chi @ K @ chi / len(x) ** 2) < 1e-10  # opposite corners
        assert np.max(np.abs(K @ chi / len(x) - value * chi)) < 1e-10
    roots = np.linalg.eigh(K)
    psi = roots[1] * np.sqrt(np.maximum(roots[0], 0))  # features of the kernel at the corners
    value = parity_eigenvalue(kappa, dim, 2)
    chi = x[:, 0] * x[:, 1]
    for norm in (0.5, 0.9):
        least = least_hinge(psi, chi, norm=norm / math.sqrt(value))[1]
        assert abs(least - (1 - norm)) < 1e-5  # the programme's gap


def test_a_parity_that_is_learnt_does_not_pay_for_another():
    """A loss is not negative: of two parities one is known, and half of the other's is left."""
    assert average_kernel_bound(np.asarray([2.0, 0.1]), 1.0) == pytest.approx(0.45)


def test_published_bounds():
    """The constants of the published statements, and that ours is the stronger in their range."""
    assert_allclose(published_kernel_bound(8, 0.5, 5, 0.25), 0.25 * (1 - 4 * 0.5 / 32))
    assert published_kernel_bound(1e9, 1.0, 5, 0.5) == 0.0
    # k <= D / 16, uniform background
    assert kernel_bound(50, 1.0, 80, 5) > published_kernel_bound(50, 1.0, 5, 0.5)
    assert_allclose(statistical_queries(9, 3) ** 3, 84 / 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: published_kernel_bound(5, 1.0, 4, 0.5), "odd number"),
        (lambda: published_kernel_bound(5, -1.0, 5, 0.5), "norm of at least 0"),
        (lambda: kernel_bound(0, 1.0, 5, 2), "features"),
        (lambda: kernel_bound(5, 1.0, 5, 6), "relevant units"),
        (lambda: kernel_bound(5, 1.0, 5, 2, activity=2.0), "shares"),
        (lambda: average_kernel_bound(np.zeros(0), 1.0), "0 correlations"),
        (lambda: average_kernel_bound(np.ones(1), 1.0, uniform_weight=2.0), "a share"),
        (lambda: parity_correlations(lambda x: x, 20, 2), "all corners"),
        (lambda: parity_eigenvalue(lambda s: s, 3, 4), "degree between"),
        (lambda: statistical_queries(3, 4), "degree between"),
    ],
)
def test_bad_input(call, message):
    """Numbers out of their range are refused."""
    with pytest.raises(ValueError, match=message):
        call()
