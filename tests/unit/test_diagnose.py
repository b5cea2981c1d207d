"""What is said of data whose answer is known, refusals, and the report."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

import twolayer as tl
from twolayer.diagnose import METHODS
from twolayer.diagnose.methods import (
    Measure,
    estimator,
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


@pytest.fixture(scope="module")
def small():
    """A diagnosis of 120 samples in which one of three inputs carries the label."""
    x = np.random.default_rng(0).normal(size=(120, 3))
    return tl.diagnose(x, np.where(x[:, 1] > 0, "up", "down"), methods=FEW)


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
