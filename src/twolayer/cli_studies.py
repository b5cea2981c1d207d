"""Commands on studies: sweep, plot, store. The command line alone imports this module."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from twolayer.store import Cell, Entry, Study

StudyFile = Annotated[Path, typer.Argument(help="The study's file.", metavar="STUDY")]
Experiment = Annotated[str, typer.Argument(help="The experiment, as 'twolayer list' names it.")]
GridOption = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        "-g",
        help="NAME=V,V,... or NAME=LOW:HIGH:COUNT (add ':log' for ratios); values that hold "
        "commas end with a semicolon each. One value holds a parameter. Repeat for more.",
        metavar="NAME=VALUES",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

_SHOWN = 20  # failures that are printed


def sweep(
    experiment: Experiment,
    grid: GridOption = None,
    seeds: Annotated[int, typer.Option(help="Values of 'seed', from 0 on.")] = 1,
    study: Annotated[
        Path | None, typer.Option(help="File of the study. [default: EXPERIMENT.sqlite]")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="in-process, processes, dask or slurm.")
    ] = "in-process",
    workers: Annotated[
        int | None, typer.Option(help="Cells at a time. [default: one a processor]")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="A running Dask scheduler, like tcp://host:8786.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a study that exists, or add to it.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Only say how far the study is.")
    ] = False,
    refine: Annotated[
        str | None,
        typer.Option(help="Instead of a grid: points where this quantity crosses --level."),
    ] = None,
    level: Annotated[float, typer.Option(help="The level of --refine.")] = 0.0,
    points: Annotated[int, typer.Option(help="How many points --refine takes.")] = 100,
    out: Annotated[
        Path | None, typer.Option(help="Also write the table: .csv, .parquet, .nc or .zarr.")
    ] = None,
) -> None:
    """Run an experiment over a grid of parameters; every finished cell is kept at once.

    Kill it when you like: with --resume it goes on where it was, also beside another process on
    the same study. Exit status 1 if cells failed. Examples:

        twolayer sweep mean-field-flow --grid activation=relu,tanh --grid "dims=32;64,128"

        twolayer sweep langevin-optimum --grid width=100:10000:5:log --seeds 4 --engine processes

        twolayer sweep langevin-optimum --status
    """
    from twolayer.grids import cells_of, read_bounds, read_grid
    from twolayer.store import Study

    path = study or Path(f"{experiment.replace(':', '-')}.sqlite")
    if status:
        with Study(path, create=False) as opened:
            _show_status(opened)
        return
    existed = path.exists()
    if existed and not resume:
        message = f"{path} exists: add --resume to go on with it, or name another with --study."
        raise ValueError(message)
    axes = dict(read_grid(text) for text in grid or [])
    cells = [] if refine else cells_of(experiment, axes, seeds)
    bounds = read_bounds(axes) if refine else {}
    if out is not None:
        check_export(out)
    from twolayer.engines import open_engine
    from twolayer.report.tables import progress_bar

    with (
        Study(path) as opened,
        open_engine(engine, workers=workers, scheduler=scheduler) as made,
        progress_bar() as progress,
    ):
        from twolayer.sweep import boundary_points, run_cells

        if refine:
            found = list(
                boundary_points(
                    experiment, bounds, study=opened, quantity=refine, level=level,
                    points=points, engine=made, progress=progress,
                )
            )  # fmt: skip
        else:
            found = []
            opened.add(cells)
            run_cells(opened, cells, made, progress)
    with Study(path, create=False) as opened:
        failed = _finish(opened, cells, out, found=found, names=list(bounds), quantity=refine)
    if failed:
        raise typer.Exit(1)


def _finish(
    study: Study,
    cells: list[Cell],
    out: Path | None,
    *,
    found: list[Any],
    names: list[str],
    quantity: str | None,
) -> bool:
    """Say how it went, write the table; whether cells failed."""
    _show_status(study)
    if found:
        for row in found[-_SHOWN:]:
            pairs = zip([*names, quantity], row, strict=True)
            typer.echo(", ".join(f"{name} = {value:.6g}" for name, value in pairs))
    elif out is not None:
        from twolayer.study_view import dataset, export

        typer.echo(f"Table: {export(dataset(study, cells), out)}")
    keys = {cell.key for cell in cells}
    return any(word == "failed" for key, word in study.statuses().items() if key in keys)


def plot(
    study: StudyFile,
    x: Annotated[str, typer.Option("--x", help="The parameter along the axis.")],
    quantity: Annotated[
        str | None, typer.Option(help="What to draw. [default: the first there is]")
    ] = None,
    y: Annotated[
        str | None, typer.Option("--y", help="A second parameter: draws a heat map.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The figure's file.")] = Path("sweep.png"),
) -> None:
    """Draw a study: curves with error bars over one parameter, a heat map over two.

    Points are means over seeds, bands two standard errors. Examples:

        twolayer plot langevin-optimum.sqlite --x width

        twolayer plot study.sqlite --x samples --y strength --quantity gap --out phases.png
    """
    from twolayer.store import Study
    from twolayer.study_view import as_curves, as_diagram, dataset

    with Study(study, create=False) as opened:
        data = dataset(opened)
    names = data["quantity"].values.tolist()
    if not names:
        message = f"Expected a study with finished cells. Received: {study}, which has none."
        raise ValueError(message)
    chosen = quantity or names[0]
    result = as_diagram(data, x, y, chosen) if y else as_curves(data, x, chosen)
    from twolayer.report.figures import figure

    out.parent.mkdir(parents=True, exist_ok=True)
    figure(result).savefig(out, dpi=150)
    typer.echo(f"Figure: {out}")
    if not quantity and len(names) > 1:
        typer.echo(f"Drawn: {chosen}. Others: {', '.join(names[1:])}.")


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
        entries = opened.entries()
    rows = [_row(entry, _varying(entries)) for entry in entries]
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
        content = opened.document(entry.cell.key) if entry.seconds is not None else None
    if as_json:
        whole = {"key": entry.cell.key, **_row(entry, None), "result": content}
        typer.echo(json.dumps(whole, indent=1))
        return
    from twolayer.report.tables import result_table, show
    from twolayer.results import from_json

    typer.echo(f"{entry.cell.experiment} ({entry.cell.version}): {entry.status} {entry.message}")
    typer.echo(entry.cell.text)
    if content is not None:
        show(*result_table(from_json(content)))


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
        one, other = find_cell(opened, first).cell, find_cell(opened, second).cell
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

    from twolayer.store import DamagedEntryError, Study

    with Study(study, create=False) as opened:
        doomed: dict[str, str] = {}
        for entry in opened.entries():
            key = entry.cell.key
            if entry.cell.version != version("twolayer"):
                doomed[key] = f"version {entry.cell.version}"
            elif entry.status == "failed":
                doomed[key] = "failed"
            elif entry.status in {"finished", "diverged"}:
                try:
                    opened.document(key)
                except (DamagedEntryError, KeyError):
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


def _row(entry: Entry, names: set[str] | None) -> dict[str, Any]:
    parameters = {
        name: value
        for name, value in entry.cell.parameters.items()
        if names is None or name in names
    }
    return {
        "key": entry.cell.key,
        "experiment": entry.cell.experiment,
        "version": entry.cell.version,
        "status": entry.status,
        "attempts": entry.attempts,
        "seconds": entry.seconds,
        "message": entry.message,
        "parameters": parameters,
    }


def _show_status(study: Study) -> None:
    counts = study.counts()
    total = sum(counts.values())
    words = ", ".join(f"{number} {word}" for word, number in sorted(counts.items())) or "no cells"
    typer.echo(f"{study.path}: {total} cells: {words}")
    failures: dict[str, list[str]] = {}
    for entry in study.entries():
        if entry.status in {"failed", "diverged"}:
            reason = f"{entry.status}: {entry.message}"
            failures.setdefault(reason, []).append(entry.cell.key[:12])
    for reason, keys in list(failures.items())[:_SHOWN]:
        typer.echo(f"  {keys[0]}{f' and {len(keys) - 1} more' if len(keys) > 1 else ''} {reason}")
    if len(failures) > _SHOWN:
        typer.echo(f"  and {len(failures) - _SHOWN} other reasons: see 'twolayer store list'")
