"""Estimators as scikit-learn's users expect them: its own checks, weights, pipelines, pickles."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.linalg import lstsq
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

import twolayer as tl
from twolayer.estimators.base import Samples
from twolayer.estimators.first_layers import redrawn_layer
from twolayer.estimators.ridge import read_outs

GENERATOR = np.random.default_rng(7)
X = GENERATOR.normal(size=(300, 6))
CURVED = X[:, 0] ** 2 + 0.5 * X[:, 1]
CLASSES = np.array(["low", "middle", "high"])[np.digitize(CURVED, [0.3, 1.2])]

SMALL = {
    "RandomFeaturesRegressor": tl.RandomFeaturesRegressor(40, random_state=0),
    "RandomFeaturesClassifier": tl.RandomFeaturesClassifier(40, random_state=0),
    "NTKRegressor": tl.NTKRegressor(random_state=0),
    "NTKClassifier": tl.NTKClassifier(random_state=0),
    **{
        f"{kind.__name__} {solver}": kind(40, solver=solver, max_iter=passes, random_state=0)
        for kind in (tl.TwoLayerRegressor, tl.TwoLayerClassifier)
        for solver, passes in (("recursive", None), ("one_step", None), ("layerwise", None))
    },
    **{
        f"{kind.__name__} {solver}": kind(40, solver=solver, max_iter=passes, random_state=0)
        for kind in (tl.TwoLayerRegressor, tl.TwoLayerClassifier)
        for solver, passes in (("sgd", 150), ("langevin", 100))
    },
}
COMPILED = ("sgd", "langevin")
# Penalties and probabilities are chosen on held-out rows: which, is a matter of rows, not weights.
EXPLAINED = {
    "check_sample_weight_equivalence_on_dense_data": "the rows to hold out are drawn row by row",
}
SKIPPED = {"check_array_api_input"}  # wants an environment variable set before SciPy is imported


def speed(name):
    slow = any(word in name for word in COMPILED) or "Regressor" in name
    return pytest.param(name, marks=pytest.mark.slow) if slow else name


@pytest.mark.parametrize("name", [speed(name) for name in SMALL])
def test_scikit_learns_own_checks(name):
    """Every check passes but those that are explained; none is skipped silently."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(
            SMALL[name], expected_failed_checks=EXPLAINED, on_skip=None, on_fail=None
        )
    failed = {row["check_name"]: row["exception"] for row in found if row["status"] == "failed"}
    assert not failed
    assert {row["check_name"] for row in found if row["status"] == "skipped"} <= SKIPPED
    assert len(found) > 50


@pytest.mark.parametrize("kind", ["RandomFeatures", "NTK"])
def test_weights_are_repetitions_where_nothing_is_held_out(kind):
    """With a given penalty, weight 0 is absence and weight 2 is repetition."""
    model = getattr(tl, f"{kind}Regressor")(penalty=1e-3, random_state=0)
    weights = GENERATOR.integers(0, 3, len(X))
    first = model.fit(X, CURVED, sample_weight=weights).predict(X[:20])
    rows = np.repeat(np.arange(len(X)), weights)
    again = model.fit(X[rows], CURVED[rows]).predict(X[:20])
    # inputs are rounded to single precision after a scaling that rounds differently
    np.testing.assert_allclose(first, again, rtol=1e-3, atol=1e-4)
    uneven = model.fit(X, CURVED, sample_weight=None).predict(X[:20])
    assert np.max(np.abs(uneven - first)) > 0.01


def test_random_features_are_ridge_regression_on_their_features():
    """Coefficients of scikit-learn's Ridge on the same features, its penalty in our units."""
    model = tl.RandomFeaturesRegressor(30, penalty=1e-2, random_state=0).fit(X, CURVED)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    H = np.maximum(scaled @ model.weights_.T + model.biases_, 0)
    ridge = Ridge(alpha=1e-2 * len(X) * H.var(axis=0).mean()).fit(H, CURVED)
    np.testing.assert_allclose(model.predict(X), ridge.predict(H), rtol=1e-4, atol=1e-4)


def test_partial_fit_of_random_features_is_the_fit_of_all():
    """Batches add up: with the first call's scaling, the same ridge regression."""
    model = tl.RandomFeaturesRegressor(30, penalty=1e-2, random_state=0)
    for start in range(0, 300, 100):
        model.partial_fit(X[start : start + 100], CURVED[start : start + 100])
    scale, mean = X[:100].std(axis=0), X[:100].mean(axis=0)
    H = np.maximum((X - mean) / scale @ model.weights_.T + model.biases_, 0)
    ridge = Ridge(alpha=1e-2 * len(X) * H.var(axis=0).mean()).fit(H, CURVED)
    np.testing.assert_allclose(model.predict(X), ridge.predict(H), rtol=1e-4, atol=1e-4)


def test_partial_fit_of_a_classifier_knows_announced_classes():
    """A class that the first batch lacks can be learned from the second; others are refused."""
    few = CLASSES != "high"
    model = tl.RandomFeaturesClassifier(100, penalty=1e-3, random_state=0)
    model.partial_fit(X[few], CLASSES[few], classes=np.unique(CLASSES))
    assert "high" not in model.predict(X)
    model.partial_fit(X, CLASSES)
    assert np.mean(model.predict(X[~few]) == "high") > 0.5
    with pytest.raises(ValueError, match="seen before"):
        model.partial_fit(X, np.where(few, "low", "other"))
    assert not hasattr(tl.TwoLayerClassifier(), "partial_fit")
    assert hasattr(tl.TwoLayerClassifier(solver="sgd"), "partial_fit")


@pytest.mark.parametrize("rows", [40, 300])
def test_read_outs_are_weighted_ridge_regression(rows):
    """Fewer and more samples than the 60 features: scikit-learn's Ridge in our units."""
    h = np.tanh(GENERATOR.normal(size=(rows, 6)) @ GENERATOR.normal(size=(6, 60)))
    y = GENERATOR.normal(size=(rows, 2))
    weights = GENERATOR.integers(0, 3, rows).astype(float)
    found = read_outs(lambda _: h, h, y, weights, (1e-3, 0.5))
    shares = weights / weights.sum()
    size = np.mean(shares @ (h - shares @ h) ** 2)
    for penalty, read in zip((1e-3, 0.5), found, strict=True):
        ridge = Ridge(alpha=penalty * size * weights.sum()).fit(h, y, sample_weight=weights)
        np.testing.assert_allclose(read.coefficients, ridge.coef_.T, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(read.intercept, ridge.intercept_, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("width", [4000, 5])
def test_redrawn_neurons_follow_the_gradient(width):
    """The target reads one of 6 inputs: so do neurons drawn anew, with and without the matrix M."""
    W = GENERATOR.normal(size=(width, 6)).astype(np.float32)
    b = GENERATOR.normal(size=width).astype(np.float32)
    if width == 5:  # fewer neurons than inputs, each along the input that matters
        W[:] = np.eye(6, dtype=np.float32)[2] * np.sign(W[:, :1])
    samples = Samples(X.astype(np.float32), X[:, 2:3] ** 2, np.ones(len(X)), None)
    drawn = redrawn_layer(W, b, 0, samples)
    share = np.sum(drawn[:, 2] ** 2) / np.sum(drawn**2)
    assert share > (0.99 if width == 5 else 0.6)
    spread = np.sqrt(np.mean((samples.x @ drawn.T) ** 2, axis=0))
    assert np.median(spread) == pytest.approx(1, rel=1e-4)


def test_drawing_anew_learns_a_parity():
    """A product of 3 of 12 signs: nearly no error where random features have much."""
    x = GENERATOR.choice([-1.0, 1.0], size=(900, 12))
    y = x[:, :3].prod(axis=1)
    settings = {"width": 300, "random_state": 0}
    model = tl.TwoLayerClassifier(**settings).fit(x[:700], y[:700])
    fixed = tl.RandomFeaturesClassifier(**settings).fit(x[:700], y[:700])
    assert model.rounds_ > 0
    assert model.score(x[700:], y[700:]) > 0.95
    # 200 held-out samples: standard errors of 0.03 and less
    assert fixed.score(x[700:], y[700:]) < 0.85


@pytest.mark.parametrize("solver", ["one_step", "layerwise"])
def test_one_gradient_finds_the_direction(solver):
    """|x . u| in 40 dimensions: the trained first layer points along u far more than before."""
    x = GENERATOR.normal(size=(3000, 40))
    y = np.abs(x[:, 3])
    model = tl.TwoLayerRegressor(200, solver=solver, random_state=0).fit(x[:2500], y[:2500])
    fixed = tl.RandomFeaturesRegressor(200, random_state=0).fit(x[:2500], y[:2500])

    def along(W):
        return np.median(np.abs(W[:, 3]) / np.linalg.norm(W, axis=1))

    assert along(model.weights_) > 2 * along(model.initial_weights_)
    assert model.score(x[2500:], y[2500:]) > fixed.score(x[2500:], y[2500:]) + 0.3


def test_no_step_is_among_the_choices():
    """Where labels are noise, the hold-out cannot prefer a step by much: no fit of the noise."""
    model = tl.TwoLayerRegressor(100, random_state=0).fit(X, GENERATOR.normal(size=300))
    fresh = GENERATOR.normal(size=(500, 6))
    assert np.var(model.predict(fresh)) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["sgd", "langevin"])
def test_solvers_of_both_layers_learn(solver):
    """Both reach what scikit-learn's network does on digits, and move their first layer."""
    x, y = load_digits(return_X_y=True)
    model = tl.TwoLayerClassifier(solver=solver, random_state=0).fit(x[:1400], y[:1400])
    other = MLPClassifier(max_iter=300, random_state=0).fit(x[:1400] / 16, y[:1400])
    # 400 test samples with 8 % errors: the difference of two scores has an error of about .015
    assert model.score(x[1400:], y[1400:]) > other.score(x[1400:], y[1400:]) - 0.03
    assert np.linalg.norm(model.weights_ - model.initial_weights_) > 1


@pytest.mark.slow
def test_stopping_early_and_going_on():
    """Early stopping ends before the last pass; a warm start continues, a cold one doesn't."""
    settings = {"solver": "sgd", "random_state": 0}
    # labels of noise: held-out samples soon say that nothing more is to be learned
    noise = np.random.default_rng(5).normal(size=300)
    model = tl.TwoLayerRegressor(60, max_iter=300, **settings).fit(X, noise)
    assert model.n_iter_ < 300
    warm = tl.TwoLayerRegressor(
        60, max_iter=20, warm_start=True, early_stopping=False, **settings
    ).fit(X, CURVED)
    first = warm.loss_curve_[-1]
    assert warm.fit(X, CURVED).loss_curve_[-1] < 0.8 * first
    cold = tl.TwoLayerRegressor(60, max_iter=20, early_stopping=False, **settings)
    assert cold.fit(X, CURVED).loss_curve_ == cold.fit(X, CURVED).loss_curve_
    for _ in range(30):
        warm.partial_fit(X, CURVED)
    assert warm.score(X, CURVED) > 0.7


def test_probabilities_are_calibrated():
    """Over fresh samples the mean probability of a class is its frequency, and so in halves."""
    x = GENERATOR.normal(size=(6000, 3))
    chance = 1 / (1 + np.exp(-2 * x[:, 0]))
    y = GENERATOR.random(6000) < chance
    model = tl.TwoLayerClassifier(100, random_state=0).fit(x[:3000], y[:3000])
    found = model.predict_proba(x[3000:])
    np.testing.assert_allclose(found.sum(axis=1), 1)
    gap = found[:, 1] - chance[3000:]
    assert np.sqrt(np.mean(gap**2)) < 0.08
    np.testing.assert_allclose(np.log(found), model.predict_log_proba(x[3000:]))


@pytest.mark.slow
def test_probabilities_of_langevin_do_not_flatter():
    """Labels of noise that training fits: fresh probabilities stay near a half."""
    x, y = GENERATOR.normal(size=(200, 30)), GENERATOR.random(200) < 0.5
    model = tl.TwoLayerClassifier(100, solver="langevin", random_state=0).fit(x, y)
    fresh = model.predict_proba(GENERATOR.normal(size=(500, 30)))
    assert np.mean(np.abs(fresh[:, 1] - 0.5)) < 0.15


def test_several_outputs_are_those_of_each_alone():
    """Random features of two targets at once equal two fits; shapes follow the targets."""
    both = np.stack([CURVED, X[:, 2]], axis=1)
    model = tl.RandomFeaturesRegressor(40, penalty=1e-3, random_state=0).fit(X, both)
    assert model.predict(X).shape == (300, 2)
    alone = tl.RandomFeaturesRegressor(40, penalty=1e-3, random_state=0).fit(X, CURVED)
    np.testing.assert_allclose(model.predict(X)[:, 0], alone.predict(X), rtol=1e-9, atol=1e-9)


def test_inside_pipelines_searches_and_pickles():
    """A grid search over a pipeline, cross validation, and a model that survives pickling."""
    x, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(MinMaxScaler(), tl.TwoLayerClassifier(50, random_state=0))
    search = GridSearchCV(pipeline, {"twolayerclassifier__width": [10, 50]}, cv=3).fit(x, y)
    assert search.best_score_ > 0.9
    assert cross_val_score(tl.NTKClassifier(random_state=0), x, y, cv=3).min() > 0.9
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict_proba(x), search.predict_proba(x))


def test_data_frames_keep_their_names():
    """pandas columns become feature names; another order of columns is refused."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = tl.TwoLayerRegressor(40, random_state=0).fit(frame, pd.Series(CURVED))
    assert list(model.feature_names_in_) == list("abcdef")
    assert model.n_features_in_ == 6
    np.testing.assert_allclose(model.predict(frame), model.fit(X, CURVED).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.fit(frame, CURVED).predict(frame[list("fedcba")])


def test_constant_columns_and_few_samples():
    """A constant column changes nothing; two samples, one of each class, are fitted."""
    constant = np.concatenate([X, np.full((300, 1), 3.0)], axis=1)
    model = tl.NTKRegressor(random_state=0).fit(constant, CURVED)
    assert model.score(constant, CURVED) > 0.9
    two = tl.TwoLayerClassifier(20, random_state=0).fit(X[:2], ["a", "b"])
    assert two.predict(X[:2]).tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (tl.TwoLayerRegressor(0), "width"),
        (tl.TwoLayerRegressor(solver="adam"), "one_step, layerwise"),
        (tl.TwoLayerRegressor(solver="sgd", learning_rate=0), "learning rate"),
        (tl.TwoLayerRegressor(solver="sgd", max_iter=0), "max_iter"),
        (tl.TwoLayerRegressor(solver="sgd", batch_size=-1), "batch_size"),
        (tl.RandomFeaturesRegressor(penalty=-1), "penalty"),
        (tl.NTKRegressor(penalty="big"), "penalty"),
    ],
)
def test_options_out_of_range(model, words):
    """One sentence that names the option."""
    with pytest.raises(ValueError, match=words):
        model.fit(X, CURVED)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X, np.full(300, "a"), "at least two classes"),
        (X[:1], CLASSES[:1], "at least two classes"),
        (np.where(X > 3, np.nan, X) * np.nan, CLASSES, "NaN"),
        (X, CURVED, "continuous"),
        (X[:10], CLASSES, "inconsistent"),
    ],
)
def test_data_that_cannot_be_classified(x, y, words):
    """One class, NaN, numbers in place of classes, lengths that differ."""
    with pytest.raises(ValueError, match=words):
        tl.TwoLayerClassifier(20).fit(x, y)


def test_unfitted_models_say_so():
    """Nothing is predicted before `fit`."""
    for name in ("TwoLayerRegressor", "NTKClassifier"):
        with pytest.raises(NotFittedError):
            getattr(tl, name)().predict(X)


def test_tangent_kernel_regression_interpolates_like_least_squares():
    """Without penalty it fits any labels; the solution is SciPy's of the same kernel system."""
    y = GENERATOR.normal(size=60)
    model = tl.NTKRegressor(penalty=1e-10, random_state=0).fit(X[:60], y)
    np.testing.assert_allclose(model.predict(X[:60]), y, atol=1e-4)
    from twolayer.theory.kernels import neural_tangent_kernel

    scaled = ((X[:60] - X[:60].mean(axis=0)) / X[:60].std(axis=0)).astype(np.float32)
    inputs = np.concatenate([scaled / np.sqrt(6), np.ones((60, 1))], axis=1)
    gram = neural_tangent_kernel(inputs, inputs)
    coefficients = lstsq(gram, (y - y.mean()) / y.std())[0]
    fresh = GENERATOR.normal(size=(5, 6))
    there = ((fresh - X[:60].mean(axis=0)) / X[:60].std(axis=0)).astype(np.float32)
    there = np.concatenate([there / np.sqrt(6), np.ones((5, 1))], axis=1)
    expected = y.mean() + y.std() * neural_tangent_kernel(there, inputs) @ coefficients
    np.testing.assert_allclose(model.predict(fresh), expected, rtol=1e-3, atol=1e-3)
