import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.activations import relu, tanh
from twolayer.inputs import Gaussian, GaussianMixture, spiked_mixture
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.targets import Polynomial, SingleIndex
from twolayer.tasks import Classification, Dataset, Regression

TARGET = Polynomial("z1 + z1*z2")


@eqx.filter_jit
def sampled(task, num_samples, key):
    return task.sample(num_samples, key=key)


def test_noiseless_labels_are_the_target(getkey):
    """Without noise y is exactly the target of x."""
    x, y = Regression(Gaussian(4), TARGET).sample(50, key=getkey())
    np.testing.assert_array_equal(y, jax.vmap(TARGET)(x))


def test_noise_has_the_stated_deviation_and_is_independent(getkey):
    """The residual has mean 0, variance noise_std^2 and no correlation with x or the target."""
    x, y = Regression(Gaussian(4), TARGET, noise_std=0.3).sample(100_000, key=getkey())
    residual = np.asarray(y - jax.vmap(TARGET)(x))
    assert_within_sem(*mean_and_error(residual), 0.0)
    assert_within_sem(*mean_and_error(residual**2), 0.09)
    assert_within_sem(*mean_and_error(residual[:, None] * np.asarray(x)), 0.0)
    assert_within_sem(*mean_and_error(residual * np.asarray(jax.vmap(TARGET)(x))), 0.0)


def test_noise_level_does_not_recompile(getkey):
    """The noise level is an array field: new values reuse the compiled sampler."""
    traces = []

    @eqx.filter_jit
    def sample(task, key):
        traces.append(1)
        return task.sample(3, key=key)

    for noise_std in (0.0, 0.1, 2.0):
        sample(Regression(Gaussian(2), TARGET, jnp.asarray(noise_std)), getkey())
    assert len(traces) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_have_the_precision_of_their_target(dtype, getkey):
    """A problem in single precision draws inputs and noisy labels in single precision."""
    direction = np.asarray([0.5, -1.0], dtype)
    gamma = np.eye(2, dtype=dtype)
    inputs = spiked_mixture(gamma[:1], gamma[1:], 2.0)
    task = Regression(inputs, SingleIndex(direction, relu), np.asarray(0.1, dtype))
    x, y = jax.eval_shape(lambda key: task.sample(4, key=key), getkey())
    assert x.dtype == y.dtype == dtype


def test_single_index_is_its_link_at_the_projection(getkey):
    """The value is link(xi . x), the length of xi included; a batch of labels is that a row."""
    direction = np.asarray([3.0, -4.0, 0.5])
    x, y = sampled(Regression(Gaussian(3), SingleIndex(direction, tanh)), 20, getkey())
    np.testing.assert_allclose(y, np.tanh(np.asarray(x) @ direction), rtol=1e-12)


def test_single_index_refuses_what_is_not_finite():
    """A NaN in the direction would make every label NaN."""
    with pytest.raises(ValueError, match="Expected finite direction"):
        SingleIndex(np.asarray([1.0, np.nan]), relu)


CLASSES = GaussianMixture(  # told apart by their means, so that x shows where it is from
    [0.25, 0.25, 0.5], 100 * np.eye(3), np.zeros((3, 0, 3)), np.zeros((3, 0))
)


def test_labels_of_a_classification_name_the_component(getkey):
    """Each sample has the label of the component that it is from, in the mixture's proportions."""
    task = Classification(CLASSES, [1, -1, 0.5])
    x, y = sampled(task, 4000, getkey())
    component = np.argmax(np.asarray(x), axis=1)
    np.testing.assert_array_equal(y, np.asarray([1.0, -1.0, 0.5])[component])
    assert_within_sem(
        *mean_and_error((component[:, None] == np.arange(3)) * 1.0), [0.25, 0.25, 0.5]
    )


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([1.0, -1.0], "Expected 3 labels, one for each component. Received: 2"),
        (np.asarray(1.0), "Expected 3 labels.* Received: one number"),
        ([1.0, np.nan, 0.0], "Expected finite labels"),
    ],
)
def test_a_classification_needs_one_finite_label_for_each_component(labels, complaint):
    """Too few, too many or not a number: one sentence."""
    good = Classification(CLASSES, [0.0, 0.0, 0.0])
    bad = eqx.tree_at(lambda task: task.labels, good, jnp.asarray(labels))
    with pytest.raises(ValueError, match=complaint):
        bad.__check_init__()


def test_a_data_set_draws_its_rows_with_their_labels(getkey):
    """Rows keep their labels, and are drawn evenly with replacement; whole numbers become real."""
    x, y = np.arange(10).reshape(5, 2), np.arange(5) * 10
    rows, labels = sampled(Dataset(x, y), 5000, getkey())
    assert rows.dtype == labels.dtype == jnp.float64
    index = np.asarray(labels) / 10
    np.testing.assert_array_equal(rows, x[index.astype(int)])
    assert_within_sem(*mean_and_error((index[:, None] == np.arange(5)) * 1.0), 0.2)


@pytest.mark.parametrize(
    ("x", "y", "complaint"),
    [
        (np.zeros((3, 2)), np.zeros(2), r"Received: shapes \(3, 2\) and \(2,\)"),
        (np.zeros(3), np.zeros(3), "Expected a table"),
        (np.zeros((0, 2)), np.zeros(0), "Expected a table"),
        (np.zeros((3, 0)), np.zeros(3), "Expected a table"),
        (np.asarray([[np.nan, 1.0]]), np.zeros(1), "Expected finite inputs"),
        (np.zeros((1, 2)), np.asarray([np.inf]), "Expected finite labels"),
    ],
)
def test_what_is_no_data_set_is_refused(x, y, complaint):
    """Shapes that don't fit, nothing at all, and numbers that are none."""
    good = Dataset(np.zeros((1, 1)), np.zeros(1))
    bad = eqx.tree_at(lambda data: (data.x, data.y), good, (jnp.asarray(x), jnp.asarray(y)))
    with pytest.raises(ValueError, match=complaint):
        bad.__check_init__()


def test_labels_and_data_do_not_recompile(getkey):
    """Labels of classes and rows of data are arrays: new values reuse the compiled sampler."""
    traces = []

    @eqx.filter_jit
    def sample(task, key):
        traces.append(1)
        return task.sample(3, key=key)

    for scale in (1.0, 2.0):
        sample(Classification(CLASSES, scale * np.asarray([1.0, -1.0, 0.0])), getkey())
        sample(Dataset(scale * np.ones((2, 2)), np.ones(2)), getkey())
    assert len(traces) == 2
