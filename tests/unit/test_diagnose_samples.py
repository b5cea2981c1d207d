"""Samples that mislead: copies, columns that number rows, far targets; and what is said of them."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import twolayer as tl
from twolayer.diagnose.methods import Measure, copies_of, order_error, splits_of
from twolayer.diagnose.samples import cautions, far_targets, usable

FEW = ("linear", "tangent kernel", "recursive")


def normal(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns))


class TestCopies:
    @pytest.mark.parametrize("classes", [False, True])
    def test_copied_noise_has_no_signal(self, classes):
        """Every row twice, with its label: nothing is learned of noise, though it was seen."""
        x, noise = normal(60, 4), normal(60, 1, seed=1)[:, 0]
        labels = noise > 0 if classes else noise
        found = tl.diagnose(np.tile(x, (2, 1)), np.tile(labels, 2), methods=FEW)
        assert found.signal.confidence < 0.995
        assert found.directions is None
        assert "60 rows repeat" in found.notes[0]

    def test_splits_keep_copies_together(self):
        """No group on both sides, each row held out once, and the classes' shares kept."""
        groups = np.repeat(np.arange(50), 3)
        y = (groups % 2).astype(int)
        order = np.random.default_rng(0).permutation(150)
        splits = splits_of(y[order], classes=True, folds=5, random_state=0, groups=groups[order])
        for inside, outside in splits:
            assert not set(groups[order][inside]) & set(groups[order][outside])
            assert y[order][outside].mean() == 0.5
        assert sorted(np.concatenate([part for _, part in splits])) == list(range(150))

    def test_agreement_by_chance_is_no_copy(self):
        """All corners of a cube many times over are not; repeated measurements are."""
        corners = np.random.default_rng(0).choice([-1.0, 1.0], size=(300, 4))
        assert copies_of(corners) is None
        assert copies_of(normal(30, 2)) is None
        years = np.random.default_rng(0).integers(60, size=(300, 1)).astype(float)
        assert copies_of(years) is None
        assert copies_of(np.ones((30, 2))) is None
        groups = copies_of(np.repeat(normal(10, 2), 30, axis=0))
        assert groups is not None
        assert np.unique(groups).size == 10
        assert copies_of(np.concatenate([normal(30, 2)] * 2)) is not None

    def test_classes_count_copies_once(self):
        """Twenty copies of one sample are one."""
        x = np.concatenate([normal(40, 2), np.full((20, 2), 0.5)])
        with pytest.raises(ValueError, match=r"True \(1\)"):
            tl.diagnose(x, np.arange(60) >= 40, methods=FEW)


class TestCautions:
    def test_columns_that_number_rows(self):
        """An identifier in any order, a time that grows unevenly; not a column of noise."""
        generator = np.random.default_rng(0)
        frame = np.stack(
            [generator.permutation(50) + 7.0, np.cumsum(generator.random(50)), normal(50, 1)[:, 0]],
            axis=1,
        )
        found = cautions(frame, np.arange(50) % 2 == 0, None, ("key", "time", "noise"))
        assert [note.split()[1] for note in found] == ["key", "time"]

    def test_the_command_names_the_files_column(self, tmp_path):
        """A column that numbers the rows of a CSV is called as in its header."""
        path = tmp_path / "table.csv"
        frame = pd.DataFrame({"noise": normal(40, 1)[:, 0], "key": np.arange(40), "y": [0, 1] * 20})
        frame.to_csv(path, index=False)
        from twolayer.cli_data import diagnose

        diagnose(path, label="y", methods="linear")
        assert "Column key numbers the rows" in path.with_suffix(".html").read_text()

    def test_one_far_target_is_told(self):
        """It hides a linear law from squares: that is no absence of signal."""
        x = normal(80, 3)
        y = x[:, 0].copy()
        y[7] = 1e7
        found = tl.diagnose(x, y, methods=("linear", "recursive"))
        assert found.verdict in {"can't tell", "equal"}
        assert "far from the median" in " ".join(found.notes)
        assert not far_targets(np.random.default_rng(0).standard_t(3, size=5000))
        assert not far_targets(np.repeat([0.0, 1.0], [90, 10]))

    def test_missing_numbers_and_sparse_tables_are_called_so(self):
        """pandas' missing value among numbers or labels, and SciPy's sparse matrices."""
        frame = pd.DataFrame(normal(30, 2)).astype("Float64")
        frame.iloc[0, 0] = pd.NA
        with pytest.raises(ValueError, match="missing"):
            tl.diagnose(frame, np.arange(30) % 2)
        labels = pd.Series(["a", "b"] * 14 + ["a", None], dtype="string")
        with pytest.raises(ValueError, match="label for each"):
            tl.diagnose(normal(30, 2), labels)
        with pytest.raises(ValueError, match="sparse"):
            tl.diagnose(sparse.csr_matrix(np.eye(30)), np.arange(30) % 2)


class TestRanks:
    def test_order_error_is_spearmans(self):
        """The correlation of pandas' ranks, with ties; a constant knows nothing."""
        one, other = np.round(normal(100, 2), 1).T
        ranks = [pd.Series(one).rank(), pd.Series(one + other).rank()]
        expected = (1 - np.corrcoef(ranks)[0, 1]) / 2
        assert order_error(one, one + other) == pytest.approx(expected)
        assert order_error(np.ones(100), one) == 0.5
        assert Measure(classes=False, ranks=True).name == "(1 - rank correlation) / 2"

    @pytest.mark.slow
    def test_heavy_tails_do_not_hide_a_linear_law(self):
        """Noise without a variance: squares see nothing, ranks do; the direction is the law's."""
        x = normal(200, 4)
        noise = np.random.default_rng(1).standard_t(1.5, size=200)
        found = tl.diagnose(x, x[:, 1] + 0.3 * noise, methods=("linear", "recursive"))
        assert found.signal.confidence > 0.995
        assert found.verdict != "no signal"
        assert found.directions is not None
        assert np.argmax(np.abs(found.directions.vectors[0])) == 1

    @pytest.mark.slow
    def test_a_cubic_hermite_polynomial_is_no_noise(self):
        """Learned to a twentieth of its variance: features, one direction, exponent 3."""
        x = normal(500, 8)
        z = x.sum(axis=1) / np.sqrt(8)
        y = (z**3 - 3 * z) / np.sqrt(6) + 0.1 * normal(500, 1, seed=1)[:, 0]
        found = tl.diagnose(x, y, methods=FEW)
        assert found.verdict == "features"
        assert found.directions is not None
        assert found.directions.number == 1
        assert found.directions.exponent == 3
        assert abs(found.directions.vectors[0].sum()) / np.sqrt(8) > 0.99


def test_rare_classes_are_counted_without_a_table_of_samples_by_classes():
    """Copies count once; ten thousand classes of one sample each take no hundred megabytes."""
    y = np.concatenate([np.repeat([0, 1, 2], 20), np.arange(3, 10_003)])
    x, groups = np.arange(len(y), dtype=float)[:, None], np.arange(len(y))
    groups[40:60] = 40  # all of class 2 are one row's copies
    notes = []
    tracemalloc.start()
    kept, labels, _ = usable(x, y, groups, True, notes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(labels.tolist()) == {0, 1}
    assert len(kept) == 40
    assert notes == ["10001 classes with fewer than 5 samples were left out."]
    assert peak < 20e6
