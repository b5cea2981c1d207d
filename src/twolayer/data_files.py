"""Tables of other programs as inputs and labels: CSV, Parquet, NPZ, read in pieces."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".parquet", ".npz")

_PIECE = 50_000  # rows read at a time
_LEVELS = 20  # of a column of words, each of which becomes a column of 0 and 1


@dataclass(frozen=True)
class Table:
    """A file's samples, as many as were kept.

    Attributes
    ----------
    x
        Numbers, one sample a row.
    y
        Labels: numbers or words.
    names
        Of the columns of x.
    rows
        How many the file has.
    notes
        One sentence for each thing that was done to the data.
    """

    x: Float[np.ndarray, "n d"]
    y: Any
    names: tuple[str, ...]
    rows: int
    notes: tuple[str, ...]


def read_table(path: str | Path, label: str, *, most: int, random_state: int = 0) -> Table:
    """Read a file in pieces and keep at most `most` rows, each row with the same chance.

    Columns of words with few different ones become columns of 0 and 1, others are left out, as
    are constant columns; missing numbers become the column's median, and rows without a label are
    dropped. Each of these is noted.

    Parameters
    ----------
    path
        A ``.csv`` with a header, a ``.parquet``, or an ``.npz`` of one array for each column or of
        a table ``X`` and the labels.
    label
        The column of labels.
    most
        How many rows to keep.
    random_state
        Seed of the choice of rows.

    Raises
    ------
    ValueError
        If the file is none of these, the label is not among its columns, or nothing is left.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        message = f"Expected a file that ends in {', '.join(FORMATS)}. Received: {path.name!r}."
        raise ValueError(message)
    if not path.is_file():
        message = f"There is no file {path}."
        raise FileNotFoundError(message)
    frame, rows = _sample(_pieces(path), label, most, np.random.default_rng(random_state))
    notes = [] if rows <= most else [f"{most} of {rows} rows were drawn at random."]
    kept: pd.DataFrame = frame.loc[frame[label].notna()]
    if len(kept) < len(frame):
        notes.append(f"{len(frame) - len(kept)} rows without a label were dropped.")
    if kept.empty:
        message = f"Expected labels in column {label!r}. Received: none."
        raise ValueError(message)
    if len(kept) < 2:
        message = f"Expected at least two rows with a label. Received: {len(kept)}."
        raise ValueError(message)
    y = np.asarray(_as_numbers(kept[label]))
    x, names = _numbers(kept.drop(columns=label), notes)
    return Table(x, y if y.dtype.kind in "biuf" else y.astype(str), names, rows, tuple(notes))


def _as_numbers(column: Any) -> Any:
    """A column whose values all are numbers as such, whatever type it was read as.

    Pieces of a file may be read as different types, and whole numbers of more than 19 digits are
    read as words.
    """
    import pandas as pd

    if column.dtype.kind in "biuf":
        return column
    present = column.dropna()
    if present.map(lambda value: isinstance(value, bool)).any():
        return column
    try:
        # Python's own reading of numbers takes any number of digits
        numbers = [float(value) for value in present]
    except (TypeError, ValueError, OverflowError):
        return column
    whole = pd.Series(np.nan, index=column.index)
    whole.loc[present.index] = numbers
    return whole if len(numbers) else column


def _pieces(path: Path) -> Iterator[pd.DataFrame]:
    import pandas as pd

    if path.suffix == ".csv":
        try:
            # the types of columns may differ between pieces: `_as_numbers` settles them
            yield from pd.read_csv(path, chunksize=_PIECE, skipinitialspace=True, low_memory=False)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            message = "Expected a CSV file with a header and as many values in each row. "
            message += f"Received: {path}: {' '.join(str(error).split())}."
            raise ValueError(message) from error
    elif path.suffix == ".parquet":
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            message = "Reading Parquet needs another package: install twolayer[export]."
            raise ValueError(message) from error
        try:
            for batch in ParquetFile(path).iter_batches(_PIECE):
                yield batch.to_pandas()
        except ArrowException as error:
            message = f"Expected a Parquet file. Received: {path}: {error}."
            raise ValueError(message) from error
    else:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                columns = dict(arrays)
        except (ValueError, zipfile.BadZipFile) as error:
            message = f"Expected an NPZ file of arrays without objects. Received: {path}."
            raise ValueError(message) from error
        yield pd.DataFrame(_columns(columns, path))


def _columns(arrays: dict[str, Any], path: Path) -> dict[str, Any]:
    """One-dimensional columns; a table becomes its numbered columns."""
    found: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            found[name] = array
        elif array.ndim >= 2:
            flat = array.reshape(len(array), -1)
            found |= {f"{name}{k}": flat[:, k] for k in range(flat.shape[1])}
    if len({len(column) for column in found.values()}) != 1:
        message = f"Expected arrays of one length in {path}. Received: others."
        raise ValueError(message)
    return found


def _sample(
    pieces: Iterator[pd.DataFrame], label: str, most: int, generator: np.random.Generator
) -> tuple[pd.DataFrame, int]:
    """The rows with the `most` smallest random numbers, whatever the number of rows."""
    import pandas as pd

    kept, marks, rows = None, np.zeros(0), 0
    for piece in pieces:
        if label not in piece.columns:
            from twolayer.experiments.registry import unknown

            columns = [str(name) for name in piece.columns]
            known = f"the columns are {', '.join(columns[:20])}"
            raise ValueError(unknown("column", label, columns, known))
        rows += len(piece)
        new = generator.random(len(piece))
        kept = piece if kept is None else pd.concat([kept, piece], ignore_index=True)
        marks = np.concatenate([marks, new])
        if len(marks) > most:
            chosen = np.sort(np.argpartition(marks, most)[:most])
            kept, marks = kept.iloc[chosen].reset_index(drop=True), marks[chosen]
    if kept is None or not rows:
        message = "Expected samples. Received: an empty file."
        raise ValueError(message)
    return kept, rows


def _numbers(
    frame: pd.DataFrame, notes: list[str]
) -> tuple[Float[np.ndarray, "n d"], tuple[str, ...]]:
    """Every usable column as numbers."""
    columns: dict[str, Any] = {}
    words, constant, filled = [], [], []
    for name in frame.columns:
        column = _as_numbers(frame[name])
        if column.dtype.kind not in "biuf":
            levels = column.astype(str).where(column.notna(), "missing")
            different = levels.unique()
            if 1 < len(different) <= _LEVELS:
                columns |= {f"{name}={one}": (levels == one).to_numpy(float) for one in different}
            else:
                words.append(str(name))
            continue
        values = column.to_numpy(np.float64)
        values = np.where(np.isinf(values), np.nan, values)
        missing = np.isnan(values)
        if missing.all() or np.nanmin(values) == np.nanmax(values):
            constant.append(str(name))
            continue
        if missing.any():
            filled.append(str(name))
            values = np.where(missing, np.nanmedian(values), values)
        columns[str(name)] = values
    for names, what in (
        (words, f"left out: words, all the same or more than {_LEVELS} different"),
        (constant, "left out: constant or empty"),
        (filled, "had missing or infinite values, now the median"),
    ):
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            notes.append(f"Columns {shown} {what}.")
    if not columns:
        message = "Expected at least one column of numbers that varies. Received: none."
        raise ValueError(message)
    return np.stack(list(columns.values()), axis=1), tuple(columns)
