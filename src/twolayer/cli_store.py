"""Commands that look into studies. The command line alone imports this module."""

from __future__ import annotations

import json
import math
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import xarray

    from twolayer.store import Entry, Study

StudyFile = Annotated[Path, typer.Argument(help="The study's file.", metavar="STUDY")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

store_app = typer.Typer(
    help="Look into studies: list, show, compare, export, remove what is stale.",
    no_args_is_help=True,
)


def list_cells(
    study: StudyFile,
    as_json: Json = False,
) -> None:
    """List the cells of a study: key, status, seconds, and the parameters that vary."""
    from twolayer.store import Study

    with Study(study, create=False) as opened:
        entries, damaged = opened.entries(), set(opened.damaged())
    rows = [_row(entry, _varying(entries), damaged) for entry in entries]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        pairs = ", ".join(f"{name}={value}" for name, value in row["parameters"].items())
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.2f} s"
        typer.echo(
            f"{row['key'][:12]}  {row['status']:9s} {seconds:>10s}  {row['experiment']} {pairs}"
        )


def show_cell(
    study: StudyFile,
    key: Annotated[str, typer.Argument(help="The first letters of its key.")],
    as_json: Json = False,
) -> None:
    """Show one cell: its parameters and what it found."""
    from twolayer.store import Study

    with Study(study, create=False) as opened:
        entry = find_cell(opened, key)
        has_result = entry.status in {"finished", "diverged"}
        content = opened.document(entry.cell.key) if has_result else None
    if as_json:
        whole = {**_row(entry, None), "result": content}
        typer.echo(json.dumps(whole, indent=1))
        return
    from twolayer.report.tables import result_table, show
    from twolayer.results import from_json

    typer.echo(f"{entry.cell.experiment} ({entry.cell.version}): {entry.status} {entry.message}")
    typer.echo(entry.cell.text)
    if content is None:
        return
    result = from_json(content)
    show(*result_table(result))
    for name, value in result.details.get("values", {}).items():
        typer.echo(f"{name} = {'not finite' if value is None else f'{value:.6g}'}")


def compare_cells(
    study: StudyFile,
    first: Annotated[str, typer.Argument(help="The first letters of a key.")],
    second: Annotated[str, typer.Argument(help="The first letters of another.")],
    as_json: Json = False,
) -> None:
    """Hold two cells against each other: parameters that differ, quantities, standard errors."""
    from twolayer.store import Study
    from twolayer.study_view import changes, quantities

    with Study(study, create=False) as opened:
        entries = [find_cell(opened, first), find_cell(opened, second)]
        for entry in entries:
            if entry.status not in {"finished", "diverged"}:
                message = "Expected cells with results. Received: "
                message += f"{entry.cell.key[:12]}, which is {entry.status}."
                raise ValueError(message)
        one, other = (entry.cell for entry in entries)
        rows = changes(quantities(opened, one), quantities(opened, other))
    differ = {
        name: [one.parameters.get(name), other.parameters.get(name)]
        for name in one.parameters
        if one.parameters.get(name) != other.parameters.get(name)
    }
    if as_json:
        from twolayer.results import as_json as to_json

        typer.echo(json.dumps({"parameters": differ, "quantities": to_json(rows)}, indent=1))
        return
    for name, (a, b) in differ.items():
        typer.echo(f"{name}: {a} -> {b}")
    for row in rows:
        apart = row["standard_errors"]
        errors = "" if math.isnan(apart) else f" ({apart:+.1f} standard errors)"
        typer.echo(
            f"{row['quantity']}: {row['first']:.6g} -> {row['second']:.6g}, "
            f"{row['difference']:+.3g}{errors}"
        )


def export_study(
    study: StudyFile,
    out: Annotated[Path, typer.Argument(help="A name that ends in .csv, .parquet, .nc or .zarr.")],
) -> None:
    """Write a study's table for other programs."""
    check_export(out)
    from twolayer.store import Study
    from twolayer.study_view import dataset, export

    with Study(study, create=False) as opened:
        data = dataset(opened)
    typer.echo(f"Table: {export(data, out)}")
    note_damaged(data)


def note_damaged(data: xarray.Dataset) -> None:
    """Name on standard error the cells whose results are not what was written."""
    if data.attrs["damaged"]:
        typer.echo(f"Left out as damaged: {data.attrs['damaged']}.", err=True)


def collect_garbage(
    study: StudyFile,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
) -> None:
    """Remove cells that failed, are damaged, or are of another version of the library."""
    from importlib.metadata import version

    from twolayer.store import Study

    with Study(study, create=False) as opened:
        doomed: dict[str, str] = {}
        damaged = set(opened.damaged())
        for entry in opened.entries():
            key = entry.cell.key
            if entry.cell.version != version("twolayer"):
                doomed[key] = f"version {entry.cell.version}"
            elif entry.status == "failed":
                doomed[key] = "failed"
            elif key in damaged:
                doomed[key] = "damaged"
        for key, reason in doomed.items():
            typer.echo(f"{key[:12]}  {reason}")
        if not dry_run:
            opened.forget(doomed)
    typer.echo(f"{len(doomed)} cells {'would be ' if dry_run else ''}removed")


def check_export(path: Path) -> None:
    """Raise unless a table can be written under that name.

    Raises
    ------
    ValueError
        If its ending is unknown.
    """
    from twolayer.study_view import EXPORTS

    if path.suffix not in EXPORTS:
        message = f"Expected a name that ends in {', '.join(EXPORTS)}. Received: {path.name!r}."
        raise ValueError(message)


def find_cell(study: Study, key: str) -> Entry:
    """The one cell whose key begins so.

    Raises
    ------
    ValueError
        If there is none, or several.
    """
    found = [entry for entry in study.entries() if entry.cell.key.startswith(key)]
    if len(found) != 1:
        message = f"Expected the first letters of one key. Received: {key!r}, which "
        message += f"{len(found) or 'no'} cells have; see 'twolayer store list'."
        raise ValueError(message)
    return found[0]


def _varying(entries: list[Entry]) -> set[str]:
    seen: dict[str, set[str]] = {}
    for entry in entries:
        for name, value in entry.cell.parameters.items():
            seen.setdefault(name, set()).add(repr(value))
    return {name for name, values in seen.items() if len(values) > 1}


def _row(entry: Entry, names: set[str] | None, damaged: Container[str] = ()) -> dict[str, Any]:
    parameters = {
        name: value
        for name, value in entry.cell.parameters.items()
        if names is None or name in names
    }
    return {
        "key": entry.cell.key,
        "experiment": entry.cell.experiment,
        "version": entry.cell.version,
        "status": "damaged" if entry.cell.key in damaged else entry.status,
        "attempts": entry.attempts,
        "seconds": entry.seconds,
        "message": entry.message,
        "parameters": parameters,
    }
