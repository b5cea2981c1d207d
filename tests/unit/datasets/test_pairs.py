import dataclasses

import equinox as eqx
import numpy as np
import pytest
from scipy import linalg
from sklearn.datasets import load_digits

from helpers import assert_within_sem
from twolayer.datasets import fashion_mnist, gaussian_surrogate, image_pair
from twolayer.numerics.montecarlo import mean_and_error

LABELS = np.repeat([3, 8, 5], [40, 70, 10])
IMAGES = np.random.default_rng(1).gamma(
    1.0, np.where(LABELS == 8, 3.0, 1.0)[:, None, None] * np.array([[1.0, 2.0, 0.5]]), (120, 2, 3)
)
IMAGES[:, 1] += 0.7 * IMAGES[:, 0]  # correlated pixels, classes of unequal mean and covariance
DATA = (IMAGES, LABELS)


def by_hand(first, second, variant, equal_traces, strength):
    """The paper's steps one after the other: shift, multiply the second class, then both."""
    pools = [IMAGES[np.equal(LABELS, c)].reshape(-1, 6) for c in (first, second)]
    means = [pool.mean(axis=0) for pool in pools]
    middle = (means[0] + means[1]) / 2
    pools = [
        p - (m if variant == "demeaned" else middle) for p, m in zip(pools, means, strict=True)
    ]
    traces = [np.trace(np.cov(pool.T, bias=True)) for pool in pools]
    if equal_traces:
        pools[1] = pools[1] * np.sqrt(traces[0] / traces[1])
        trace = traces[0]
    else:
        trace = (traces[0] + traces[1]) / 2
    return [np.sqrt(strength / trace) * pool for pool in pools]


@pytest.mark.parametrize("variant", ["demeaned", "means-kept"])
@pytest.mark.parametrize("equal_traces", [True, False])
@pytest.mark.parametrize("strength", [None, 2.5])
def test_images_are_standardised_step_by_step(variant, equal_traces, strength):
    """The pools are those of the paper's steps, their moments those of the pools plus noise."""
    pair = image_pair(DATA, 3, 8, variant=variant, equal_traces=equal_traces, strength=strength)
    first, second = by_hand(3, 8, variant, equal_traces, strength or 6)
    np.testing.assert_allclose(pair.first, first, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(pair.second, second, rtol=1e-12, atol=1e-13)
    for c, pool in enumerate((first, second)):
        covariance = np.cov(pool.T, bias=True) + np.eye(6)
        np.testing.assert_allclose(pair.covariances[c], covariance, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(pair.means[c], pool.mean(axis=0), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(pair.traces[c], np.trace(covariance), rtol=1e-12)


def test_variants_are_what_they_say():
    """Demeaned classes have mean 0; kept means are opposite before scaling; traces are equal."""
    demeaned = image_pair(DATA, 3, 8)
    np.testing.assert_allclose(demeaned.means, 0, atol=1e-14)
    np.testing.assert_allclose(demeaned.traces, 12.0, rtol=1e-13)
    kept = image_pair(DATA, 3, 8, variant="means-kept")
    np.testing.assert_allclose(kept.traces, 12.0, rtol=1e-13)
    unscaled = kept.means / np.asarray(kept.scales)[:, None]
    np.testing.assert_allclose(unscaled[0], -unscaled[1], rtol=1e-12)
    distance = IMAGES[LABELS == 3].mean(axis=0) - IMAGES[LABELS == 8].mean(axis=0)
    np.testing.assert_allclose(2 * unscaled[0], distance.ravel(), rtol=1e-12)
    unequal = image_pair(DATA, 3, 8, equal_traces=False).traces - 6
    assert unequal[1] > 2 * unequal[0]
    np.testing.assert_allclose(unequal.mean(), 6.0, rtol=1e-13)


def test_the_unit_of_the_pixels_has_no_effect():
    """Images in other units make the same pair, bytes in particular."""
    pair = image_pair(DATA, 3, 8, variant="means-kept")
    other = image_pair((1000 * IMAGES, LABELS), 3, 8, variant="means-kept")
    np.testing.assert_allclose(other.first, pair.first, rtol=1e-10, atol=1e-12)
    whole = np.minimum(20 * IMAGES, 255).astype(np.uint8)
    as_bytes, as_floats = (image_pair((x, LABELS), 3, 8) for x in (whole, whole / 2.0))
    np.testing.assert_allclose(as_bytes.second, as_floats.second, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(as_bytes.scales, 255 / 2 * as_floats.scales, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["demeaned", "means-kept"])
@pytest.mark.parametrize("equal_traces", [True, False])
def test_samples_and_surrogate_have_the_stated_moments(getkey, variant, equal_traces):
    """Noisy images and Gaussians have means and covariances within their standard errors."""
    pair = image_pair(DATA, 3, 8, variant=variant, equal_traces=equal_traces)
    for task in (pair, gaussian_surrogate(pair)):
        x, y = (np.asarray(part) for part in task.sample(40_000, key=getkey()))
        assert x.shape == (40_000, 6)
        for c, label in enumerate((1.0, -1.0)):
            own = x[y == label]
            centred = own - pair.means[c]
            assert len(own) == 20_000
            assert_within_sem(*mean_and_error(own), pair.means[c])
            squares = centred[:, :, None] * centred[:, None, :]
            assert_within_sem(*mean_and_error(squares), pair.covariances[c])


def test_samples_are_images_and_surrogates_are_not(getkey):
    """Third moments are the images' own: the surrogate matches two moments only."""
    pair = image_pair(DATA, 3, 8, strength=600.0)
    third = (np.asarray(pair.first) ** 3).mean(axis=0)
    for task, expected in ((pair, third), (gaussian_surrogate(pair), 0 * third)):
        x, y = (np.asarray(part) for part in task.sample(40_000, key=getkey()))
        mean, error = mean_and_error(x[y == 1.0] ** 3)
        assert_within_sem(mean, error, expected)
        assert np.max(np.abs(third / error)) > 8  # so the other's moments would not pass


@pytest.mark.slow
@pytest.mark.parametrize(("num_samples", "proportion"), [(10, 0.5), (7, 0.5), (10, 0.3), (10, 0.0)])
def test_balanced_samples_hold_the_first_class_first(getkey, num_samples, proportion):
    """Counts are exact, and the same as the surrogate's; every x belongs to its label's pool."""
    pair = image_pair(DATA, 3, 8, proportion=proportion, strength=1e8)
    x, y = pair.sample(num_samples, key=getkey())
    assert np.all(np.diff(np.asarray(y)) <= 0)
    assert abs(np.sum(np.asarray(y) == 1) - proportion * num_samples) <= 0.5
    np.testing.assert_array_equal(y, gaussian_surrogate(pair).sample(num_samples, key=getkey())[1])
    for point, label in zip(np.asarray(x), np.asarray(y), strict=True):
        pool = np.asarray(pair.first if label == 1 else pair.second)
        assert np.min(np.max(np.abs(pool - point), axis=1)) < 6  # noise of unit size, images of 1e4


def test_independent_classes_have_the_stated_frequency(getkey):
    """Without balance, classes come in random order with the stated share."""
    pair = image_pair(DATA, 3, 8, proportion=0.2, balanced=False)
    y = np.asarray(pair.sample(10_000, key=getkey())[1])
    assert_within_sem(*mean_and_error((y == 1).astype(float)), 0.2)
    assert np.any(np.diff(y) > 0)
    assert not gaussian_surrogate(pair).inputs.balanced


def test_every_image_is_drawn_as_often(getkey):
    """Rows come with replacement and equal frequency."""
    pair = image_pair(DATA, 3, 8, strength=1e12)
    x, y = (np.asarray(part) for part in pair.sample(20_000, key=getkey()))
    pool = np.asarray(pair.second)
    rows = np.argmin(np.abs(x[y == -1.0][:, None, 0] - pool[None, :, 0]), axis=1)
    assert_within_sem(*mean_and_error(1.0 * (rows[:, None] == np.arange(70))), 1 / 70)


def test_split_parts_share_no_image(getkey):
    """The parts hold each image once between them, and keep the scales of the whole."""
    pair = image_pair(DATA, 3, 8, proportion=0.4)
    train, test = pair.split(0.75, key=getkey())
    assert (len(train.first), len(train.second)) == (30, round(0.75 * 70))
    for pool in ("first", "second"):
        parts = np.concatenate([getattr(train, pool), getattr(test, pool)])
        whole = np.asarray(getattr(pair, pool))
        assert not np.array_equal(parts, whole)
        np.testing.assert_array_equal(*(np.sort(rows[:, 0]) for rows in (parts, whole)))
    for part in (train, test):
        np.testing.assert_array_equal(part.scales, pair.scales)
        np.testing.assert_array_equal(part.shifts, pair.shifts)
        assert (float(part.proportion), part.classes, part.balanced) == (0.4, (3, 8), True)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1, -0.1, 0.001, float("nan"), True, "half"])
def test_a_split_with_an_empty_part_is_refused(getkey, fraction):
    """Both parts need images of both classes."""
    with pytest.raises(ValueError, match="Expected a fraction that leaves images of each class"):
        image_pair(DATA, 3, 8).split(fraction, key=getkey())


def test_other_images_under_the_same_scales():
    """Held-out images are shifted and scaled by the training images' moments, not their own."""
    train, test = (IMAGES[::2], LABELS[::2]), (IMAGES[1::2], LABELS[1::2])
    pair = image_pair(train, 3, 8, variant="means-kept")
    held_out = pair.with_images(test)
    own = IMAGES[1::2][LABELS[1::2] == 8].reshape(-1, 6)
    expected = (own - np.asarray(pair.shifts[1])) * float(pair.scales[1])
    np.testing.assert_allclose(held_out.second, expected, rtol=1e-12)
    np.testing.assert_allclose(pair.with_images(train).first, pair.first, rtol=1e-12, atol=1e-13)
    with pytest.raises(ValueError, match=r"Expected images of 6 pixels\. Received: 3"):
        pair.with_images((IMAGES[:, 0], LABELS))
    with pytest.raises(ValueError, match=r"labels 3, 5\. Received: 8"):
        pair.with_images((IMAGES[LABELS != 8], LABELS[LABELS != 8]))


def test_pairs_of_equal_shape_share_one_compilation(getkey):
    """Images, scales and proportion are arrays: new values reuse the compiled sampler."""
    traces = []

    @eqx.filter_jit
    def sample(task, key):
        traces.append(1)
        return task.sample(4, key=key)

    pair = image_pair(DATA, 3, 8)
    for task in (pair, image_pair(DATA, 3, 8, proportion=0.1, strength=2.0, variant="means-kept")):
        sample(task, getkey())
    assert len(traces) == 1
    assert dataclasses.replace(pair, balanced=False).balanced is False


def test_other_data_sets():
    """scikit-learn's digits with classes named by numbers or by texts make the same pair."""
    digits = load_digits()
    pair = image_pair((digits.images, digits.target), 1, 7)
    assert (pair.dim, len(pair.first), len(pair.second)) == (64, 182, 179)
    named = image_pair((digits.data, digits.target.astype(str)), "1", "7")
    np.testing.assert_array_equal(named.first, pair.first)
    np.testing.assert_allclose(pair.traces, 128.0, rtol=1e-12)


def changed(value):
    images = IMAGES.copy()
    images[5, 0, 0] = value
    return images


@pytest.mark.parametrize(
    ("data", "first", "second", "options", "sentence"),
    [
        ((changed(np.nan), LABELS), 3, 8, {}, r"finite numbers\. Received: NaN or infinity"),
        ((changed(np.inf), LABELS), 3, 8, {}, r"finite numbers\. Received: NaN or infinity"),
        ((IMAGES, np.where(LABELS == 5, np.nan, LABELS)), 3, 8, {}, "infinity among the labels"),
        ((IMAGES.astype(complex), LABELS), 3, 8, {}, "Received: complex128 values"),
        ((IMAGES.astype(str), LABELS), 3, 8, {}, "Expected images of numbers"),
        ((IMAGES > 1, LABELS), 3, 8, {}, "Received: bool values"),
        (DATA, 3, 4, {}, r"Expected a class among the labels 3, 5, 8\. Received: 4"),
        (DATA, 3, "8", {}, r"Received: '8'"),
        (DATA, 3, 3, {}, r"two different classes\. Received: 3 twice"),
        ((np.ones((120, 6)) / 3, LABELS), 3, 8, {}, "differ within each class.*class 3"),
        ((IMAGES[39:], LABELS[39:]), 8, 3, {}, "a single one, of class 3"),
        ((IMAGES, LABELS[:-1]), 3, 8, {}, r"shapes \(120, 2, 3\) and \(119,\)"),
        ((IMAGES[:, 0, 0], LABELS), 3, 8, {}, r"shapes \(120,\) and \(120,\)"),
        ((IMAGES[:0], LABELS[:0]), 3, 8, {}, r"shapes \(0, 2, 3\)"),
        ((IMAGES[:, :0], LABELS), 3, 8, {}, r"shapes \(120, 0, 3\)"),
        ((IMAGES, LABELS[:, None]), 3, 8, {}, r"and \(120, 1\)"),
        (IMAGES, 3, 8, {}, "Expected a pair of images and labels. Received: a ndarray"),
        (DATA, 3, 8, {"variant": "centred"}, "one of demeaned, means-kept. Received: 'centred'"),
        (DATA, 3, 8, {"strength": 0.0}, r"strength above 0\. Received: 0\.0"),
        (DATA, 3, 8, {"strength": float("nan")}, "strength above 0"),
        (DATA, 3, 8, {"strength": float("inf")}, "strength above 0"),
        (DATA, 3, 8, {"strength": True}, "strength above 0"),
        (DATA, 3, 8, {"proportion": 1.2}, r"proportion in \[0, 1\]\. Received: 1\.2"),
        (DATA, 3, 8, {"proportion": float("nan")}, r"proportion in \[0, 1\]"),
    ],
)
def test_wrong_use_is_one_sentence(data, first, second, options, sentence):
    """What cannot be a pair is refused with what was expected and what was received."""
    with pytest.raises(ValueError, match=sentence) as caught:
        image_pair(data, first, second, **options)
    assert str(caught.value).startswith("Expected ")


@pytest.mark.parametrize(
    ("first", "second", "traces", "distance"),
    [(0, 1, (41.20, 25.74), 3.229), (5, 9, (40.03, 41.60), 3.512)],
)
def test_moments_of_the_real_images(real_images, first, second, traces, distance):
    """Traces and half mean distances, computed here from all pixels, are those of the pair."""
    pair = image_pair(real_images, first, second, variant="means-kept")
    scales = np.asarray(pair.scales)
    np.testing.assert_allclose(784 / scales**2, traces, atol=0.005)
    half = np.linalg.norm(pair.means, axis=1) / scales
    np.testing.assert_allclose(half, distance, atol=0.0005)
    np.testing.assert_allclose(pair.traces, 2 * 784, rtol=1e-12)
    pixels = real_images.images[real_images.labels == second].reshape(-1, 784) / 255
    np.testing.assert_allclose(np.trace(np.cov(pixels.T, bias=True)), traces[1], atol=0.005)


@pytest.mark.slow
def test_samples_of_the_real_images(real_images, getkey):
    """Sampled means, and variances along the leading directions, are the surrogate's."""
    pair = image_pair(real_images, 5, 9)
    mixture = gaussian_surrogate(pair).inputs
    np.testing.assert_allclose(mixture.covariances, pair.covariances, atol=1e-8)
    x, y = (np.asarray(part) for part in pair.sample(4000, key=getkey()))
    for c, label in enumerate((1.0, -1.0)):
        own = x[y == label]
        # 784 coordinates: five standard errors are exceeded by chance once in 2000 such tests
        assert_within_sem(*mean_and_error(own), pair.means[c], z=5.0)
        values, vectors = linalg.eigh(pair.covariances[c], subset_by_index=[779, 783])
        assert_within_sem(*mean_and_error((own @ vectors) ** 2), values)


def test_test_images_are_held_out(real_images):
    """The test images of a class, under the training images' scales: 1000 that are not in it."""
    pair = image_pair(real_images, 0, 1)
    held_out = pair.with_images(fashion_mnist(train=False))
    assert (len(held_out.first), len(held_out.second)) == (1000, 1000)
    # 1000 images have a mean within about sqrt(784 / 1000) of 0 and a trace near 784
    assert np.all(np.linalg.norm(held_out.means, axis=1) < 2)
    np.testing.assert_allclose(held_out.traces - 784, 784, rtol=0.1)
    common = set(map(bytes, np.asarray(pair.second))) & set(map(bytes, np.asarray(held_out.second)))
    assert not common
