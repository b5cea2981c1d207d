"""Figures of results for the browser, as Plotly draws them; Plotly is imported here alone.

A figure is the JSON that ``Plotly.newPlot`` takes, written directly: a hundred results take no
second. Texts are anybody's, and Plotly reads some HTML in them, so they are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from twolayer.outcomes import Convergence, Finding, PhaseDiagram, Prediction, Trajectory
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

_POINTS = 250  # of a curve that are drawn
_ROWS = 20  # of a curve in the table beside the figure
_DIGITS = 5
_KINDS = {"exact": "exact", "asymptotic": "limit", "upper": "upper bound", "lower": "lower bound"}
_SILENT = {"hoverinfo": "skip", "showlegend": False}
_HOVER = "%{fullData.name}<br>%{x:.4g}: %{y:.4g}<extra></extra>"


@dataclass(frozen=True)
class Panel:
    """One figure, and the same in words and numbers.

    Attributes
    ----------
    title
        What it shows.
    description
        Its text alternative, in one sentence.
    figure
        ``data`` and ``layout`` for Plotly, without colours of the page.
    headings, rows
        The table of its numbers.
    """

    title: str
    description: str
    figure: dict[str, Any]
    headings: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]


def library() -> str:
    """The source of Plotly's JavaScript, to be put into a page that works offline."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def panels(result: Result) -> list[Panel]:
    """Curves, the gap against size, phase diagrams, or findings: whatever the result holds.

    Parameters
    ----------
    result
        A result, fresh or loaded.

    Examples
    --------
    >>> t = np.array([0.0, 1.0, 2.0])
    >>> loss = Prediction("loss", t, np.exp(-t), "exact", "derived here")
    >>> [panel] = panels(Result(predictions=(loss,)))
    >>> panel.title, panel.headings
    ('loss', ('curve', 'time', 'value', 'standard error'))
    """
    found = []
    if result.predictions or result.trajectories:
        found.append(_curves(result))
    gaps = [c for c in result.comparisons if isinstance(c, Convergence) and np.any(c.gap > 0)]
    if gaps:
        found.append(_convergence(gaps))
    found += [_diagram(diagram) for diagram in result.diagrams]
    numbers = [f for f in result.findings if _is_number(f.predicted) and _is_number(f.measured)]
    if numbers and not (result.trajectories or result.diagrams):
        found.append(_findings(numbers))
    return found


def _curves(result: Result) -> Panel:
    curves = (*result.predictions, *result.trajectories)
    colour = colours(result)
    wide = is_wide(curve.value for curve in curves)
    traces: list[dict[str, Any]] = []
    rows: list[tuple[str | float | None, ...]] = []
    shown: set[str] = set()
    alone = len(colour) == 1  # one name for everything would say nothing
    for trajectory in result.trajectories:
        name = _with_losses("training" if alone else trajectory.name, trajectory)
        mean, error = over_seeds(trajectory)
        own = colour[trajectory.name]
        traces += _band(trajectory.time, mean, error, own, positive=wide, bars=FEW)
        traces.append(
            _line(trajectory.time, mean, name, own)
            | {"mode": "markers", "legendgroup": "" if alone else _plain(trajectory.name)}
        )
        rows += _numbers(f"{trajectory.name}, training", trajectory.time, mean, error)
        shown.add(trajectory.name)
    for prediction in result.predictions:
        band, value = prediction.error, np.asarray(prediction.value)
        if band is not None:
            traces += _band(prediction.grid, value, band, colour[prediction.name], positive=wide)
        trace = _predicted(prediction, colour[prediction.name])
        if alone:
            trace |= {"name": f"theory, {_KINDS[prediction.kind]}", "legendgroup": ""}
        traces.append(trace | {"showlegend": alone or prediction.name not in shown})
        rows += _numbers(f"{prediction.name}, {prediction.kind}", prediction.grid, value, band)
        shown.add(prediction.name)
    label, grid = value_label(result), curves[0].grid_name
    places = [np.asarray(p.grid) for p in result.predictions]
    places += [np.asarray(t.time) for t in result.trajectories]
    layout = _layout(grid, label, log_x=is_long(places), log_y=wide)
    description = (
        f"Curves over {grid}: {', '.join(dict.fromkeys(curve.name for curve in curves))}. "
        "Lines are predictions, bounds dashed; dots are the mean of training over seeds, with "
        "bars or a band of two standard errors."
    )
    title = label or f"curves over {grid}"
    headings = ("curve", grid, "value", "standard error")
    return Panel(title, description, {"data": traces, "layout": layout}, headings, tuple(rows))


def _predicted(prediction: Prediction, colour: str) -> dict[str, Any]:
    single = len(prediction.grid) == 1
    dash = "dash" if DASHES[prediction.kind] == "--" else "solid"
    trace = _line(prediction.grid, prediction.value, prediction.name, colour)
    trace |= {"mode": "markers" if single else "lines", "line": {"color": colour, "dash": dash}}
    return trace | {"legendgroup": _plain(prediction.name)}


def _with_losses(name: str, trajectory: Trajectory) -> str:
    lost = sum(status != "finished" for status in trajectory.status)
    return name + (f" ({lost} seeds did not finish)" if lost else "")


def _line(x: Any, y: Any, name: str, colour: str) -> dict[str, Any]:
    keep = _thinned(len(np.ravel(x)), _POINTS)
    return {
        "type": "scatter",
        "x": _rounded(np.ravel(x)[keep]),
        "y": _rounded(np.ravel(y)[keep]),
        "name": _plain(name),
        "marker": {"color": colour, "size": 7},
        "line": {"color": colour},
        "hovertemplate": _HOVER,
    }


def _band(
    x: Any, y: Any, error: Any, colour: str, *, positive: bool, bars: int = 1
) -> list[dict[str, Any]]:
    """Two standard errors to both sides, where there are any: as bars at that many points."""
    if error is None:
        return []
    x, y, error = (np.ravel(np.asarray(part, dtype=np.float64)) for part in (x, y, error))
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & np.isfinite(error))
    keep = finite[_thinned(len(finite), _POINTS)]
    if not np.any(error[keep] > 0):
        return []
    low, high = two_errors(y[keep], error[keep], positive=positive)
    if len(keep) <= bars:
        gap = np.full(len(keep), np.nan)
        bar = {"x": _rounded(np.column_stack([x[keep], x[keep], gap]))}
        bar["y"] = _rounded(np.column_stack([low, high, gap]))
        line = {"width": 2, "color": colour}
        return [{"type": "scatter", "mode": "lines", "line": line, **_SILENT, **bar}]
    across = np.concatenate([x[keep], x[keep][::-1]])
    around = np.concatenate([high, low[::-1]])
    return [
        {
            "type": "scatter", "x": _rounded(across), "y": _rounded(around), "fill": "toself",
            "fillcolor": colour, "opacity": 0.22, "line": {"width": 0}, "mode": "lines", **_SILENT,
        }
    ]  # fmt: skip


def _convergence(found: Sequence[Convergence]) -> Panel:
    traces, rows = [], []
    for k, convergence in enumerate(found):
        colour = COLOURS[k % len(COLOURS)]
        slope = f"{-convergence.slope:+.2f} ± {convergence.slope_error:.2f}"
        name = f"{convergence.name}: slope {slope}"
        measured = _line(convergence.sizes, convergence.gap, name, colour)
        bars = {"type": "data", "array": _rounded(2 * convergence.error), "color": colour}
        traces.append(measured | {"mode": "markers", "error_y": bars})
        sizes = np.asarray(convergence.sizes)
        expected = convergence.gap[0] * (sizes / sizes[0]) ** -convergence.rate
        traces.append(
            _line(sizes, expected, f"slope {-convergence.rate or 0:g}", colour)
            | {"mode": "lines", "line": {"color": colour, "dash": "dash"}}
        )
        rows += _numbers(name, sizes, convergence.gap, convergence.error)
    layout = _layout("size", "gap between training and theory", log_x=True, log_y=True)
    description = (
        "The gap between training and theory against the size, with bars of two standard errors; "
        "dashed, the slowest decay that the theory allows."
    )
    headings = ("gap", "size", "value", "standard error")
    figure = {"data": traces, "layout": layout}
    return Panel("gap between training and theory", description, figure, headings, tuple(rows))


def _diagram(diagram: PhaseDiagram) -> Panel:
    value = np.asarray(diagram.value, dtype=np.float64)
    shade, bar = value, {}
    positive = value[np.isfinite(value) & (value > 0)]
    if diagram.logarithmic and positive.size and np.nanmin(value) >= 0:
        # Zeros and what is next to them, by chance mostly, share the lowest colour.
        lowest = max(float(positive.min()), float(positive.max()) / DECADES)
        with np.errstate(invalid="ignore"):
            shade = np.log10(np.maximum(value, lowest))
        ticks = np.linspace(np.nanmin(shade), np.nanmax(shade), 5)
        bar = {"tickvals": _rounded(ticks), "ticktext": [f"{10**tick:.2g}" for tick in ticks]}
    trace = {
        "type": "heatmap", "x": _rounded(diagram.columns), "y": _rounded(diagram.rows),
        "z": [_rounded(row) for row in shade], "customdata": [_rounded(row) for row in value],
        "colorscale": "Viridis", "colorbar": bar, "hoverongaps": False,
        "hovertemplate": "(%{x:.4g}, %{y:.4g}): %{customdata:.4g}<extra></extra>",
    }  # fmt: skip
    layout = _layout(diagram.column_name, diagram.row_name, log_x=False, log_y=False)
    description = (
        f"Heat map of {diagram.name} over {diagram.column_name} (across) and {diagram.row_name} "
        "(upwards)."
    )
    headings = (f"{diagram.row_name} \\ {diagram.column_name}", *map(_short, diagram.columns))
    rows = tuple((float(y), *_rounded(row)) for y, row in zip(diagram.rows, value, strict=True))
    figure = {"data": [trace], "layout": layout}
    return Panel(diagram.name, description, figure, headings, rows)


def _findings(found: Sequence[Finding]) -> Panel:
    names = [_plain(finding.name) for finding in found]
    predicted = [finding.predicted for finding in found]
    measured = [finding.measured for finding in found]
    error = np.array([finding.error for finding in found], dtype=np.float64)
    common = {"type": "scatter", "mode": "markers", "y": names}
    hover = {"hovertemplate": "%{y}<br>%{fullData.name}: %{x:.4g}<extra></extra>"}
    bars = {"type": "data", "array": _rounded(2 * error), "color": COLOURS[1]}
    traces = [
        common | hover | {
            "x": _rounded(predicted), "name": "predicted",
            "marker": {"color": COLOURS[0], "size": 12, "symbol": "circle-open"},
        },
        common | hover | {
            "x": _rounded(measured), "name": "measured (two errors)", "error_x": bars,
            "marker": {"color": COLOURS[1], "size": 6},
        },
    ]  # fmt: skip
    values = [v for v in (*predicted, *measured) if isinstance(v, float)]
    layout = _layout("", "", log_x=is_wide([values]) and min(values) > 0, log_y=False)
    layout["yaxis"] = {"automargin": True, "autorange": "reversed", "type": "category"}
    layout["height"] = 140 + 26 * len(names)
    rows = tuple(zip(names, predicted, measured, _rounded(error), strict=True))
    headings = ("finding", "predicted", "measured", "standard error")
    description = (
        "What was predicted (circles) and measured (dots with two standard errors, or twice the "
        "numerical tolerance where nothing is random)."
    )
    figure = {"data": traces, "layout": layout}
    return Panel("predicted and measured", description, figure, headings, rows)


def _layout(x: str, y: str, *, log_x: bool, log_y: bool) -> dict[str, Any]:
    axes = {}
    for axis, name, logarithmic in (("xaxis", x, log_x), ("yaxis", y, log_y)):
        kind = {"type": "log"} if logarithmic else {}
        title = {"text": _plain(name)}
        axes[axis] = {"title": title, "automargin": True, "exponentformat": "power", **kind}
    return axes


def _numbers(name: str, x: Any, y: Any, error: Any) -> list[tuple[str | float | None, ...]]:
    x, y = np.ravel(x), np.ravel(y)
    errors = np.full(x.shape, np.nan) if error is None else np.ravel(error)
    keep = _thinned(len(x), _ROWS)
    columns = (_rounded(part[keep]) for part in (x, y, errors))
    return [(name, *row) for row in zip(*columns, strict=True)]


def _thinned(count: int, most: int) -> np.ndarray:
    """Evenly spaced places out of so many, first and last among them."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(int))


def _rounded(values: Any) -> list[float | None]:
    """Numbers of a few digits, ``None`` for what is none."""
    found = np.asarray([np.nan if value is None else value for value in np.ravel(values)], float)
    return [float(f"{v:.{_DIGITS}g}") if np.isfinite(v) else None for v in found.tolist()]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))


def _short(value: float) -> str:
    return f"{float(value):.3g}"


def _plain(text: str) -> str:
    """A text that Plotly shows as it stands."""
    return escape(text, quote=False)
