"""Every registered claim, several experiments at a time, resumed where a run was interrupted."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twolayer.engines import open_engine
from twolayer.experiments import EXPERIMENTS, PAPERS, Experiment, find_experiment
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
from twolayer.results import Result, as_json, from_json, load, save


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
    workers: int = 1,
    progress: Progress = silent,
) -> Reproduction:
    """Run the experiments and write their claims, results, figures and a report.

    ``claims.json`` is written anew after each experiment, so an interruption loses only those
    under way: a result in the directory that has the same parameters and was computed by the same
    version and source is kept. An experiment that raises, or takes its process down, becomes a row
    with the verdict ``"failed"`` and the rest goes on.

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
    workers
        How many experiments run at a time, each in a process of one thread; with 1 they run in
        this process.
    progress
        Called with a stage, how much of it is done, and how much there is.

    Raises
    ------
    ValueError
        If there is not at least one worker.
    OSError
        If the directory cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    order = [experiment.name for experiment in experiments]
    rows: dict[str, list[dict[str, Any]]] = {}
    results: dict[str, Result] = {}
    kept: list[str] = []

    def report() -> None:
        progress("all claims", len(rows), len(order))
        _write([row for name in order for row in rows.get(name, [])], directory / "claims.json")

    to_run = []
    for experiment in experiments:
        result = None if fresh else stored(experiment, experiment.parameters(tier), directory)
        if result is None:
            to_run.append(experiment)
        else:
            kept.append(experiment.name)
            results[experiment.name] = result
            rows[experiment.name] = claims(result, experiment.paper)
    report()
    for experiment, found, seconds in _run_all(to_run, tier, workers, progress):
        if isinstance(found, Exception):
            rows[experiment.name] = [_failure(experiment, found, seconds)]
        else:
            save(found, directory)
            results[experiment.name] = found
            drawn = _draw(experiment, found, directory)
            rows[experiment.name] = drawn + claims(found, experiment.paper)
        report()
    whole = [row for name in order for row in rows[name]]
    failed = [rows[name][0] for name in order if name not in results]
    shown = [results[name] for name in order if name in results]
    return Reproduction(whole, kept, write_report(shown, directory / "report.html", failed))


Outcome = tuple[Experiment, Result | Exception, float]


def _run_all(
    experiments: Sequence[Experiment], tier: Tier, workers: int, progress: Progress
) -> Iterator[Outcome]:
    """Each experiment with its result, or the error that it ended in, as they end."""
    if workers == 1:
        for experiment in experiments:
            start = time.perf_counter()
            try:
                found = experiment.run(progress=progress, **experiment.parameters(tier))
            except Exception as error:  # one experiment's failure is its own
                found = error
            yield experiment, found, time.perf_counter() - start
        return
    waiting, alone = list(experiments)[::-1], []  # alone: what ran when a process died
    with open_engine("processes", workers=workers) as engine:
        under_way: dict[Future[Any], tuple[Experiment, float]] = {}
        while waiting or alone or under_way:
            room = workers - len(under_way)
            chosen = [waiting.pop() for _ in range(min(room, len(waiting)))]
            if not under_way and not chosen:
                chosen = [alone.pop()]
            for experiment in chosen:
                future = engine.submit(_run, experiment.name, tier)
                under_way[future] = experiment, time.perf_counter()
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenExecutor) for future in done):
                engine.restart()
                lost = list(under_way.values())
                under_way.clear()
                if len(lost) == 1:
                    message = "its process died: for want of memory, perhaps"
                    yield lost[0][0], MemoryError(message), time.perf_counter() - lost[0][1]
                else:
                    alone += [experiment for experiment, _ in lost]
                continue
            for future in done:
                experiment, start = under_way.pop(future)
                error = future.exception()
                found = _from_worker(future.result()) if error is None else error
                assert isinstance(found, Result | Exception)
                yield experiment, found, time.perf_counter() - start


def _run(name: str, tier: Tier) -> dict[str, Any]:
    """In a worker: the result as JSON, which needs no library to be read."""
    experiment = find_experiment(name)
    return as_json(experiment.run(**experiment.parameters(tier)))


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
    return _with_numbers(result)


def _from_worker(content: dict[str, Any]) -> Result:
    return _with_numbers(from_json(content))


def _with_numbers(result: Result) -> Result:
    """The result with NaN where JSON, which has no number for it, had nothing."""
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
