"""Every registered claim, one experiment after another."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twolayer.experiments import EXPERIMENTS, PAPERS, Experiment
from twolayer.experiments.registry import Progress, claim, claims, silent, unknown
from twolayer.outcomes import Finding
from twolayer.report.figures import save_figure
from twolayer.results import as_json, save


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
    quick: bool = False,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Run the experiments and return their claims as rows of ``claims.json``.

    The file is written anew after each experiment, so an interruption loses only the experiment
    under way; one that raises becomes a row with the verdict ``"failed"`` and the rest goes on.

    Parameters
    ----------
    experiments
        What to run.
    directory
        Receives ``claims.json`` and each experiment's result and figure.
    quick
        Whether to run the quick sizes.
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
    for k, experiment in enumerate(experiments):
        progress("all claims", k, len(experiments))
        start = time.perf_counter()
        try:
            result = experiment.run(progress=progress, **(experiment.quick if quick else {}))
            rows += claims(result, experiment.paper)
        except Exception as error:
            failure = Finding(
                "run", experiment.statement, "", "", float("nan"), "failed",
                experiment.reference, f"{type(error).__name__}: {error}",
            )  # fmt: skip
            seconds = time.perf_counter() - start
            rows.append(claim(experiment.paper, experiment.name, failure, seconds))
        else:
            save(result, directory)
            save_figure(result, directory)
        _write(rows, directory / "claims.json")
    progress("all claims", len(experiments), len(experiments))
    return rows


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(as_json(rows), indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
