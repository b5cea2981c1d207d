"""Every registered claim, one experiment after another, resumed where a run was interrupted."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twolayer.experiments import EXPERIMENTS, PAPERS, Experiment
from twolayer.experiments.registry import (
    Progress,
    Tier,
    claim,
    claims,
    silent,
    source_digest,
    unknown,
)
from twolayer.outcomes import Finding
from twolayer.report.figures import save_figure
from twolayer.report.html import write_report
from twolayer.results import Result, as_json, load, save


@dataclass(frozen=True)
class Reproduction:
    """What a run of all claims left.

    Attributes
    ----------
    rows
        The claims, as in ``claims.json``.
    kept
        The experiments whose results an earlier run had left.
    report
        The HTML page.
    """

    rows: list[dict[str, Any]]
    kept: list[str]
    report: Path


def select(papers: Sequence[str]) -> list[Experiment]:
    """The experiments of the named papers, of all papers if none is named.

    Raises
    ------
    ValueError
        If a name is no paper, or a paper has no experiments in this version.

    Examples
    --------
    >>> {experiment.paper for experiment in select(["subspace_sparse"])}
    {'subspace_sparse'}
    """
    chosen: list[Experiment] = []
    for paper in papers or dict.fromkeys(e.paper for e in EXPERIMENTS.values()):
        if paper not in PAPERS:
            raise ValueError(unknown("paper", paper, PAPERS, f"choose from {', '.join(PAPERS)}"))
        found = [experiment for experiment in EXPERIMENTS.values() if experiment.paper == paper]
        if not found:
            message = f"This version has no claims of {paper}: choose another paper."
            raise ValueError(message)
        chosen += [experiment for experiment in found if experiment not in chosen]
    return chosen


def reproduce(
    experiments: Sequence[Experiment],
    directory: str | Path,
    *,
    tier: Tier = "default",
    fresh: bool = False,
    progress: Progress = silent,
) -> Reproduction:
    """Run the experiments and write their claims, results, figures and a report.

    ``claims.json`` is written anew after each experiment, so an interruption loses only the one
    under way: a result in the directory that has the same parameters and was computed by the same
    version and source is kept. An experiment that raises becomes a row with the verdict
    ``"failed"`` and the rest goes on.

    Parameters
    ----------
    experiments
        What to run.
    directory
        Receives ``claims.json``, ``report.html`` and each experiment's result and figure.
    tier
        Which sizes: ``"quick"``, ``"default"`` or ``"full"``, the papers' own.
    fresh
        Whether to run everything, whatever results there are.
    progress
        Called with a stage, how much of it is done, and how much there is.

    Raises
    ------
    OSError
        If the directory cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    results: list[Result] = []
    failed: list[dict[str, Any]] = []
    kept: list[str] = []
    for k, experiment in enumerate(experiments):
        progress("all claims", k, len(experiments))
        parameters = experiment.parameters(tier)
        result = None if fresh else stored(experiment, parameters, directory)
        if result is not None:
            kept.append(experiment.name)
        else:
            start = time.perf_counter()
            try:
                result = experiment.run(progress=progress, **parameters)
            except Exception as error:
                row = _failure(experiment, error, time.perf_counter() - start)
                failed.append(row)
                rows.append(row)
                _write(rows, directory / "claims.json")
                continue
            save(result, directory)
            rows += _draw(experiment, result, directory)
        results.append(result)
        rows += claims(result, experiment.paper)
        _write(rows, directory / "claims.json")
    progress("all claims", len(experiments), len(experiments))
    return Reproduction(rows, kept, write_report(results, directory / "report.html", failed))


def stored(
    experiment: Experiment, parameters: dict[str, Any], directory: str | Path
) -> Result | None:
    """The result that an earlier run left, if it is the one that would be computed now.

    Parameters
    ----------
    experiment, parameters
        What would be run.
    directory
        Where an earlier run wrote.
    """
    try:
        result = load(Path(directory) / f"{experiment.name}.json")
    except (ValueError, OSError, KeyError, TypeError):  # none, or not whole
        return None
    versions = result.provenance.get("versions", {})
    same = (
        result.experiment == experiment.name
        and result.parameters == as_json(parameters)
        and versions.get("twolayer") == version("twolayer")
        and result.provenance.get("source") == source_digest()
    )
    if not same:
        return None
    # JSON has no number for what is none.
    findings = tuple(
        replace(f, predicted=_real(f.predicted), measured=_real(f.measured), error=_real(f.error))
        for f in result.findings
    )
    return replace(result, findings=findings)


def _real(value: Any) -> Any:
    return math.nan if value is None else value


def _draw(experiment: Experiment, result: Result, directory: Path) -> list[dict[str, Any]]:
    """Save the figure; a figure that can't be drawn is a claim that failed, not the end."""
    try:
        save_figure(result, directory)
    except Exception as error:
        return [_failure(experiment, error, 0.0, "figure")]
    return []


def _failure(
    experiment: Experiment, error: Exception, seconds: float, name: str = "run"
) -> dict[str, Any]:
    finding = Finding(
        name, experiment.statement, "", "", math.nan, "failed", experiment.reference,
        f"{type(error).__name__}: {error}",
    )  # fmt: skip
    return claim(experiment.paper, experiment.name, finding, seconds)


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(as_json(rows), indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
