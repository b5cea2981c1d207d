"""Tables and progress bars for the terminal; Rich is imported here alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from twolayer.experiments.registry import Progress as ProgressHook
    from twolayer.results import Result
    from twolayer.theory.learnability import LearnabilityCertificate

_COLOURS = {
    "agrees": "green", "learnable": "green", True: "green",
    "disagrees": "red", "failed": "red", "not_learnable": "red", False: "red",
    "undecided": "yellow", None: "yellow",
}  # fmt: skip
_WORDS = {True: "yes", False: "no", None: "undecided"}


def show(*parts: RenderableType) -> None:
    """Print to standard output."""
    console = Console(highlight=False)
    for part in parts:
        console.print(part)


@contextmanager
def progress_bar() -> Iterator[ProgressHook]:
    """A hook ``(stage, done, total)`` that draws bars with an estimate on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
    clock = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *clock, console=Console(stderr=True), transient=True) as progress:
        bars: dict[str, Any] = {}

        def hook(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total)
            progress.update(bars[stage], completed=done, total=total)
            if done >= total and len(bars) > 1:
                progress.remove_task(bars.pop(stage))

        yield hook


def certificate_table(certificate: LearnabilityCertificate) -> tuple[RenderableType, ...]:
    """The verdict, its reason, the numbers, and every statement with its reference."""
    facts = certificate.to_json()
    verdict = Text(f"{facts['target']}  with {facts['activation']}: ", style="bold")
    verdict.append(facts["verdict"].replace("_", " "), style=f"bold {_COLOURS[facts['verdict']]}")
    numbers = Table.grid(padding=(0, 2))
    for name, value in (
        ("initial loss", _loss(facts["initial_loss"])),
        ("essential dimension", facts["essential_dim"]),
        ("information exponent", facts["information_exponent"]),
        ("leap, in these coordinates", facts["leap"]),
        ("isotropic leap", facts["isotropic_leap"]),
        ("merged staircase, in these coordinates", _WORDS[facts["merged_staircase"]]),
        ("chain, whatever the activation", _chain(facts["chain_dims"])),
        ("  loss floor", _loss(facts["loss_floor"])),
        (f"chain seen by {facts['activation']}", _chain(facts["activation_chain_dims"])),
        ("  loss floor", _loss(facts["activation_loss_floor"])),
        ("  expressivity floor", _loss(facts["expressivity_floor"])),
        ("Assumption 4.1", _condition(facts["assumption_4_1"])),
    ):
        numbers.add_row(name, str(value))
    statements = Table(title="Statements", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("holds", "statement", "reference"):
        statements.add_column(heading)
    for row in facts["statements"]:
        word = Text(_WORDS[row["holds"]], style=_COLOURS[row["holds"]])
        statements.add_row(word, row["name"], row["reference"])
    return verdict, Text(facts["reason"] + "\n"), numbers, Text(), statements


def experiments_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """The experiments with what each tests."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("experiment", "paper", "tests"):
        table.add_column(heading, no_wrap=heading != "tests")
    for row in rows:
        table.add_row(row["name"], row["paper"], f"{row['statement']} ({row['reference']})")
    return table


def claims_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Statement, predicted, measured +- error, verdict, seconds."""
    table = Table(padding=(0, 1, 0, 0), show_lines=True)
    table.add_column("statement", ratio=3)
    table.add_column("predicted", ratio=2)
    table.add_column("measured +- error", ratio=2)
    table.add_column("verdict", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for row in rows:
        statement = Text(row["statement"])
        if row["note"] and row["verdict"] != "agrees":
            statement.append(f"\n{row['note']}", style="dim")
        table.add_row(
            statement,
            _number(row["predicted"]),
            _with_error(row["measured"], row["error"]),
            Text(row["verdict"], style=_COLOURS[row["verdict"]]),
            "" if math.isnan(row["seconds"]) else f"{row['seconds']:.1f}",
        )
    return table


def result_table(result: Result) -> tuple[RenderableType, ...]:
    """What an experiment found."""
    parts: list[RenderableType] = [Text(result.statement, style="bold")]
    for prediction in result.predictions:
        for assumption in prediction.assumptions:
            if assumption.holds is not True:
                word = _WORDS[assumption.holds]
                text = f"{prediction.name}: {assumption.name}: {word}. {assumption.detail}"
                parts.append(Text(text, style=_COLOURS[assumption.holds]))
    for comparison in result.comparisons:
        line = Text(f"{comparison.name}: ")
        line.append(comparison.verdict, style=_COLOURS[comparison.verdict])
        line.append(f" ({comparison.reason})")
        parts.append(line)
    seconds = result.provenance.get("seconds", math.nan)  # a function in a study tells none
    rows = [
        {**vars(finding), "seconds": seconds / len(result.findings)} for finding in result.findings
    ]
    if rows:
        parts.append(claims_table(rows))
    return Group(*parts), Text("" if math.isnan(seconds) else f"{seconds:.1f} s")


def _condition(condition: Mapping[str, Any]) -> str:
    text = _WORDS[condition["holds"]]
    if condition["holds"]:
        text += f", order {condition['order']}"
    return text + (f", jumps at {condition['orders']}" if condition["orders"] else "")


def _chain(dims: Sequence[int]) -> str:
    return " < ".join(map(str, dims))


def _loss(loss: Mapping[str, Any]) -> str:
    if loss["value"] is None:
        return "above 1e308"
    value = f"{loss['value']:g}"
    exact = loss["exact"] or value
    return value if exact == value or len(exact) > 40 else f"{exact} = {value}"


def _number(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _with_error(value: float | str, error: float | None) -> str:
    if isinstance(value, str) or error is None or error == 0:
        return _number(value)
    return f"{value:.4g} +- {error:.2g}"
