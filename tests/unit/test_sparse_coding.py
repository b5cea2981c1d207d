"""Dictionary models: frequencies of every case, labels by brute force, and what is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.dynamics.base import cast
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.sparse_coding import CodedParity, StructuredParity

ROTATION = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))[0]
MANY = 40_000


def structured(blocks=3, size=3, probability=0.1, background=0.2):
    return StructuredParity(ROTATION, blocks, size, probability, background)


def test_every_kind_of_sample_has_its_frequency(getkey):
    """Each block's two signs come with p_A each; the other relevant patterns are uniform."""
    task = structured()
    phi, _ = (np.asarray(part) for part in task.sample_hidden(MANY, key=getkey()))
    relevant = phi[:, :9].reshape(MANY, 3, 3)
    for j, sign in itertools.product(range(3), (1, -1)):
        others = np.delete(relevant, j, axis=1)
        hit = np.all(relevant[:, j] == sign, axis=1) & np.all(others == 0, axis=(1, 2))
        assert_within_sem(*mean_and_error(hit.astype(float)), 0.1)
    uniform = np.all(relevant != 0, axis=(1, 2))
    assert_within_sem(*mean_and_error(uniform.astype(float)), task.uniform_weight)
    signs = relevant[uniform].reshape(-1, 9)
    assert_within_sem(*mean_and_error(signs), 0.0)
    assert_within_sem(*mean_and_error(signs[:, :, None] * signs[:, None, :]), np.eye(9))
    background = phi[:, 9:]
    for value in (1, -1):
        assert_within_sem(*mean_and_error((background == value).astype(float)), 0.2)


def test_inputs_are_the_dictionary_times_the_hidden_units(getkey):
    """x = M phi, and the label is the sign of the summed products of the blocks."""
    task, key = structured(), getkey()
    phi, y = (np.asarray(part) for part in task.sample_hidden(500, key=key))
    x, labels = (np.asarray(part) for part in task.sample(500, key=key))
    np.testing.assert_allclose(x, phi @ ROTATION.T, atol=1e-14)
    expected = [
        np.sign(sum(np.prod(row[3 * j : 3 * j + 3]) for j in range(3))) for row in x @ ROTATION
    ]
    np.testing.assert_array_equal(np.sign(np.round(expected)), labels)
    np.testing.assert_array_equal(y, labels)
    assert set(np.unique(y)) == {-1.0, 1.0}


def test_features_are_the_normalised_sums_of_blocks():
    """D_j is a unit vector whose hidden units are 1 / sqrt(k) in block j and 0 elsewhere."""
    hidden = np.asarray(structured().features) @ ROTATION
    expected = np.zeros((3, 12))
    for j in range(3):
        expected[j, 3 * j : 3 * j + 3] = 3**-0.5
    np.testing.assert_allclose(hidden, expected, atol=1e-14)


def test_without_structure_nothing_but_the_parity_is_seen(getkey):
    """p_A = 0: relevant units are uniform and no single one correlates with the label."""
    task = structured(blocks=1, probability=0.0)
    phi, y = (np.asarray(part) for part in task.sample_hidden(MANY, key=getkey()))
    assert task.uniform_weight == 1.0
    assert_within_sem(*mean_and_error(phi * y[:, None]), 0.0)
    np.testing.assert_array_equal(y, np.prod(phi[:, :3], axis=1))


def test_coded_parity_is_standardised_and_labelled(getkey):
    """Hidden units have mean 0 and variance 1; the label is the parity of the relevant ones."""
    task = CodedParity(ROTATION[:, :10], 3, 0.5, 0.3)
    x, y = (np.asarray(part) for part in task.sample(MANY, key=getkey()))
    phi = x @ ROTATION[:, :10]
    assert_within_sem(*mean_and_error(phi), 0.0)
    assert_within_sem(*mean_and_error(phi**2), 1.0)
    relevant = np.round(phi[:, :3])
    assert set(np.unique(relevant)) == {-1.0, 1.0}
    np.testing.assert_array_equal(y, np.prod(relevant, axis=1))
    equal = np.abs(relevant.sum(axis=1)) == 3
    assert_within_sem(*mean_and_error(equal.astype(float)), 0.5 + 0.5 * 2 / 8)
    # E y phi_i is the structured share for each relevant unit, 0 for the others
    assert_within_sem(*mean_and_error(phi * y[:, None]), [0.5] * 3 + [0.0] * 7)
    np.testing.assert_allclose(np.asarray(task.feature) @ ROTATION[:, :3], 3**-0.5, atol=1e-14)


@pytest.mark.parametrize("task", [structured(), CodedParity(ROTATION, 3)])
def test_single_precision_stays_single(task, getkey):
    """A dictionary in single precision draws samples in single precision."""
    single = cast(task, jnp.float32)
    x, y = single.sample(5, key=getkey())
    assert x.dtype == y.dtype == np.float32
    direction = single.features if isinstance(task, StructuredParity) else single.feature
    assert direction.dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.eye(4) * 2, 1, 3, 0.1, 0.1), "orthonormal"),
        ((np.eye(4)[:, :3], 1, 3, 0.1, 0.1), "square"),
        ((np.eye(4), 2, 1, 0.1, 0.1), "odd"),
        ((np.eye(4), 1, 2, 0.1, 0.1), "odd"),
        ((np.eye(4), 3, 3, 0.1, 0.1), "at least 9"),
        ((np.eye(4), 1, 3, 0.6, 0.1), "1 / "),
        ((np.eye(4), 1, 3, 0.1, 0.7), "between 0 and 1/2"),
        ((np.full((4, 4), np.nan), 1, 3, 0.1, 0.1), "NaN"),
    ],
)
def test_structured_parity_refuses(arguments, words):
    """One sentence on what is wrong."""
    with pytest.raises(ValueError, match=words):
        StructuredParity(jnp.asarray(arguments[0]), *arguments[1:])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"relevant": 2}, "odd"),
        ({"relevant": 5}, "at most 4"),
        ({"structured": 1.5}, "share"),
        ({"background": 0.0}, "inside"),
        ({"relevant": 0}, "at least 1"),
    ],
)
def test_coded_parity_refuses(changes, words):
    """One sentence on what is wrong."""
    with pytest.raises(ValueError, match=words):
        CodedParity(jnp.eye(4), **{"relevant": 3, **changes})


@pytest.mark.parametrize("probability", [0.129, 0.138, 1 / 6])
def test_rounding_leaves_no_sample_without_a_label(monkeypatch, probability):
    """The last number below ``2 r p_A`` belongs to the last block, whatever the division gives."""
    task = StructuredParity(jnp.eye(9, dtype=jnp.float32), 3, 3, probability, 0.1)
    end = np.float32(1 - task.uniform_weight)  # numbers are drawn in steps of 2^-23
    last = np.float32((np.ceil(float(end) * 2**23) - 1) / 2**23)
    monkeypatch.setattr(
        jax.random, "uniform", lambda key, shape=(), dtype=float: jnp.full(shape, last, dtype)
    )
    phi, y = task.sample_hidden(3, key=jax.random.key(0))
    np.testing.assert_array_equal(phi[:, 6:9], -np.ones((3, 3)))
    np.testing.assert_array_equal(y, -np.ones(3))
