"""What is said of data whose answer is known, statistics against their definitions, refusals."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import twolayer as tl
from twolayer.diagnose import METHODS
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
    estimator,
    gain,
    ranking_error,
    splits_of,
)
from twolayer.report.diagnosis import diagnosis_page, write_diagnosis
from twolayer.results import as_json

FEW = ("linear", "rbf kernel", "recursive")


def xor_mixture(number, dim, seed=0, snr=2.5):
    """Clusters at +-snr e_1, one class, and at +-snr e_2, the other."""
    generator = np.random.default_rng(seed)
    cluster = generator.integers(4, size=number)
    means = np.zeros((4, dim))
    means[[0, 1, 2, 3], [0, 0, 1, 1]] = snr, -snr, snr, -snr
    return generator.normal(size=(number, dim)) + means[cluster], cluster // 2


def parity(number, dim, seed=0):
    x = np.random.default_rng(seed).choice([-1.0, 1.0], size=(number, dim))
    return x, x[:, :3].prod(axis=1).astype(int)


def errors(*folds, name="linear", ranks=None):
    folds = np.asarray(folds, float)
    return MethodError(name, folds, 1.0, folds if ranks is None else np.asarray(ranks))


@pytest.fixture(scope="module")
def small():
    """A diagnosis of 120 samples in which one of three inputs carries the label."""
    x = np.random.default_rng(0).normal(size=(120, 3))
    return tl.diagnose(x, np.where(x[:, 1] > 0, "up", "down"), methods=FEW)


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


class TestVerdicts:
    def test_plain_signal(self, small):
        """One direction, the second input's, of exponent 1; names and text agree."""
        assert small.task == "classification"
        assert small.signal.confidence > 0.99
        assert small.directions.number == 1
        assert small.directions.exponent == 1
        assert np.argmax(np.abs(small.directions.vectors[0])) == 1
        assert small.names == ("x1", "x2", "x3")
        assert str(small).startswith(small.conclusion)
        assert small.conclusion.count(".") >= 1
        assert [method.name for method in small.methods] == ["constant", *FEW]

    @pytest.mark.slow
    def test_the_same_seed_says_the_same(self, small):
        """All but seconds."""
        x = np.random.default_rng(0).normal(size=(120, 3))
        again = tl.diagnose(x, np.where(x[:, 1] > 0, "up", "down"), methods=FEW)
        assert again.conclusion == small.conclusion
        for one, other in zip(again.methods, small.methods, strict=True):
            np.testing.assert_array_equal(one.folds, other.folds)

    @pytest.mark.parametrize("kind", ["classes", "uneven", "numbers"])
    def test_shuffled_labels_have_no_signal(self, kind):
        """Labels that know nothing of the inputs."""
        generator = np.random.default_rng(5)
        x = generator.normal(size=(80, 4))
        y = {
            "classes": generator.integers(3, size=80),
            "uneven": (generator.random(80) < 0.15).astype(int),
            "numbers": generator.normal(size=80),
        }[kind]
        found = tl.diagnose(x, y, methods=FEW)
        assert found.verdict == "no signal"
        assert found.directions is None
        assert found.advice is None

    def test_units_do_not_matter(self):
        """Targets of size a million: the kernel does as well as on targets of size one."""
        x = np.random.default_rng(0).normal(size=(150, 2))
        y = x[:, 0] ** 2 + x[:, 1]
        splits = splits_of(y, classes=False, folds=2, random_state=0)
        inside, outside = splits[0]
        found = [
            Measure(False, float(np.var(scale * y))).of(
                estimator("rbf kernel", classes=False, random_state=0).fit(
                    x[inside], scale * y[inside]
                ),
                x[outside],
                scale * y[outside],
            )
            for scale in (1e-4, 1.0, 1e6)
        ]
        np.testing.assert_allclose(found, found[1], rtol=1e-6)
        assert found[1] < 0.1

    def test_one_family_alone_cannot_tell(self):
        """Signal is seen, but nothing is there to compare."""
        x = np.random.default_rng(0).normal(size=(60, 2))
        found = tl.diagnose(x, x[:, 0] > 0, methods="linear")
        assert found.verdict == "can't tell"
        assert "one family" in found.conclusion

    @pytest.mark.slow
    def test_uneven_classes_are_not_taken_for_noise(self):
        """Where the rare class never is the likelier one, scores still rank: signal."""
        generator = np.random.default_rng(2)
        x = generator.normal(size=(1500, 4))
        y = (generator.random(1500) < 1 / (1 + np.exp(2.5 - x[:, 0]))).astype(int)
        found = tl.diagnose(x, y, methods=("linear", "random features", "recursive"))
        assert found.signal.confidence > 0.995
        assert found.measure == "1 - area under ROC curve"
        assert "commonest class" in found.notes[-1]
        (linear,) = (method for method in found.methods if method.name == "linear")
        assert linear.error < 0.35

    @pytest.mark.slow
    def test_xor_mixture_calls_for_features(self):
        """Features beat kernels; two directions, degree 2, information exponent 2."""
        x, y = xor_mixture(700, 16, seed=1)
        found = tl.diagnose(x, y, methods=("rbf kernel", "tangent kernel", "recursive"))
        assert found.verdict == "features"
        assert found.directions.number == 2
        assert found.directions.degree == 2
        assert found.directions.exponent == 2
        plane = found.directions.vectors[:2, :2]
        assert np.linalg.svd(plane)[1].min() > 0.9

    @pytest.mark.slow
    def test_sparse_parity_is_seen(self):
        """A product of 3 of 12 signs: three directions at least, exponent 3."""
        x, y = parity(900, 12)
        found = tl.diagnose(x, y, methods=("linear", "rbf kernel", "recursive"))
        assert found.verdict in {"features", "equal"}
        assert found.directions.exponent == 3
        leading = found.directions.vectors[:3, :3]
        assert np.linalg.svd(leading)[1].min() > 0.9


class TestInputs:
    @pytest.mark.parametrize(
        ("x", "y", "words"),
        [
            (np.zeros((1, 2)), [0], "two classes with at least 5"),
            (np.eye(2), ["a", "b"], "two classes with at least 5"),
            (np.eye(12), np.arange(12) % 2, "at least 20 samples"),
            (np.ones((30, 2)), np.arange(30) % 2, "constant columns alone"),
            (np.full((30, 2), np.nan), np.arange(30) % 2, "finite"),
            (np.eye(30), np.full(30, 0.5), "labels that vary"),
            (np.eye(30), np.arange(29), "shapes"),
            (np.full((30, 2), "a"), np.arange(30) % 2, "numbers"),
            (np.eye(30), np.array([None, "a", "b"] * 10, dtype=object), "label for each"),
        ],
    )
    def test_unusable_data(self, x, y, words):
        """One sentence each."""
        with pytest.raises(ValueError, match=words):
            tl.diagnose(x, y, methods=FEW)

    def test_unusable_options(self):
        """An unknown method with its neighbour, none, an unknown task, words as numbers."""
        x, y = np.eye(30), np.arange(30) % 2
        for options, words in (
            ({"methods": ["one stp"]}, "one step"),
            ({"methods": []}, "at least one method"),
            ({"task": "clustering"}, "'classification', 'regression' or 'auto'"),
        ):
            with pytest.raises(ValueError, match=words):
                tl.diagnose(x, y, **options)
        with pytest.raises(ValueError, match="numbers to predict"):
            tl.diagnose(x, np.where(y, "a", "b"), task="regression")

    def test_samples_columns_and_rare_classes_that_are_left_out(self):
        """Each is noted, and names stay with their columns."""
        import pandas as pd

        generator = np.random.default_rng(0)
        frame = pd.DataFrame(generator.normal(size=(80, 3)), columns=["a", "b", "c"])
        frame["b"], frame["c"] = 1.0, 1e200 * frame["c"]
        y = np.array(["x", "y"] * 38 + ["x", "y", "rare", "rare"])
        found = tl.diagnose(frame, y, methods=("linear",), max_samples=79)
        assert found.names == ("a", "c")
        assert (found.rows, found.columns) == (80, 2)
        said = " ".join(found.notes)
        assert "79 of 80" in said
        assert "1 constant column" in said
        assert "rare" not in said
        assert "1 classes" in said


class TestReport:
    def test_page_is_html_without_scripts(self, small, tmp_path):
        """Tags close, names of inputs are escaped, every method and the sentence are there."""
        from dataclasses import replace

        page = diagnosis_page(replace(small, names=("<b>", "x2", "x3")), "a & b.csv")
        opened = []

        class Reader(HTMLParser):
            def handle_starttag(self, tag, attrs):
                assert tag != "script"
                assert not any(name.startswith("on") for name, _ in attrs)
                if tag not in {"meta", "link", "rect", "line"}:
                    opened.append(tag)

            def handle_endtag(self, tag):
                if tag not in {"rect", "line"}:
                    assert opened.pop() == tag

        Reader().feed(page)
        assert not opened
        assert "a &amp; b.csv" in page
        assert "<b>" not in page
        for name in FEW:
            assert name in page
        path = write_diagnosis(small, tmp_path / "new" / "page.html", "data")
        assert path.read_text(encoding="utf-8").startswith("<!doctype html>")

    def test_json_has_everything(self, small):
        """Through JSON and back: errors, directions, advice."""
        found = json.loads(json.dumps(as_json(small), allow_nan=False))
        assert found["verdict"] == small.verdict
        assert len(found["methods"]) == 4
        np.testing.assert_allclose(found["directions"]["vectors"], small.directions.vectors)
        assert found["advice"]["sentences"] == list(small.advice.sentences)

    def test_widths_are_tried_in_order(self, small):
        """The advised one is the least that is enough; all errors are told."""
        assert all(one < other for one, other in pairwise(small.advice.width_errors))
        assert small.advice.width in small.advice.width_errors
        assert small.advice.method in METHODS


def test_command(tmp_path):
    """A file through the command line: JSON alone on stdout, a page, and a label's neighbour."""
    generator = np.random.default_rng(0)
    path = tmp_path / "table.csv"
    rows = generator.normal(size=(60, 2))
    lines = [f"{a},{b},{'yes' if k % 2 else 'no'}" for k, (a, b) in enumerate(rows)]
    path.write_text("first,second,yield\n" + "\n".join(lines) + "\n")
    program = (
        "import sys, json; from twolayer.cli import main\n"
        "def run(*words):\n"
        "    sys.argv = ['twolayer', 'diagnose', *words]\n"
        "    try: main()\n"
        "    except SystemExit as end: return end.code\n"
        f"path = {str(path)!r}\n"
        "run(path, '--label', 'yield', '--methods', 'linear,random features', '--json')\n"
        "print('second', file=sys.stderr)\n"
        "assert run(path, '--label', 'yeild')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(run.stdout)
    assert found["names"] == ["first", "second"]
    assert found["rows"] == 60
    assert (tmp_path / "table.html").is_file()
    after = run.stderr.split("second", 1)[-1]
    assert "did you perhaps mean 'yield'" in after.lower()
    assert "Traceback" not in run.stderr
