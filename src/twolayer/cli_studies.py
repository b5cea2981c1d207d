"""Commands on studies: sweep, plot, store. The command line alone imports this module."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twolayer.cli_guard import outlive_workers
from twolayer.cli_store import StudyFile, check_export, note_damaged

if TYPE_CHECKING:
    from twolayer.store import Cell, Study

Experiment = Annotated[
    str,
    typer.Argument(help="As 'twolayer list' names it, or a function of yours, module:function."),
]
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
    from twolayer.grids import cells_of, read_bounds, read_grids
    from twolayer.store import Study

    path = study or Path(f"{experiment.replace(':', '-')}.sqlite")
    if status:
        with Study(path, create=False) as opened:
            _show_status(opened)
        return
    if path.exists() and not resume:
        message = f"{path} exists: add --resume to go on with it, or name another with --study."
        raise ValueError(message)
    if ":" in experiment:
        sys.path.insert(0, str(Path.cwd()))  # a function of one's own lies where one is
    axes = read_grids(grid or [])
    if refine and seeds != 1:
        message = "Expected --refine without --seeds: it takes one value at each point."
        raise ValueError(message)
    cells = [] if refine else cells_of(experiment, axes, seeds)
    bounds = read_bounds(axes) if refine else {}
    if out is not None:
        check_export(out)
    from twolayer.engines import open_engine
    from twolayer.report.tables import progress_bar

    with (
        _kept_if_used(path),
        outlive_workers(),
        Study(path) as opened,
        open_engine(engine, workers=workers, scheduler=scheduler) as made,
        progress_bar() as progress,
    ):
        from twolayer.sweep import boundary_points, run_cells

        found: list[tuple[float, ...]] = []
        if refine:
            found += boundary_points(
                experiment, bounds, study=opened, quantity=refine, level=level,
                points=points, engine=made, progress=progress,
            )  # fmt: skip
        else:
            opened.add(cells)
            run_cells(opened, cells, made, progress)
    with Study(path, create=False) as opened:
        if refine:
            failed = _finish_boundary(opened, found, (*bounds, refine), out)
        else:
            failed = _finish(opened, cells, out)
    if failed:
        raise typer.Exit(1)


@contextmanager
def _kept_if_used(path: Path) -> Iterator[None]:
    """Remove a study that was made for nothing: its file would stand in the next attempt's way."""
    from twolayer.store import Study

    existed = path.exists()
    try:
        yield
    except Exception:
        if not existed and path.exists():
            with Study(path, create=False) as opened:
                used = bool(opened.counts())
            if not used:
                path.unlink()
        raise


def _finish(study: Study, cells: list[Cell], out: Path | None) -> bool:
    """Say how it went, write the table; whether cells have no result."""
    damaged = set(_show_status(study))
    if out is not None:
        from twolayer.study_view import dataset, export

        typer.echo(f"Table: {export(dataset(study, cells), out)}")
    keys = {cell.key for cell in cells}
    statuses = study.statuses()
    return any(statuses.get(key) == "failed" or key in damaged for key in keys)


def _finish_boundary(
    study: Study, found: Sequence[tuple[float, ...]], names: Sequence[str], out: Path | None
) -> bool:
    """Say where the boundary is, write the table; whether points have no value."""
    _show_status(study)
    for row in found[-_SHOWN:]:
        pairs = zip(names, row, strict=True)
        typer.echo(", ".join(f"{name} = {value:.6g}" for name, value in pairs))
    if out is not None:
        from twolayer.study_view import export, points_table

        typer.echo(f"Table: {export(points_table(names, found), out)}")
    return any(math.isnan(row[-1]) for row in found)


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
    if y == x:
        message = f"Expected two different parameters. Received: {x!r} twice."
        raise ValueError(message)
    if out.is_dir():
        message = f"Expected --out to be a file. Received: {str(out)!r}, which is a directory."
        raise ValueError(message)
    out = out if out.suffix else out.with_suffix(".png")
    chosen = quantity or names[0]
    result = as_diagram(data, x, y, chosen) if y else as_curves(data, x, chosen)
    from twolayer.report.figures import figure

    out.parent.mkdir(parents=True, exist_ok=True)
    figure(result).savefig(out, dpi=150)
    typer.echo(f"Figure: {out}")
    note_damaged(data)
    if not quantity and len(names) > 1:
        typer.echo(f"Drawn: {chosen}. Others: {', '.join(names[1:])}.")


def _show_status(study: Study) -> list[str]:
    """Print what there is, and return the keys of damaged results."""
    counts, damaged = study.counts(), study.damaged()
    statuses = study.statuses()
    for key in damaged:
        counts[statuses[key]] -= 1
    counts = {word: number for word, number in counts.items() if number}
    counts |= {"damaged": len(damaged)} if damaged else {}
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
    if damaged:
        keys = " ".join(key[:12] for key in damaged[:_SHOWN])
        typer.echo(f"  damaged: {keys}; 'twolayer store gc {study.path}' removes them")
    return damaged
