"""Figures of results; Matplotlib is imported here alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from twolayer.outcomes import (
    Comparison,
    Convergence,
    Finding,
    PhaseDiagram,
    Prediction,
    Trajectory,
)
from twolayer.report.axes import (
    COLOURS,
    DASHES,
    DECADES,
    FEW,
    colours,
    is_long,
    is_wide,
    over_seeds,
    two_errors,
    value_label,
)
from twolayer.results import Result

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FRAMES_A_SECOND = 15


def figure(result: Result) -> Figure:
    """Curves over time, the gap against size, and findings: whatever the result holds.

    Predictions are lines (bounds dashed); training is the mean over seeds with bars or a band of
    two standard errors; findings are predicted against measured, with error bars.
    """
    from matplotlib.figure import Figure

    panels: list[Callable[[Axes, Result], object]] = []
    panels += [partial(_draw_paths, name, None) for name in result.details.get("paths", {})]
    if result.predictions or result.trajectories:
        panels.append(_draw_curves)
    if any(map(_has_gaps, result.comparisons)):
        panels.append(_draw_convergence)
    panels += [partial(_draw_diagram, diagram) for diagram in result.diagrams]
    numbers = [finding for finding in result.findings if isinstance(finding.predicted, float)]
    if numbers and not (result.trajectories or result.diagrams):
        panels.append(_draw_findings)
    if not panels:
        panels.append(_draw_words)
    drawing = Figure(figsize=(5.6 * max(len(panels), 1), 4.2), layout="constrained")
    for k, draw in enumerate(panels):
        draw(drawing.add_subplot(1, len(panels), k + 1), result)
    short = {name: value for name, value in result.parameters.items() if len(str(value)) <= 30}
    title = ", ".join(f"{name} = {value}" for name, value in short.items())
    drawing.suptitle(f"{result.experiment}\n{_wrapped(title, 65 * len(panels))}", fontsize=9)
    return drawing


def save_figure(result: Result, directory: str | Path) -> Path:
    """Write ``<experiment>.png`` into `directory` and return its path."""
    path = Path(directory) / f"{result.experiment}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure(result).savefig(path, dpi=150)
    return path


def animation(result: Result) -> FuncAnimation:
    """The neurons of ``result.details["paths"]`` on their way in the plane, start by start.

    ``paths`` holds an array ``[t, m, 2]`` for each start, all of one length, and
    ``details["teacher"]`` the teachers ``[r, 2]``.

    Raises
    ------
    ValueError
        If the result holds no paths.
    """
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

    paths = result.details.get("paths")
    if not paths:
        message = "Expected a result with the paths of neurons in the plane. "
        message += f"Received: {result.experiment!r}, which has none."
        raise ValueError(message)
    drawing = Figure(figsize=(4 * len(paths), 4.2))  # fixed: a layout for each frame is slow
    places = [drawing.add_subplot(1, len(paths), k + 1) for k in range(len(paths))]

    def draw(frame: int) -> list[Any]:
        for axes, name in zip(places, paths, strict=True):
            axes.clear()
            _draw_paths(name, frame + 1, axes, result)
        return []

    frames = min(len(path) for path in paths.values())
    return FuncAnimation(drawing, draw, frames=frames, interval=1000 // _FRAMES_A_SECOND)


def save_animation(result: Result, directory: str | Path) -> Path:
    """Write ``<experiment>.gif`` into `directory` and return its path."""
    from matplotlib.animation import PillowWriter

    path = Path(directory) / f"{result.experiment}.gif"
    path.parent.mkdir(parents=True, exist_ok=True)
    animation(result).save(path, writer=PillowWriter(fps=_FRAMES_A_SECOND), dpi=70)
    return path


def _draw_paths(name: str, length: int | None, axes: Axes, result: Result) -> None:
    """Teachers as rays both ways, neurons as ``|w| w``, which is what adds up to a teacher."""
    path = np.asarray(result.details["paths"][name], dtype=np.float64)
    path = path * np.linalg.norm(path, axis=2, keepdims=True)
    teacher = np.asarray(result.details["teacher"], dtype=np.float64)
    for v in teacher:
        axes.plot([-v[0], v[0]], [-v[1], v[1]], "--", color=COLOURS[6], linewidth=0.8)
    axes.plot(*teacher.T, "*", color=COLOURS[1], markersize=12, zorder=4)
    shown = path[:length]
    axes.plot(shown[..., 0], shown[..., 1], color=COLOURS[0], linewidth=0.8, alpha=0.7)
    axes.plot(*shown[-1].T, ".", color=COLOURS[0], zorder=3)
    reach = 1.1 * max(float(np.abs(teacher).max()), float(np.abs(path).max()))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_title(name, fontsize=9)


def _draw_curves(axes: Axes, result: Result) -> None:
    # A prediction and a trajectory of one name belong together: one colour, one legend entry.
    colour = colours(result)
    curves = (*result.predictions, *result.trajectories)
    wide = is_wide(curve.value for curve in curves)
    for trajectory in result.trajectories:
        _draw_trajectory(axes, trajectory, colour[trajectory.name], positive=wide)
    drawn = {trajectory.name for trajectory in result.trajectories}
    for prediction in result.predictions:
        label = None if prediction.name in drawn else prediction.name
        _draw_prediction(axes, prediction, colour[prediction.name], label, positive=wide)
        drawn.add(prediction.name)
    grids = [np.asarray(p.grid) for p in result.predictions]
    grids += [np.asarray(t.time) for t in result.trajectories]
    if is_long(grids):
        places = np.concatenate(grids)
        axes.set_xscale("symlog", linthresh=float(places[places > 0].min()))
    if wide:
        axes.set_yscale("log", nonpositive="mask")
    axes.set(xlabel=curves[0].grid_name, ylabel=value_label(result))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _draw_prediction(
    axes: Axes, prediction: Prediction, colour: str, label: str | None, *, positive: bool
) -> None:
    style: dict[str, Any] = {"linestyle": DASHES[prediction.kind], "color": colour}
    marker = "o" if len(prediction.grid) == 1 else None
    axes.plot(prediction.grid, prediction.value, label=label, marker=marker, zorder=3, **style)
    if prediction.error is not None:
        value, error = np.asarray(prediction.value), np.asarray(prediction.error)
        low, high = two_errors(value, error, positive=positive)
        _draw_band(axes, prediction.grid, low, high, colour)


def _draw_trajectory(axes: Axes, trajectory: Trajectory, colour: str, *, positive: bool) -> None:
    lost = sum(status != "finished" for status in trajectory.status)
    label = trajectory.name + (f" ({lost} seeds did not finish)" if lost else "")
    mean, error = over_seeds(trajectory)
    axes.plot(trajectory.time, mean, ".", label=label, color=colour)
    if error is not None:
        low, high = two_errors(mean, error, positive=positive)
        _draw_band(axes, trajectory.time, low, high, colour, bars=FEW)


def _draw_band(
    axes: Axes, x: Any, low: np.ndarray, high: np.ndarray, colour: str, *, bars: int = 1
) -> None:
    """From low to high: bars if there are so few points, else a band."""
    if len(low) <= bars:
        axes.vlines(x, low, high, color=colour)
    else:
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _has_gaps(comparison: Comparison | Convergence) -> TypeGuard[Convergence]:
    """Whether there are gaps between training and theory for logarithmic axes."""
    return isinstance(comparison, Convergence) and bool(np.any(comparison.gap > 0))


def _draw_convergence(axes: Axes, result: Result) -> None:
    for k, convergence in enumerate(result.comparisons):
        if not _has_gaps(convergence):
            continue
        colour = COLOURS[k % len(COLOURS)]
        axes.errorbar(
            convergence.sizes, convergence.gap, 2 * convergence.error, fmt="o", color=colour,
            label=f"{convergence.name}: slope {-convergence.slope:+.2f}"
            f" $\\pm$ {convergence.slope_error:.2f}",
        )  # fmt: skip
        reference = convergence.gap[0] * (convergence.sizes / convergence.sizes[0]) ** (
            -convergence.rate
        )
        label = f"slope -{convergence.rate:g}" if convergence.rate else None
        axes.plot(convergence.sizes, reference, "--", color=colour, alpha=0.6, label=label)
    axes.set(xscale="log", yscale="log", xlabel="size", ylabel="gap between training and theory")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, which="both")


def _draw_diagram(diagram: PhaseDiagram, axes: Axes, result: Result) -> None:
    """A heat map, rows upwards; cells that could not be measured are left out."""
    from matplotlib.colors import LogNorm

    del result
    columns, rows = (np.asarray(grid, dtype=np.float64) for grid in (diagram.columns, diagram.rows))
    value = np.asarray(diagram.value, dtype=np.float64)[np.argsort(rows)][:, np.argsort(columns)]
    value, norm = np.ma.masked_invalid(value), None
    positive = value[value > 0].compressed()
    if diagram.logarithmic and positive.size and value.min() >= 0:
        # Zeros and what is next to them, by chance mostly, share the lowest colour.
        lowest = max(positive.min(), positive.max() / DECADES)
        value, norm = np.ma.maximum(value, lowest), LogNorm()
    axes.set(xlabel=diagram.column_name, ylabel=diagram.row_name)
    axes.set_title(diagram.name, fontsize=9)
    drawing = axes.get_figure(root=True)
    if value.size and drawing is not None:
        mesh = axes.pcolormesh(_edges(columns), _edges(rows), value, norm=norm)
        drawing.colorbar(mesh, ax=axes)


def _edges(grid: np.ndarray) -> np.ndarray:
    """Where the cells around the points of a grid meet; cells of width 1 around a single point."""
    grid = np.sort(grid)
    middle = (grid[1:] + grid[:-1]) / 2
    first, last = (middle[0], middle[-1]) if middle.size else (grid[0] + 0.5, grid[0] - 0.5)
    return np.concatenate([[2 * grid[0] - first], middle, [2 * grid[-1] - last]])


def _draw_findings(axes: Axes, result: Result) -> None:
    rows: list[Finding] = [f for f in result.findings if isinstance(f.predicted, float)]
    places = np.arange(len(rows))[::-1]
    axes.plot([f.predicted for f in rows], places, "o", color=COLOURS[0], label="predicted",
              markersize=9, fillstyle="none")  # fmt: skip
    axes.errorbar(
        [float(f.measured) for f in rows], places, xerr=[2 * f.error for f in rows], fmt=".",
        color=COLOURS[1], label="measured (two errors)",
    )  # fmt: skip
    axes.set_yticks(places, [f.name for f in rows], fontsize=8)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _draw_words(axes: Axes, result: Result) -> None:
    """Findings that are words: what was predicted, and whether it was found."""
    axes.axis("off")
    if not result.findings:
        return
    rows = [[f.name, str(f.predicted), f.verdict] for f in result.findings]
    drawing = axes.get_figure(root=True)
    if drawing is not None:
        drawing.set_size_inches(10.5, 0.25 * len(rows) + 1.2)
    table = axes.table(rows, colLabels=["case", "predicted", "verdict"], loc="upper center",
                       cellLoc="left", colWidths=[0.24, 0.66, 0.1])  # fmt: skip
    table.auto_set_font_size(False)
    table.set_fontsize(7)
    for cell in table.get_celld().values():
        cell.set_height(1 / (len(rows) + 1))
        cell.set_edgecolor("0.8")


def _wrapped(text: str, width: int) -> str:
    from textwrap import fill

    return fill(text, width)
