"""Files of other programs: what is kept of them, what is said about it, and refusals."""

import numpy as np
import pandas as pd
import pytest

from twolayer import data_files
from twolayer.data_files import read_table

GENERATOR = np.random.default_rng(3)


def written(folder, frame, name="table.csv"):
    path = folder / name
    frame.to_csv(path, index=False) if name.endswith("csv") else frame.to_parquet(path)
    return path


def mixed(rows=40):
    numbers = GENERATOR.normal(size=rows)
    return pd.DataFrame({
        "length": np.where(np.arange(rows) % 7 == 0, np.nan, numbers),
        "endless": np.where(np.arange(rows) == 3, np.inf, numbers),
        "colour": np.where(np.arange(rows) % 2 == 0, "red", "green"),
        "city": [None if k % 5 == 0 else "Ulm" for k in range(rows)],
        "flag": np.arange(rows) % 3 == 0,
        "same": 7,
        "empty": np.nan,
        "serial": [f"no {k}" for k in range(rows)],
        "huge": [10**30 + 10**28 * k for k in range(rows)],
        "label": np.where(np.arange(rows) % 4 == 1, "yes", "no"),
    })


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_mixed_columns_become_numbers(tmp_path, name):
    """Medians for gaps, 0 and 1 for words, useless columns left out, and a note on each."""
    frame = mixed()
    if name.endswith("parquet"):
        frame["huge"] = frame["huge"].astype(float)
    table = read_table(written(tmp_path, frame, name), "label", most=1000)
    columns = dict(zip(table.names, table.x.T, strict=True))
    assert set(columns) == {
        "length", "endless", "colour=red", "colour=green", "city=missing", "city=Ulm", "flag",
        "huge",
    }  # fmt: skip
    known = frame["length"].notna()
    np.testing.assert_allclose(columns["length"][known], frame["length"][known])
    np.testing.assert_allclose(columns["length"][~known], np.median(frame["length"][known]))
    finite = np.isfinite(frame["endless"])
    assert columns["endless"][3] == pytest.approx(np.median(frame["endless"][finite]))
    np.testing.assert_array_equal(columns["colour=red"], frame["colour"] == "red")
    np.testing.assert_array_equal(columns["city=missing"], frame["city"].isna())
    np.testing.assert_array_equal(columns["flag"], frame["flag"])
    np.testing.assert_allclose(columns["huge"], 1e30 + 1e28 * np.arange(40.0), rtol=1e-12)
    np.testing.assert_array_equal(table.y, frame["label"])
    said = " ".join(table.notes)
    for word in ("serial", "same", "empty", "length", "endless"):
        assert word in said
    assert table.rows == 40


def test_rows_are_kept_with_the_same_chance(tmp_path, monkeypatch):
    """Read in pieces of 30, each row of 200 is among the 50 kept in a quarter of the draws."""
    monkeypatch.setattr(data_files, "_PIECE", 30)
    frame = pd.DataFrame({"row": np.arange(200), "label": np.arange(200) % 2})
    path = written(tmp_path, frame)
    count = np.zeros(200)
    draws = 80
    for seed in range(draws):
        table = read_table(path, "label", most=50, random_state=seed)
        rows = table.x[:, 0].astype(int)
        assert len(set(rows)) == 50
        np.testing.assert_array_equal(table.y, rows % 2)
        count[rows] += 1
    assert table.rows == 200
    assert "50 of 200" in table.notes[0]
    # the early, middle and late rows: binomial counts, less varied as exactly 50 are kept
    share = count.reshape(4, 50).mean(axis=1) / draws
    np.testing.assert_allclose(share, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / (50 * draws)))
    assert np.sum((count - 20) ** 2 / 15) == pytest.approx(200, abs=5 * np.sqrt(400))


def test_the_choice_depends_on_the_seed_alone(tmp_path):
    """The same seed keeps the same rows, another one others."""
    path = written(tmp_path, pd.DataFrame({"row": np.arange(99), "label": np.arange(99) % 2}))
    first, again, other = (
        read_table(path, "label", most=20, random_state=seed).x for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pieces_of_different_types_are_one_column(tmp_path, monkeypatch):
    """Whole numbers in the first piece, gaps and huge ones in the next: still numbers."""
    monkeypatch.setattr(data_files, "_PIECE", 10)
    lines = ["a,label"] + [f"{k},{k % 2}" for k in range(10)]
    lines += [f"{'' if k % 3 else 10**25},{k % 2}.0" for k in range(10)]
    path = tmp_path / "pieces.csv"
    path.write_text("\n".join(lines) + "\n")
    table = read_table(path, "label", most=100)
    assert table.names == ("a",)
    assert table.y.dtype.kind in "iuf"
    np.testing.assert_array_equal(table.y, np.arange(20) % 2)
    assert table.x.max() == pytest.approx(1e25)


def test_rows_without_a_label_are_dropped(tmp_path):
    """And counted; with none left, or one, that is said."""
    frame = pd.DataFrame({"a": np.arange(6.0), "label": [1.0, np.nan, 0.0, np.nan, 1.0, 0.0]})
    table = read_table(written(tmp_path, frame), "label", most=10)
    assert len(table.x) == len(table.y) == 4
    assert table.notes[0].startswith("2 rows without a label")
    with pytest.raises(ValueError, match=r"labels in column 'label'. Received: none"):
        read_table(written(tmp_path, frame.assign(label=np.nan)), "label", most=10)
    with pytest.raises(ValueError, match="at least two rows"):
        read_table(written(tmp_path, frame.iloc[:1]), "label", most=10)


def test_arrays_of_numpy(tmp_path):
    """A table and labels, images, or columns by name; the label is an array's name."""
    images, y = GENERATOR.normal(size=(12, 2, 3)), np.arange(12) % 3
    np.savez(tmp_path / "a.npz", X=images, y=y)
    table = read_table(tmp_path / "a.npz", "y", most=100)
    np.testing.assert_array_equal(table.x, images.reshape(12, 6))
    np.testing.assert_array_equal(table.y, y)
    assert table.names == tuple(f"X{k}" for k in range(6))
    np.savez(tmp_path / "b.npz", first=images[:, 0, 0], second=images[:, 1, 0], y=y)
    assert read_table(tmp_path / "b.npz", "y", most=100).names == ("first", "second")


def test_what_cannot_be_read(tmp_path):
    """One sentence for each: the ending, the file, the label, its content, arrays that differ."""
    good = written(tmp_path, pd.DataFrame({"a": [1.0, 2.0], "yield": [0, 1]}))
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3,4\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("a,yield\n")
    (tmp_path / "binary.csv").write_bytes(b"a,yield\n\xff\xfe\x00,\xff\n")
    (tmp_path / "no.parquet").write_text("words")
    (tmp_path / "no.npz").write_text("words")
    np.savez(tmp_path / "uneven.npz", a=np.zeros(3), b=np.zeros(4))
    np.savez(tmp_path / "objects.npz", a=np.array([{}, 1], dtype=object))
    constant = written(tmp_path, pd.DataFrame({"a": [1, 1], "yield": [0, 1]}), "same.csv")
    for path, label, words in (
        (tmp_path / "table.xlsx", "a", "ends in .csv"),
        (good, "yeild", "did you perhaps mean 'yield'"),
        (good, "zzz", "the columns are a, yield"),
        (tmp_path / "ragged.csv", "a", "as many values in each row"),
        (tmp_path / "empty.csv", "a", "a header"),
        (tmp_path / "header.csv", "yield", "empty file"),
        (tmp_path / "binary.csv", "yield", "CSV file"),
        (tmp_path / "no.parquet", "a", "a Parquet file"),
        (tmp_path / "no.npz", "a", "an NPZ file"),
        (tmp_path / "uneven.npz", "a", "arrays of one length"),
        (tmp_path / "objects.npz", "a", "without objects"),
        (constant, "yield", "one column of numbers that varies"),
    ):
        with pytest.raises(ValueError, match=f"(?i){words}"):
            read_table(path, label, most=10)
    with pytest.raises(FileNotFoundError, match="no file"):
        read_table(tmp_path / "missing.csv", "a", most=10)
