"""A study as people want it: a labelled data set, files of other programs, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twolayer.outcomes import PhaseDiagram, Prediction, Status, Trajectory
from twolayer.results import Result
from twolayer.store import Cell, DamagedEntryError, Study

if TYPE_CHECKING:
    import xarray

EXPORTS = (".csv", ".parquet", ".nc", ".zarr")

_NUMBERS = ("measured", "predicted", "error")


def quantities(study: Study, cell: Cell) -> dict[str, dict[str, Any]]:
    """What one cell found: for each quantity what was measured, predicted, its error, its verdict.

    Quantities are the experiment's findings, the last value of each curve of training (mean and
    standard error over its seeds, as ``final NAME``), and the numbers of a plain function.

    Raises
    ------
    KeyError
        If the cell has no result.
    DamagedEntryError
        If the result is not what was written.
    """
    content = study.document(cell.key)
    found: dict[str, dict[str, Any]] = {}
    for row in content["findings"]:
        found[row["name"]] = {
            "measured": _number(row["measured"]),
            "predicted": _number(row["predicted"]),
            "error": _number(row["error"]),
            "verdict": row["verdict"],
        }
    for curve in content["trajectories"]:
        values = np.asarray(curve["value"], dtype=np.float64)
        if values.size:
            last = values[:, -1]
            last = last[np.isfinite(last)]
            error = last.std(ddof=1) / np.sqrt(last.size) if last.size > 1 else np.nan
            mean = last.mean() if last.size else np.nan
            found.setdefault(f"final {curve['name']}", {"measured": mean, "error": error})
    for name, value in content["details"].get("values", {}).items():
        found.setdefault(name, {"measured": _number(value)})
    return found


def dataset(study: Study, cells: Sequence[Cell] | None = None) -> xarray.Dataset:
    """Every quantity over the parameters that vary, and the status of every point.

    Variables ``measured``, ``predicted``, ``error`` and ``verdict`` have a dimension for each
    parameter that takes several values, and ``quantity``; ``status`` and ``seconds`` have the
    first ones. Points that were not computed, and damaged results, are NaN; the latter are named
    in the attribute ``damaged``.

    Parameters
    ----------
    study
        The study.
    cells
        Which of its cells; by default those of its newest version and last experiment.

    Raises
    ------
    ValueError
        If there are no cells.
    """
    import xarray

    entries = {entry.cell.key: entry for entry in study.entries()}
    if cells is None:
        last = next(reversed(entries.values()), None)
        cells = [
            entry.cell
            for entry in entries.values()
            if last
            and (entry.cell.experiment, entry.cell.version)
            == (last.cell.experiment, last.cell.version)
        ]
    if not cells:
        message = f"Expected a study with cells. Received: {study.path}, which has none."
        raise ValueError(message)
    axes = _axes(cells)
    found, damaged = {}, []
    for cell in cells:
        try:
            found[cell.key] = quantities(study, cell)
        except KeyError:
            found[cell.key] = {}
        except DamagedEntryError:
            found[cell.key] = {}
            damaged.append(cell.key[:12])
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    shape = tuple(map(len, axes.values()))
    numbers = {part: np.full((*shape, len(names)), np.nan) for part in _NUMBERS}
    verdicts = np.full((*shape, len(names)), "", dtype="<U12")
    status, seconds = np.full(shape, "missing", dtype="<U12"), np.full(shape, np.nan)
    for cell in cells:
        place = tuple(axes[name].index(cell.parameters[name]) for name in axes)
        entry = entries.get(cell.key)
        status[place] = "damaged" if cell.key[:12] in damaged else entry.status if entry else ""
        seconds[place] = entry.seconds if entry and entry.seconds is not None else np.nan
        for name, row in found[cell.key].items():
            there = (*place, names.index(name))
            verdicts[there] = row.get("verdict", "")
            for part in _NUMBERS:
                numbers[part][there] = row.get(part, np.nan)
    dims = (*axes, "quantity")
    variables: dict[str, Any] = {part: (dims, values) for part, values in numbers.items()}
    variables |= {"verdict": (dims, verdicts), "status": (dims[:-1], status)}
    variables["seconds"] = (dims[:-1], seconds)
    fixed = {name: cells[0].parameters[name] for name in cells[0].parameters if name not in axes}
    attributes = {"experiment": cells[0].experiment, "version": cells[0].version}
    attributes |= {"parameters": str(fixed), "damaged": " ".join(damaged)}
    coordinates = {name: list(values) for name, values in axes.items()} | {
        "quantity": np.asarray(names, dtype=str)
    }
    return xarray.Dataset(variables, coordinates, attributes)


def points_table(names: Sequence[str], rows: Sequence[Sequence[float]]) -> xarray.Dataset:
    """Scattered points with what was measured there, as `export` takes them.

    Examples
    --------
    >>> points_table(("x", "y", "gap"), [(0.0, 1.0, 2.0)]).gap.values.tolist()
    [2.0]
    """
    import xarray

    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    pairs = zip(names, columns, strict=True)
    return xarray.Dataset({name: ("point", list(values)) for name, values in pairs})


def export(data: xarray.Dataset, path: str | Path) -> Path:
    """Write a data set as CSV, Parquet, NetCDF or Zarr, as the ending of the name says.

    Raises
    ------
    ValueError
        If the ending is another, or a package is missing.
    """
    path = Path(path)
    if path.suffix not in EXPORTS:
        message = f"Expected a name that ends in {', '.join(EXPORTS)}. Received: {path.name!r}."
        raise ValueError(message)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.suffix == ".nc":
            data.to_netcdf(path, engine="h5netcdf")
        elif path.suffix == ".zarr":
            data.to_zarr(path, mode="w", zarr_format=2)  # version 3 has no fixed texts
        else:
            table = data.to_dataframe().reset_index()
            if path.suffix == ".csv":
                table.to_csv(path, index=False)
            else:
                table.to_parquet(path, index=False)
    except ImportError as error:
        message = (
            f"Writing {path.suffix} needs another package: install twolayer[export] ({error})."
        )
        raise ValueError(message) from error
    return path


def as_curves(data: xarray.Dataset, x: str, quantity: str) -> Result:
    """A quantity over one parameter, a curve for each value of the others, seeds averaged.

    Raises
    ------
    ValueError
        If the parameter does not vary, or the quantity is unknown.
    """
    values = _chosen(data, quantity, x)
    rest = [name for name in values.dims if name not in {x, "seed"}]
    curves, predictions = [], []
    predicted, errors = (data[part].sel(quantity=quantity) for part in ("predicted", "error"))
    for point in _points(data, rest):
        label = ", ".join(f"{name} = {value}" for name, value in point.items()) or quantity
        rows, error = (
            part.sel(point).transpose(..., x).values.reshape(-1, data.sizes[x])
            for part in (values, errors)
        )
        grid = np.asarray(data[x].values, dtype=np.float64)
        missing = int(np.sum(~np.isfinite(rows)))
        if missing:
            label += f" ({missing} of {rows.size} cells have no value)"
            rows, error = _means(rows, error)
        status: tuple[Status, ...] = ("finished",) * len(rows)
        curves.append(Trajectory(label, grid, rows, status, error, grid_name=x))
        theory = predicted.sel(point).transpose(..., x).values.reshape(-1, data.sizes[x])
        if np.isfinite(theory).any():
            (mean,), _ = _means(theory, np.zeros(theory.shape))
            predictions.append(Prediction(label, grid, mean, "exact", "", grid_name=x))
    return Result(
        experiment=str(data.attrs["experiment"]),
        parameters={"quantity": quantity},
        trajectories=tuple(curves),
        predictions=tuple(predictions),
        quantity=quantity,
    )


def _means(rows: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error at each place over the values that there are, as a single row.

    Where there is one value its own error is all that is known.
    """
    there = np.isfinite(rows)
    number = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, rows, 0.0).sum(axis=0) / number
        squares = np.where(there, rows - mean, 0.0) ** 2
        error = np.sqrt(squares.sum(axis=0) / (number - 1) / number)
    own = np.where(there, errors, 0.0).sum(axis=0)
    return mean[None], np.where(number > 1, error, own)[None]


def as_diagram(data: xarray.Dataset, x: str, y: str, quantity: str) -> Result:
    """A quantity over two parameters, everything else averaged.

    Raises
    ------
    ValueError
        If a parameter does not vary, or the quantity is unknown.
    """
    values = _chosen(data, quantity, x, y)
    rest = [name for name in values.dims if name not in {x, y}]
    number = values.notnull().sum(rest)
    mean = values.mean(rest).transpose(y, x).values
    spread = values.std(rest, ddof=1) if rest else values * np.nan
    error = (spread / np.sqrt(number.where(number > 1))).transpose(y, x).values
    rows, columns = (np.asarray(data[name].values, dtype=np.float64) for name in (y, x))
    diagram = PhaseDiagram(
        quantity, rows, columns, y, x, mean, error if rest else None, logarithmic=False
    )
    return Result(
        experiment=str(data.attrs["experiment"]),
        parameters={"quantity": quantity},
        diagrams=(diagram,),
    )


def _chosen(data: xarray.Dataset, quantity: str, *parameters: str) -> xarray.DataArray:
    from twolayer.experiments.registry import unknown

    known = [str(name) for name in data["measured"].dims if name != "quantity"]
    for name in parameters:
        if name not in known:
            raise ValueError(unknown("parameter", name, known, f"those that vary: {known}"))
        if not np.issubdtype(data[name].dtype, np.number):
            message = f"Expected a parameter with numbers. Received: {name!r}."
            raise ValueError(message)
    names = data["quantity"].values.tolist()
    if quantity not in names:
        raise ValueError(unknown("quantity", quantity, names, f"those there are: {names}"))
    return data["measured"].sel(quantity=quantity)


def _points(data: xarray.Dataset, names: Sequence[Any]) -> list[dict[Any, Any]]:
    points: list[dict[Any, Any]] = [{}]
    for name in names:
        points = [{**point, name: value} for point in points for value in data[name].values]
    return points


def _axes(cells: Sequence[Cell]) -> dict[str, list[Any]]:
    """The parameters that take several values, with these, sorted where they are numbers."""
    axes: dict[str, list[Any]] = {}
    for name in cells[0].parameters:
        values = list(dict.fromkeys(cell.parameters.get(name) for cell in cells))
        if len(values) > 1 or len(cells) == 1:
            numeric = all(isinstance(value, (int, float)) for value in values)
            axes[name] = sorted(values) if numeric else values
    if len(cells) == 1:
        return {}
    return axes


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The quantities of two cells side by side, and their difference in standard errors."""
    rows = []
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name, {}), second.get(name, {})
        gap = other.get("measured", np.nan) - one.get("measured", np.nan)
        error = np.hypot(one.get("error", np.nan), other.get("error", np.nan))
        rows.append({
            "quantity": name,
            "first": one.get("measured", np.nan),
            "second": other.get("measured", np.nan),
            "difference": gap,
            "standard_errors": gap / error if error > 0 else np.nan,
        })
    return rows
