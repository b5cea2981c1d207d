"""Estimators on data as they come: outliers, weights, few samples, and how sure they are."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import twolayer as tl
from twolayer.estimators.ridge import read_outs

GENERATOR = np.random.default_rng(3)
X = GENERATOR.normal(size=(120, 5))
CURVED = X[:, 0] ** 2 + X[:, 1]
REGRESSORS = [
    tl.RandomFeaturesRegressor(random_state=0),
    tl.NTKRegressor(random_state=0),
    tl.TwoLayerRegressor(random_state=0),
    tl.TwoLayerRegressor(solver="layerwise", random_state=0),
]


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda m: type(m).__name__)
def test_inputs_that_hardly_vary_give_the_mean(model):
    """One outlier squeezes all others into a point, or all inputs are the same: no crash."""
    squeezed = np.concatenate([X, np.full((1, 5), 1e9)])
    found = model.fit(squeezed, np.append(CURVED, 0.0)).predict(X)
    assert np.max(np.abs(found - CURVED.mean())) < 4 * CURVED.std()
    constant = model.fit(np.zeros_like(X), CURVED).predict(X)
    np.testing.assert_allclose(constant, CURVED.mean(), rtol=1e-3)


@pytest.mark.parametrize("rows", [40, 300])
def test_read_outs_of_constant_features_are_the_mean(rows):
    """What varies of the features is rounding, whichever of the two matrices is inverted."""
    h = 3.7 + 1e-15 * GENERATOR.normal(size=(rows, 100))
    y = GENERATOR.normal(size=(rows, 1))
    (read,) = read_outs(lambda _: h, h, y, np.ones(rows), (1e-6,))
    np.testing.assert_allclose(h @ read.coefficients + read.intercept, y.mean(), atol=1e-6)


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda m: type(m).__name__)
def test_numbers_without_finite_squares_are_refused(model):
    """In place of predictions that are not finite."""
    with pytest.raises(ValueError, match="Expected inputs whose squares are finite"):
        model.fit(X * 1e300, CURVED)
    with pytest.raises(ValueError, match="Expected targets whose squares are finite"):
        model.fit(X, CURVED * 1e200)


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda m: type(m).__name__)
def test_a_sample_without_weight_is_left_out(model):
    """Ten samples of 120 have weight: whatever the others are, the prediction is the same."""
    weights = np.where(np.arange(120) < 10, 1.0, 0.0)
    first = model.fit(X, CURVED, sample_weight=weights).predict(X[:5])
    other = np.where(weights[:, None] > 0, X, 100.0)
    again = model.fit(other, CURVED + 7 * (weights == 0), sample_weight=weights).predict(X[:5])
    np.testing.assert_allclose(first, again, rtol=1e-5, atol=1e-5)
    alone = model.fit(X, CURVED, sample_weight=np.eye(120)[0]).predict(X)
    np.testing.assert_allclose(alone, CURVED[0], rtol=1e-6)


def test_batches_keep_their_weights():
    """A batch whose samples weigh ten times as much: scikit-learn's Ridge on all of them."""
    weights = np.repeat([1.0, 10.0], 60)
    model = tl.RandomFeaturesRegressor(30, random_state=0).set_params(penalty=1e-2)
    for rows in (slice(60), slice(60, None)):
        model.partial_fit(X[rows], CURVED[rows], sample_weight=weights[rows])
    scaled = (X - X[:60].mean(axis=0)) / X[:60].std(axis=0)
    H = np.maximum(scaled @ model.weights_.T + model.biases_, 0)
    shares = weights / weights.sum()
    size = np.mean(shares @ (H - shares @ H) ** 2)
    ridge = Ridge(alpha=1e-2 * size * weights.sum()).fit(H, CURVED, sample_weight=weights)
    np.testing.assert_allclose(model.predict(X), ridge.predict(H), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_mini_batches_follow_the_weighted_loss():
    """A fiftieth of the samples has half of the weight: classes at random are even odds.

    Most batches of 64 hold one or two of the heavy samples. 16 hundredths are two standard errors
    of a share of 40 samples, all the heavy ones that there are.
    """
    x = GENERATOR.normal(size=(2000, 2))
    heavy = np.arange(2000) % 50 == 0
    weights = np.where(heavy, 49.0, 1.0)
    model = tl.TwoLayerClassifier(50, solver="sgd", max_iter=30, random_state=0)
    odds = model.fit(x, heavy, sample_weight=weights).predict_proba(x)[:, 1]
    assert np.mean(odds) == pytest.approx(0.5, abs=0.16)


@pytest.mark.parametrize(
    ("solver", "load", "rows"),
    [
        ("ntk", load_wine, 178),
        pytest.param("sgd", load_wine, 178, marks=pytest.mark.slow),
        pytest.param("sgd", load_breast_cancer, 569, marks=pytest.mark.slow),
        pytest.param("langevin", load_wine, 178, marks=pytest.mark.slow),
        pytest.param("langevin", load_breast_cancer, 150, marks=pytest.mark.slow),
    ],
)
def test_few_held_out_samples_make_no_certainties(solver, load, rows):
    """All held-out samples right does not mean odds of one to 10^100: little loss on fresh ones.

    Logistic regression, whose penalty keeps its odds moderate, is the reference.
    """
    x, y = load(return_X_y=True)
    inside, fresh, a, b = train_test_split(
        x[:rows], y[:rows], test_size=0.4, random_state=0, stratify=y[:rows]
    )
    model = (
        tl.NTKClassifier(random_state=0)
        if solver == "ntk"
        else tl.TwoLayerClassifier(solver=solver, random_state=0)
    )
    found = log_loss(b, model.fit(inside, a).predict_proba(fresh))
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(inside, a)
    assert found < log_loss(b, linear.predict_proba(fresh)) + 0.15


def test_sharpness_of_perfect_outputs_is_laplaces_rule():
    """98 held-out samples of two classes, all right by the same gap: the odds are 99 to 1."""
    from twolayer.estimators.base import Samples

    model = tl.NTKClassifier()
    places = np.arange(98) % 2
    outputs = np.eye(2)[places]
    model._calibrate(outputs, Samples(outputs, outputs, np.ones(98), places))
    # the likelihood is largest where p = 99/100, and p = 1 / (1 + exp(-sharpness))
    assert 1 / (1 + np.exp(-model.sharpness_)) == pytest.approx(0.99, abs=1e-4)
    # samples without weight say nothing
    wrong = np.concatenate([outputs, np.eye(2)[1 - places]])
    weights = np.repeat([1.0, 1e-9], 98)
    both = Samples(wrong, wrong, weights, np.tile(places, 2))
    model._calibrate(wrong, both)
    assert 1 / (1 + np.exp(-model.sharpness_)) == pytest.approx(1 - 1 / 198, abs=1e-4)
