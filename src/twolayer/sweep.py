"""Grids of parameters over any experiment, on any engine, resumable at any moment."""

from __future__ import annotations

import inspect
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twolayer.engines import Engine, open_engine
from twolayer.experiments.registry import Progress, silent, unknown
from twolayer.grids import Grid, cells_of, function_of, name_of, options_of
from twolayer.store import Cell, Study

if TYPE_CHECKING:
    import xarray

    from twolayer.results import Result

_ATTEMPTS = 3  # a cell that takes its worker down so often is given up
_BEAT = 1.0  # seconds between two looks at what other processes do


def sweep(
    experiment: str | Callable[..., Any],
    grid: Grid,
    *,
    study: str | Path,
    seeds: int = 1,
    engine: str | Engine = "in-process",
    workers: int | None = None,
    progress: Progress = silent,
) -> xarray.Dataset:
    """Run an experiment at every point of a grid; what the study knows is not computed again.

    Parameters
    ----------
    experiment
        A registered name, or a function of a module that returns a number, a mapping from names
        to numbers, or a `Result`.
    grid
        For each parameter the values to go through, or one value to hold; the rest keep their
        defaults.
    study
        The file that keeps every finished cell: a killed sweep goes on where it was.
    seeds
        How many values of the parameter ``seed``, from 0 on, unless the grid has it.
    engine
        Where to compute: a name of `twolayer.engines.ENGINES`, or an open engine.
    workers
        How many at a time.
    progress
        Called with a stage, how many cells are done and how many there are.

    Returns
    -------
    dataset
        Of `twolayer.study_view.dataset`: what was measured, predicted and found at every point.

    Raises
    ------
    ValueError
        If the experiment or a parameter is unknown, or a value is of the wrong type.
    OSError
        If the study cannot be written, or a scheduler does not answer.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     roots = sweep("math:sqrt", {"x": [1.0, 4.0]}, study=f"{folder}/roots.sqlite")
    >>> roots.measured.sel(quantity="value").values.tolist()
    [1.0, 2.0]
    """
    from twolayer.study_view import dataset

    name = name_of(experiment)
    cells = cells_of(name, grid, seeds)
    with Study(study) as opened:
        opened.add(cells)
        if isinstance(engine, Engine):
            run_cells(opened, cells, engine, progress)
        else:
            with open_engine(engine, workers=workers) as made:
                run_cells(opened, cells, made, progress)
        return dataset(opened, cells)


def run_cells(
    study: Study, cells: Sequence[Cell], engine: Engine, progress: Progress = silent
) -> None:
    """Compute every cell that the study has not yet, beside other processes that do the same."""
    wanted = {cell.key for cell in cells}
    under_way: dict[Future[Any], Cell] = {}
    suspects: list[Cell] = []  # under way when workers died: each is tried alone
    deaths: Counter[str] = Counter()
    pending: list[str] = []
    looked = -math.inf
    while True:
        if not pending or time.monotonic() - looked > _BEAT:
            looked = time.monotonic()
            study.release_dead()
            statuses = {key: word for key, word in study.statuses().items() if key in wanted}
            pending = [key for key, word in statuses.items() if word == "pending"][::-1]
            claimed = sum(word == "claimed" for word in statuses.values())
            progress("cells", len(wanted) - len(pending) - claimed, len(wanted))
            if not pending and not claimed:
                return
        if not suspects:
            room = max(engine.capacity - len(under_way), 0)
            chosen = study.claim([pending.pop() for _ in range(min(room, len(pending)))])
        else:
            chosen = [] if under_way else [suspects.pop()]
        for cell in chosen:
            under_way[engine.submit(run_cell, cell.experiment, dict(cell.parameters))] = cell
        if not under_way:
            if not pending:  # another process is at work on the rest
                time.sleep(_BEAT)
            continue
        done, _ = wait(under_way, timeout=_BEAT, return_when=FIRST_COMPLETED)
        died = [future for future in done if _worker_died(future)]
        for future in done.difference(died):
            _record(study, under_way.pop(future), future)
        if died:
            engine.restart()
            lost = list(under_way.values())
            under_way.clear()
            if len(lost) == 1:
                deaths[lost[0].key] += 1
            for cell in lost:
                if deaths[cell.key] >= _ATTEMPTS:
                    study.fail(cell, f"its worker died {_ATTEMPTS} times: for want of memory?")
                else:
                    suspects.append(cell)


def _worker_died(future: Future[Any]) -> bool:
    error = future.exception()
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"


def _record(study: Study, cell: Cell, future: Future[Any]) -> None:
    """Write what became of a cell."""
    error = future.exception()
    if error is not None:
        study.fail(cell, f"{type(error).__name__}: {error}")
        return
    status, content, seconds = future.result()
    if status == "failed":
        study.fail(cell, content, seconds=seconds)
    else:
        message = _not_finite(content) if status == "diverged" else ""
        study.finish(cell, content, seconds=seconds, status=status, message=message)


def run_cell(name: str, parameters: dict[str, Any]) -> tuple[str, Any, float]:
    """In a worker: status, the result as JSON or the reason why there is none, and seconds."""
    import jax

    from twolayer.results import as_json

    start = time.perf_counter()
    try:
        with jax.enable_x64(True):
            result = as_result(name, function_of(name), parameters)
    except (Exception, SystemExit) as error:  # one cell's failure is its own
        return "failed", f"{type(error).__name__}: {error}", time.perf_counter() - start
    seconds = time.perf_counter() - start
    return _status(result), as_json(result), seconds


def as_result(name: str, function: Callable[..., Any], parameters: dict[str, Any]) -> Result:
    """What a function found, as a result; numbers go into ``details["values"]``.

    Raises
    ------
    TypeError
        If it returned something else.
    """
    from twolayer.results import Result

    options = options_of(name)
    unnamed = [  # a built-in function may know no names
        key
        for key in parameters
        if key not in options or options[key].kind is inspect.Parameter.POSITIONAL_ONLY
    ]
    named = {key: value for key, value in parameters.items() if key not in unnamed}
    found = function(*(parameters[key] for key in unnamed), **named)
    if isinstance(found, Result):
        return found
    given = found if isinstance(found, Mapping) else {"value": found}
    values = {str(key): _as_number(value) for key, value in given.items()}
    if not given or len(values) < len(given) or None in values.values():
        message = "Expected a number, a mapping from names to numbers, or a Result. "
        message += f"Received: {found!r:.60} of type {type(found).__name__}."
        raise TypeError(message)
    numbers = {key: float(value) for key, value in values.items()}
    return Result(experiment=name, parameters=parameters, details={"values": numbers})


def _as_number(value: Any) -> Any:
    """A number, also one in an array without dimensions; ``None`` for anything else."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    return value if isinstance(value, Real) else None


def _status(result: Result) -> str:
    statuses = {status for curve in result.trajectories for status in curve.status}
    diverged = "diverged" in statuses and "finished" not in statuses
    numbers = result.details.get("values", {}).values()
    finite = all(math.isfinite(number) for number in numbers if isinstance(number, float))
    return "diverged" if diverged or not finite else "finished"


def _not_finite(content: Mapping[str, Any]) -> str:
    """What left the finite numbers, in a result as JSON, where it is ``None``."""
    values = content["details"].get("values", {})
    names = [name for name, value in values.items() if value is None]
    return (
        f"not a finite number: {', '.join(names)}" if names else "a curve left the finite numbers"
    )


def boundary_points(
    experiment: str,
    bounds: Mapping[str, tuple[float, float]],
    *,
    study: Study,
    quantity: str,
    level: float = 0.0,
    points: int = 100,
    engine: Engine,
    progress: Progress = silent,
) -> Iterator[tuple[float, float, float]]:
    """Points of a plane, dense where a measured quantity crosses a level, and its value there.

    The triangle that holds the most of the boundary is split next, by the package ``adaptive``.
    Whole-numbered parameters are rounded.

    Raises
    ------
    ValueError
        If there are not two parameters, the level is no number, there is no point to take, the
        package is missing, or the quantity is unknown.
    """
    if not math.isfinite(level) or points < 1:
        message = "Expected a finite level and at least 1 point. "
        message += f"Received: level {level}, {points} points."
        raise ValueError(message)
    try:
        from adaptive import Learner2D
    except ImportError as error:
        message = "Refining a boundary needs the package adaptive: install twolayer[cluster]."
        raise ValueError(message) from error
    if len(bounds) != 2:
        message = f"Expected two parameters with a range each. Received: {len(bounds)}."
        raise ValueError(message)
    from twolayer.study_view import quantities

    first, second = bounds
    options = options_of(experiment)

    def place(name: str, value: float) -> float | int:
        whole = name in options and isinstance(options[name].default, int)
        return round(value) if whole else float(value)

    ranges = tuple(bounds.values())
    learner = Learner2D(_not_called, ranges, loss_per_triangle=_CrossingLoss(level))  # type: ignore[arg-type]
    while learner.npoints < points:
        number = min(engine.capacity, points - learner.npoints)
        asked: list[tuple[float, float]] = learner.ask(number)[0]  # type: ignore[assignment]
        grids = [{first: place(first, x), second: place(second, y)} for x, y in asked]
        cells = [cells_of(experiment, grid)[0] for grid in grids]
        study.add(cells)
        run_cells(study, list({cell.key: cell for cell in cells}.values()), engine)
        for point, cell in zip(asked, cells, strict=True):
            try:
                found = quantities(study, cell)
            except KeyError:  # the cell failed: its status says why
                found = {quantity: {"measured": math.nan}}
            if quantity not in found:
                known = f"those there are: {', '.join(found)}"
                raise ValueError(unknown("quantity", quantity, found, known))
            value = found[quantity]["measured"]
            learner.tell(point, value)
            yield cell.parameters[first], cell.parameters[second], value
        progress("points", learner.npoints, points)


def _not_called(point: tuple[float, float]) -> float:
    """The learner is told its values: it never evaluates anything."""
    raise NotImplementedError(point)


class _CrossingLoss:
    """The area of each triangle whose corners lie on both sides of the level, a trace else."""

    def __init__(self, level: float):
        self.level = level

    def __call__(self, interpolator: Any) -> Any:
        import numpy as np
        from adaptive.learner.learner2D import areas

        values = np.nan_to_num(np.asarray(interpolator.values)[:, 0], nan=self.level)
        above = (values > self.level)[interpolator.tri.simplices]
        crossing = above.any(axis=1) & ~above.all(axis=1)
        return np.sqrt(areas(interpolator)) * np.where(crossing, 1.0, 1e-2)
