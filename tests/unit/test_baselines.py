"""Fixed features and kernels as scikit-learn estimators, against direct solutions."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import check_estimator

from twolayer.baselines import NTK, RBF, FiniteNTK, RandomFeatures
from twolayer.baselines.ridge import constant_coordinate, with_constant
from twolayer.theory.kernels import neural_tangent_kernel

ALL = (RandomFeatures(30, random_state=0), RBF(), NTK(), FiniteNTK(30, random_state=0))


def samples(count, seed=0):
    x = np.random.default_rng(seed).standard_normal((count, 4))
    return x, np.where(x[:, 0] * x[:, 1] > 0, "same", "other")


X, Y = samples(120)
TEST, TEST_Y = samples(400, seed=1)
SIGNS = np.where(Y == "same", 1.0, -1.0)


@pytest.mark.parametrize("model", ALL, ids=lambda m: type(m).__name__)
def test_scikit_learns_own_checks(model):
    """Validation, cloning, tags, pickling, refusal of bad input and the rest."""
    with np.errstate(all="ignore"):
        check_estimator(clone(model), on_skip=None)


def test_random_features_are_ridge_regression():
    """Against scikit-learn's ridge on the same neurons, with the penalty that was chosen."""
    model = RandomFeatures(30, random_state=3).fit(X, Y)
    assert model.num_features_ == 30

    def neurons(x):
        ones = np.full((len(x), 1), np.sqrt(np.mean(np.sum(X**2, axis=1))))
        return np.maximum(np.concatenate([x, ones], axis=1) @ model.weights_.T, 0)

    H = neurons(X)
    penalty = model.choice_.penalty * np.sum(H**2) / 30
    ridge = Ridge(alpha=penalty, fit_intercept=False).fit(H, SIGNS - SIGNS.mean())
    expected = SIGNS.mean() + ridge.predict(neurons(TEST))
    np.testing.assert_allclose(model.decision_function(TEST), expected, rtol=1e-6, atol=1e-8)


def test_given_neurons_take_the_place_of_random_ones():
    """A network's own first layer, biases as they are."""
    W, b = np.eye(4), np.asarray([0.0, 1.0, -1.0, 0.5])
    model = RandomFeatures(neurons=(W, b), penalties=[1e-3], random_state=0).fit(X, Y)
    H = np.maximum(X + b, 0)
    gram = H.T @ H + 1e-3 * np.mean(np.sum(H**2, axis=0)) * np.eye(4)
    weights = np.linalg.solve(gram, H.T @ (SIGNS - SIGNS.mean()))
    expected = SIGNS.mean() + np.maximum(TEST + b, 0) @ weights
    np.testing.assert_allclose(model.decision_function(TEST), expected, rtol=1e-8)
    assert model.num_features_ == 4
    with pytest.raises(ValueError, match="weights"):
        RandomFeatures(neurons=(W[:, :2], b)).fit(X, Y)


def test_rbf_is_kernel_ridge_regression():
    """Against scikit-learn's kernel ridge, its gamma from all pairwise distances."""
    model = RBF(random_state=0).fit(X, Y)
    squares = np.sum((X[:, None] - X[None]) ** 2, axis=2)
    # the mean over ordered pairs with themselves is twice the total variance
    width = model.choice_.bandwidth * np.sqrt(squares.mean())
    ridge = KernelRidge(alpha=model.choice_.penalty, kernel="rbf", gamma=1 / (2 * width**2))
    ridge.fit(X, SIGNS - SIGNS.mean())
    expected = SIGNS.mean() + ridge.predict(TEST)
    np.testing.assert_allclose(model.decision_function(TEST), expected, rtol=1e-5, atol=1e-7)


def test_ntk_is_kernel_ridge_regression():
    """With the kernel of inputs and one constant coordinate."""
    model = NTK(penalties=[0.01], bias=0.5).fit(X, Y)
    inside = with_constant(X, constant_coordinate(X, 0.5))
    outside = with_constant(TEST, constant_coordinate(X, 0.5))
    gram = neural_tangent_kernel(inside)
    shifted = gram + 0.01 * np.mean(np.diag(gram)) * np.eye(len(X))
    coefficients = np.linalg.solve(shifted, SIGNS - SIGNS.mean())
    expected = SIGNS.mean() + neural_tangent_kernel(outside, inside) @ coefficients
    np.testing.assert_allclose(model.decision_function(TEST), expected, rtol=1e-7)


def test_finite_tangent_kernel_is_the_gram_matrix_of_its_gradients():
    """Gradients of ``sum_i a_i relu(w_i . x)`` with a_i = 1, neuron by neuron."""
    model = FiniteNTK(30, random_state=0).fit(X, Y)
    inputs = with_constant(X, model.constant_)[:20]
    z = inputs @ model.weights_.T
    by_output = np.maximum(z, 0)
    by_input = ((z > 0)[:, :, None] * inputs[:, None, :]).reshape(20, -1)
    gradients = np.concatenate([by_output, by_input], axis=1) / np.sqrt(30)
    np.testing.assert_allclose(model._kernel(inputs, None, 1.0), gradients @ gradients.T)
    assert model.num_features_ == gradients.shape[1]


def test_finite_kernels_tend_to_the_infinite_one():
    """The error of a mean over m neurons falls like ``m^(-1/2)``."""
    inputs = with_constant(X[:15], 2.0)
    limit = neural_tangent_kernel(inputs)
    errors = {}
    for width in (500, 50_000):
        model = FiniteNTK(width, random_state=1)
        model.weights_ = np.random.default_rng(2).standard_normal((width, 5))
        gap = model._kernel(inputs, None, 1.0) - limit
        errors[width] = np.sqrt(np.mean(gap**2)) / np.mean(np.diag(limit))
    assert errors[500] < 0.2
    # a hundred times the neurons, a tenth of the error; a factor 2 for chance
    assert errors[50_000] < errors[500] / 5


def test_the_hold_out_chooses_the_better_bandwidth():
    """Of one good bandwidth and two absurd ones the good one is chosen, and reported."""
    model = RBF(bandwidths=(1e-3, 0.5, 1e3), penalties=(1e-3,), random_state=0).fit(X, Y)
    assert model.choice_.bandwidth == 0.5
    assert model.hold_out_accuracy_ > 0.7


@pytest.mark.parametrize("model", ALL, ids=lambda m: type(m).__name__)
def test_they_learn_and_do_not_learn_noise(model):
    """Above chance on a quadratic label, at chance with labels permuted."""
    x, y = samples(400)
    own = clone(model)
    if isinstance(own, RandomFeatures | FiniteNTK):
        own.set_params(**{"num_features" if isinstance(own, RandomFeatures) else "width": 200})
    assert own.fit(x, y).score(TEST, TEST_Y) > 0.8
    shuffled = np.random.default_rng(5).permutation(y)
    # a fixed wrong classifier is right on 400 tests within 4 * 0.025 of one half
    assert abs(clone(own).fit(x, shuffled).score(TEST, TEST_Y) - 0.5) < 0.15


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (RandomFeatures(0), "num_features"),
        (RandomFeatures(bias=-1.0), "biases"),
        (FiniteNTK(0), "width"),
        (NTK(penalties=()), "penalties"),
        (RBF(bandwidths=(0.0,)), "bandwidths"),
        (RBF(penalties=(-1.0,)), "penalties"),
    ],
)
def test_bad_options(model, words):
    """A sentence names what is wrong, when fitting, as scikit-learn asks."""
    with pytest.raises(ValueError, match=words):
        model.fit(X, Y)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, np.full(len(y), "same")), "1 class"),
        (lambda x, y: (x, np.arange(len(y)) % 3), "binary"),
        (lambda x, y: (np.where(x > 2, np.nan, x), y), "NaN"),
        (lambda x, y: (x[:10], y), "inconsistent"),
    ],
)
@pytest.mark.parametrize("model", ALL, ids=lambda m: type(m).__name__)
def test_bad_samples(model, change, words):
    """One class, three classes, NaN, tables that don't fit."""
    with pytest.raises(ValueError, match=words):
        clone(model).fit(*change(X, Y))


@pytest.mark.parametrize("model", ALL, ids=lambda m: type(m).__name__)
def test_a_constant_column_does_no_harm(model):
    """Nothing is divided by its standard deviation."""
    x = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    outputs = clone(model).fit(x, Y).decision_function(x)
    assert np.all(np.isfinite(outputs))
