"""Algorithm 1 on laws whose labels are other numbers, or whose samples come class by class."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from twolayer.dynamics.gradient_features import (
    GradientFeatures,
    draw_samples,
    train_gradient_features,
)
from twolayer.tasks import Classification, xor_mixture
from twolayer.theory.gradient_features.simplified_gradient import (
    sampled_gradient,
    simplified_gradient,
)

SIGNS = xor_mixture(4 * jnp.eye(5)[0], 4 * jnp.eye(5)[1])
ALGORITHM = GradientFeatures(20, 400, num_step_samples=800, steps=100, num_test=500)


def test_the_numbers_that_name_the_classes_do_not_matter():
    """Labels 0 and 1, or 3 and 5, give the accuracy of -1 and 1, to the last digit."""
    accuracy = [
        train_gradient_features(
            ALGORITHM, Classification(SIGNS.inputs, labels), key=jax.random.key(0)
        ).accuracy[0]
        for labels in ([1.0, 1.0, -1.0, -1.0], [1.0, 1.0, 0.0, 0.0], [5.0, 5.0, 3.0, 3.0])
    ]
    assert accuracy[0] > 0.9
    assert accuracy == [accuracy[0]] * 3


def test_a_test_sample_of_one_class_is_scored():
    """Of one sample the accuracy is 0 or 1 (or a half), whichever class it is of."""
    one = replace(ALGORITHM, num_test=1)
    task = Classification(SIGNS.inputs, [1.0, 1.0, 0.0, 0.0])
    runs = train_gradient_features(one, task, seeds=4, key=jax.random.key(1))
    assert runs.accuracy.mean() > 0.7


def test_samples_in_order_of_their_classes_are_shuffled():
    """A balanced mixture keeps its exact proportions, and each part of its samples both classes."""
    balanced = Classification(replace(SIGNS.inputs, balanced=True), SIGNS.labels)
    x, y = draw_samples(balanced, 400, key=jax.random.key(2))
    assert int(jnp.sum(y)) == 0
    # inputs stay with their labels: clusters on the first axis are labelled 1
    assert np.mean(np.sign(np.abs(x[:, 0]) - np.abs(x[:, 1])) == np.asarray(y)) > 0.95
    for part in (y[:100], y[100:200], y[200:]):
        assert abs(float(jnp.mean(part))) < 5 / np.sqrt(len(part))
    for fresh in (False, True):
        run = train_gradient_features(
            replace(ALGORITHM, fresh=fresh), balanced, key=jax.random.key(0)
        )
        assert run.accuracy[0] > 0.9


def test_few_samples_of_a_balanced_mixture_have_an_honest_error():
    """Blocks of one sample each are of all components: within 5 standard errors of the law."""
    balanced = Classification(replace(SIGNS.inputs, balanced=True), SIGNS.labels)
    W = np.random.default_rng(0).standard_normal((6, 5))
    exact = simplified_gradient(balanced, W).value
    found = sampled_gradient(balanced, W, num_samples=128, key=jax.random.key(3))
    assert np.max(np.abs(found.value - exact) / found.error) < 5
