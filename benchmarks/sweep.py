"""What a sweep adds to each cell, in this process and in a pool, and how long a report takes.

Cells call a function that does nothing; the bare loop calls it as often.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

from timing import arguments, summary, write

if __name__ == "__main__":  # workers read this file too
    OPTIONS = arguments(__doc__, cells=200, results=100)

import numpy as np

import twolayer as tl
from twolayer.engines import open_engine
from twolayer.experiments import find_experiment
from twolayer.grids import cells_of
from twolayer.report.html import page
from twolayer.sweep import run_cells

COUNTER = itertools.count()


def milliseconds(engine_name):
    """A cell's share of a sweep, workers already warm."""
    start = 1000 * next(COUNTER)
    with (
        tempfile.TemporaryDirectory() as folder,
        tl.Study(Path(folder) / "study.sqlite") as study,
        open_engine(engine_name, workers=OPTIONS.threads) as engine,
    ):
        cells = cells_of("math:sqrt", {"x": [float(start + k) for k in range(OPTIONS.cells)]})
        study.add(cells)
        run_cells(study, cells[:4], engine)
        begin = time.perf_counter()
        run_cells(study, cells[4:], engine)
        return 1000 * (time.perf_counter() - begin) / (len(cells) - 4)


def report_seconds(result):
    """The page of many copies of one result."""
    begin = time.perf_counter()
    page([result] * OPTIONS.results)
    return time.perf_counter() - begin


def main():
    """Measure and write."""
    rows = []
    for name in ("in-process", "processes"):
        measured = summary([milliseconds(name) for _ in range(OPTIONS.repeats)])
        rows.append({"measured": f"overhead of a cell, {name}, ms", **measured})
    one = find_experiment("constant-time-floor").run(
        **find_experiment("constant-time-floor").parameters("quick")
    )
    measured = summary([report_seconds(one) for _ in range(OPTIONS.repeats)])
    rows.append({"measured": f"page of {OPTIONS.results} results, s", **measured})
    for row in rows:
        print(f"{row['measured']:40s} {row['median']:.2f} ({row['min']:.2f} to {row['max']:.2f})")
    assert np.isfinite([row["median"] for row in rows]).all()
    write("sweep", OPTIONS, rows)


if __name__ == "__main__":
    main()
