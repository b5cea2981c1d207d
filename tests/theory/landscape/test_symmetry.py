"""Classes under permutations against brute force over the whole group."""

import itertools

import numpy as np
import pytest

from twolayer.theory.landscape import (
    census,
    critical_point,
    family,
    least_eigenvalue,
    split_neuron,
    symmetry_class,
)

RNG = np.random.default_rng(21)


def orbits_of_rows(M):
    """Sizes of the orbits of rows under all pairs of permutations that leave M alone."""
    n, k = M.shape
    label = list(range(n))
    for rows in itertools.permutations(range(n)):
        for columns in itertools.permutations(range(k)):
            if np.array_equal(M[np.ix_(rows, columns)], M):
                for i, j in enumerate(rows):
                    low, high = sorted((label[i], label[j]))
                    label = [low if x == high else x for x in label]
    return sorted(label.count(x) for x in set(label))


MATRICES = {
    "all alike": np.eye(4) * 0.7 + 0.1,
    "one apart": np.diag([-0.6, 1.0, 1.0, 1.0]) + 0.2,
    "pairs": np.kron(np.eye(2), np.array([[0.5, 0.1], [0.1, 0.5]])),
    "unlike pairs": np.diag([1.0, 1.0, 2.0, 2.0]),
    "rows of two kinds": np.array([[1, 0, 0.3], [0, 1, 0.3], [0.2, 0.2, -1], [0.2, 0.2, -1]]),
    "no symmetry": np.arange(12.0).reshape(4, 3) ** 1.5,
    "cycle": np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]]) * 0.5,
}


@pytest.mark.parametrize("name", MATRICES)
def test_classes_are_orbits(name):
    M = MATRICES[name]
    found = symmetry_class(M)
    assert sorted(found.neurons) == orbits_of_rows(M)
    assert sorted(found.teachers) == orbits_of_rows(M.T)


@pytest.mark.parametrize("name", MATRICES)
def test_classes_do_not_depend_on_the_order(name):
    M = MATRICES[name]
    first = symmetry_class(M)
    rows, columns = RNG.permutation(len(M)), RNG.permutation(M.shape[1])
    shuffled = symmetry_class(M[np.ix_(rows, columns)] + 1e-9 * RNG.normal(size=M.shape))
    assert shuffled.neurons == first.neurons
    for a in range(len(first.neurons)):  # the same neurons, where their class has a name of its own
        if first.neurons.count(first.neurons[a]) == 1:
            assert set(rows[shuffled.neuron_labels == a]) == set(
                np.flatnonzero(first.neuron_labels == a)
            )


def test_classes_of_a_spurious_minimum_name_its_overlaps():
    W = family((1, 6)).weights
    found = symmetry_class(W[RNG.permutation(7)])
    assert (found.name, found.teachers) == ("1+6", (1, 6))
    # quoted from the published point: diagonal and off-diagonal of the six, row and column
    np.testing.assert_allclose(found.own[1], 0.9969227988, atol=1e-9)
    published = [[-0.6327039049, 0.1859910463], [0.2616910758, -0.0350801559]]
    np.testing.assert_allclose(found.overlaps, published, atol=2e-9)


@pytest.mark.parametrize("sizes", [(1, 6), (3, 8), (8, 3), (6, 6)])
def test_a_family_has_its_own_class(sizes):
    assert symmetry_class(family(sizes).weights).neurons == sizes


def test_kinds_of_critical_points():
    V = np.eye(7)
    W = family((1, 6)).weights
    assert critical_point(W, V).kind == "spurious minimum"
    assert critical_point(W, V).norm_sum == pytest.approx(6.981728819602194 / 7, abs=1e-9)
    # splitting any of the seven makes a saddle, as descent's Hessian of the split network says
    least = [least_eigenvalue(split_neuron(W, i), V) for i in range(7)]
    assert critical_point(W, V).splits == np.sum(np.array(least) < -1e-3) == 7
    assert critical_point(split_neuron(W, 2), V).kind == "saddle"
    assert critical_point(V[::-1], V).kind == "global minimum"
    assert critical_point(split_neuron(V, 0, share=0.1), V).kind == "global minimum"
    assert critical_point(W + 1e-4, V).kind == "not critical"
    # all neurons on one spot: a saddle by symmetry where it is critical at all
    saddle = critical_point(np.vstack([W, 0 * W[:1]]), V)
    assert saddle.kind in {"degenerate", "not critical"}


@pytest.mark.parametrize("scale", [1e-3, 40.0])
def test_kinds_do_not_depend_on_units(scale):
    """Teacher, student and the rest of a descent scaled alike stay what they are."""
    V = np.eye(7)
    for weights in (family((1, 6)).weights, split_neuron(family((1, 6)).weights, 2), V):
        near = weights + 1e-9 * RNG.normal(size=weights.shape)
        one, other = critical_point(near, V), critical_point(scale * near, scale * V)
        assert one.kind == other.kind
        assert other.loss == pytest.approx(scale**2 * one.loss, rel=1e-9, abs=1e-15 * scale**2)
        assert other.norm_sum == pytest.approx(one.norm_sum, rel=1e-12)
        np.testing.assert_allclose(other.least_eigenvalue, one.least_eigenvalue, rtol=1e-6)


def test_census_counts_modulo_permutations():
    V = np.eye(12)
    ends = [V] * 3
    for sizes, count in (((1, 11), 4), ((2, 10), 2)):
        W = family(sizes).weights
        ends += [
            W[np.ix_(RNG.permutation(12), RNG.permutation(12))] + 1e-9 * RNG.normal(size=(12, 12))
            for _ in range(count)
        ]
    order = RNG.permutation(len(ends))
    groups = census([critical_point(ends[i], V) for i in order])
    names = [group.first.symmetry.name if group.first.symmetry else "global" for group in groups]
    assert list(zip(names, [group.count for group in groups], strict=True)) == [
        ("global", 3), ("1+11", 4), ("2+10", 2),
    ]  # fmt: skip
    assert sorted(run for group in groups for run in group.runs) == list(range(9))


@pytest.mark.parametrize("bad", [np.ones(3), np.zeros((0, 2)), np.array([[np.nan]])])
def test_bad_overlaps_are_refused(bad):
    with pytest.raises(ValueError, match="finite matrix of overlaps"):
        symmetry_class(bad)


def test_a_bad_tolerance_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        symmetry_class(np.eye(2), tolerance=0.0)
