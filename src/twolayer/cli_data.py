"""Commands on a user's own data. The command line alone imports this module."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated

import typer


def diagnose(
    data: Annotated[Path, typer.Argument(help="A .csv, .parquet or .npz file.", metavar="FILE")],
    label: Annotated[str, typer.Option("--label", "-l", help="The column to predict.")],
    task: Annotated[str, typer.Option(help="classification, regression or auto.")] = "auto",
    max_samples: Annotated[int, typer.Option(help="More rows are not used.")] = 3000,
    methods: Annotated[
        str, typer.Option(help="Names separated by commas. [default: all]", show_default=False)
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    out: Annotated[Path | None, typer.Option(help="The HTML page. [default: FILE.html]")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Ask of a file of data whether learned features beat a kernel, which, and what to use.

    Compares linear, kernel, random-feature and feature-learning methods on the same splits, finds
    the directions that matter, and says so in one sentence; it says when it can't tell. Examples:

        twolayer diagnose measurements.csv --label yield

        twolayer diagnose images.npz --label y --max-samples 1000 --json
    """
    if max_samples < 20:
        message = f"Expected --max-samples of at least 20. Received: {max_samples}."
        raise ValueError(message)
    from dataclasses import replace

    import pandas as pd

    from twolayer.data_files import read_table
    from twolayer.diagnose import METHODS
    from twolayer.diagnose import diagnose as run
    from twolayer.report.diagnosis import write_diagnosis
    from twolayer.report.tables import progress_bar
    from twolayer.results import as_json as to_json

    warnings.simplefilter("ignore")
    chosen = tuple(part.strip() for part in methods.split(",")) if methods else METHODS
    table = read_table(data, label, most=max_samples, random_state=seed)
    inputs = pd.DataFrame(table.x, columns=list(table.names))
    with progress_bar() as progress:
        found = run(
            inputs, table.y, task=task, methods=chosen, max_samples=max_samples,
            random_state=seed, progress=progress,
        )  # fmt: skip
    found = replace(found, rows=table.rows, notes=(*table.notes, *found.notes))
    page = write_diagnosis(found, out or data.with_suffix(".html"), data.name)
    if as_json:
        typer.echo(json.dumps(to_json(found), indent=1))
        return
    typer.echo(str(found))
    typer.echo(f"Page: {page}")
