"""Statistics and directions of `diagnose` against their definitions."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import twolayer as tl
from twolayer.diagnose.advice import _half, data_spread
from twolayer.diagnose.diagnosis import _verdict
from twolayer.diagnose.directions import (
    hermite_features,
    leading_directions,
    normal_scores,
    squared_coefficients,
    whitened,
)
from twolayer.diagnose.methods import (
    Gain,
    Measure,
    MethodError,
    corrected_error,
    gain,
    ranking_error,
    splits_of,
)


def errors(*folds, name="linear", ranks=None):
    folds = np.asarray(folds, float)
    return MethodError(name, folds, 1.0, folds if ranks is None else np.asarray(ranks))


class TestStatistics:
    def test_error_over_folds_counts_what_they_share(self):
        """(1/f + n_test/n_train) times the variance, from the paper's formula for f = 5 folds."""
        values = np.array([0.1, 0.3, 0.2, 0.15, 0.4])
        variance = np.sum((values - values.mean()) ** 2) / 4
        assert corrected_error(values) == pytest.approx(np.sqrt(variance * (1 / 5 + 0.2 / 0.8)))

    def test_gain_does_not_flatter_a_choice(self):
        """Each fold's member is the best of the other folds; worked out by hand."""
        first = [errors(0.0, 0.4, 0.4), errors(0.3, 0.0, 0.3, name="rbf kernel")]
        # fold 0: others 0.4 against 0.15: the second's 0.3; fold 1: 0.2 against 0.3: the first's
        # 0.4; fold 2: 0.2 against 0.15: the second's 0.3
        found = gain(first, [errors(0.5, 0.5, 0.6, name="one step")])
        gaps = np.array([0.5 - 0.3, 0.5 - 0.4, 0.6 - 0.3])
        assert found.difference == pytest.approx(gaps.mean())
        assert found.standard_error == pytest.approx(corrected_error(gaps))
        student = stats.t(2).cdf(gaps.mean() / corrected_error(gaps))
        assert found.confidence == pytest.approx(student)
        assert (found.first, found.second) == ("rbf kernel", "one step")

    def test_folds_without_differences(self):
        """Equal everywhere is undecided, not certain."""
        assert gain([errors(0.1, 0.2)], [errors(0.1, 0.2)]).confidence == 0.5

    @pytest.mark.parametrize("classes", [2, 3])
    def test_ranking_error_is_the_area_above_the_curve(self, classes):
        """scikit-learn's area under the ROC curve, with ties, one class against the rest."""
        generator = np.random.default_rng(1)
        y = generator.integers(classes, size=300)
        scores = np.round(generator.normal(size=(300, classes)) + np.eye(classes)[y], 1)
        if classes == 2:
            scores = scores[:, 1] - scores[:, 0]
            area = roc_auc_score(y, scores)
        else:
            area = np.mean([roc_auc_score(y == k, scores[:, k]) for k in range(classes)])
        assert ranking_error(scores, np.arange(classes), y) == pytest.approx(1 - area)

    def test_verdicts(self):
        """Each from errors whose answer is plain; what doesn't matter is equal though certain."""
        constant, rest = errors(0.5, 0.5, 0.5), [errors(0.2, 0.2, 0.2)]
        sure = Gain("one step", "linear", 0.3, 0.01, 0.999)

        def verdict(difference, error, signal=sure, *, both=True):
            confidence = stats.t(4).cdf(difference / error)
            over = Gain("one step", "linear", difference, error, confidence)
            return _verdict(signal, over, constant, rest, both=both)

        assert verdict(0.1, 0.02) == "features"
        assert verdict(-0.1, 0.02) == "kernel"
        assert verdict(0.003, 0.002) == "equal"
        assert verdict(0.01, 0.001) == "equal"  # 0.013 < 0.02, a tenth of 0.2
        assert verdict(0.02, 0.05) == "can't tell"
        assert verdict(0.1, 0.02, both=False) == "can't tell"
        assert verdict(0.1, 0.02, Gain("linear", "constant", 0.01, 0.02, 0.7)) == "no signal"
        assert verdict(0.1, 0.02, Gain("linear", "constant", 0.05, 0.02, 0.99)) == "can't tell"

    def test_splits_are_the_same_for_all_and_cover_all(self):
        """Every sample is held out once, with its class's share in each fold."""
        y = np.repeat([0, 1], [80, 20])
        splits = splits_of(y, classes=True, folds=5, random_state=0)
        assert sorted(np.concatenate([outside for _, outside in splits])) == list(range(100))
        assert all(np.sum(y[outside]) == 4 for _, outside in splits)

    def test_halves_keep_all_classes(self):
        """Labels that alternate, or a class of one: no class is lost, and half the rows are."""
        y = np.array([0, 1] * 20 + [2])
        rows = _half(np.arange(41), y, Measure(classes=True), random_state=0)
        assert np.bincount(y[rows]).tolist() == [10, 10, 1]
        assert len(_half(np.arange(40), y, Measure(classes=False), random_state=0)) == 20


class TestDirections:
    def test_normal_scores_are_normal(self):
        """Ranks become quantiles, whatever the law; ties stay ties."""
        scores = normal_scores(np.random.default_rng(0).exponential(size=4000))
        assert stats.kstest(scores, "norm").statistic < 0.01
        assert np.unique(normal_scores(np.array([1.0, 1.0, 2.0]))).size == 2

    def test_whitened_columns_are_uncorrelated(self):
        """Mean 0 and covariance I of the first table; the other moves with it."""
        z = np.random.default_rng(0).normal(size=(500, 3)) @ np.array([
            [1.0, 0.5, 0.0],
            [0.0, 2.0, 0.0],
            [0.3, 0.0, 0.1],
        ])
        white, again = whitened(z, z[:7])
        np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=1e-8)
        np.testing.assert_allclose(again, white[:7])

    def test_hermite_features_are_all_products(self):
        """Of 2 columns up to degree 2: z1, z2, their product and two squares less 1."""
        z = np.random.default_rng(0).normal(size=(50, 2))
        found = hermite_features(z, 2)
        expected = [z[:, 0], z[:, 1], z[:, 0] * z[:, 1], *((z.T**2 - 1) / np.sqrt(2))]
        assert found.shape == (50, 5)
        for column in expected:
            assert np.min(np.max(np.abs(found - column[:, None]), axis=0)) < 1e-10

    @pytest.mark.parametrize(
        ("target", "exponent"),
        [
            (lambda z: z[:, 0] + z[:, 1] ** 2, 1),
            (lambda z: z[:, 0] * z[:, 1], 2),
            (lambda z: (z[:, 0] ** 2 - 1) * (1 + z[:, 1]), 2),
            (lambda z: z[:, 0] * z[:, 1] * z[:, 2], 3),
            (lambda z: z[:, 0] ** 3 - 3 * z[:, 0], 3),
            (lambda z: np.random.default_rng(9).normal(size=len(z)), None),
        ],
    )
    def test_information_exponents(self, target, exponent):
        """The least degree of the Hermite expansion of each target, however z is turned."""
        generator = np.random.default_rng(4)
        z = generator.normal(size=(3000, 3))
        turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
        squares = squared_coefficients(z @ turn, target(z), generator, classes=False)
        chance = squares[:, 1:]
        scores = (squares[:, 0] - chance.mean(axis=1)) / chance.std(axis=1)
        clear = np.flatnonzero(scores > 5)
        assert (int(clear[0]) + 1 if clear.size else None) == exponent

    def test_leading_directions_are_those_of_finite_differences(self):
        """The second moment of the gradient of the fitted network, by differences of outputs."""
        generator = np.random.default_rng(0)
        x = generator.normal(size=(150, 4))
        model = tl.TwoLayerRegressor(30, solver="one_step", random_state=0)
        model.fit(x, x[:, 0] * x[:, 1])
        vectors, shares = leading_directions(model, x, 4)
        step, scale = 1e-3, model.scaler_.scale_
        gradient = np.stack(
            [
                (model.predict(x + step * unit) - model.predict(x - step * unit)) / (2 * step)
                for unit in np.diag(scale)
            ],
            axis=1,
        )
        values, expected = np.linalg.eigh(gradient.T @ gradient)
        # a kink between two of the 150 x 4 pairs of points and the rounding of single precision
        np.testing.assert_allclose(shares, values[::-1] / values.sum(), atol=0.02)
        assert abs(vectors[0] @ expected[:, -1]) > 0.99

    def test_spread_is_that_of_the_covariance(self):
        """Independent columns have none; one shared factor of variance d/2 dominates."""
        x = np.random.default_rng(0).normal(size=(4000, 10))
        y = np.arange(4000.0)
        assert data_spread(x, y, None, classes=False).strength < 0.2
        assert data_spread(x, y, None, classes=False).effective_dim > 9.5
        spiked = x + np.random.default_rng(1).normal(size=(4000, 1))
        # correlations 1/2: eigenvalues 1/2 and 1/2 + 10/2
        found = data_spread(spiked, y, None, classes=False)
        assert found.strength == pytest.approx(10, rel=0.15)
        assert found.effective_dim == pytest.approx(100 / (5.5**2 + 9 / 4), rel=0.1)
