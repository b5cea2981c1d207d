"""Results as one HTML page that works offline; Jinja is imported here alone.

A page holds its own style, script and copy of Plotly. A result may come from anywhere, so that
every text is escaped and the page's policy lets no script run but its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from twolayer.citations import cited
from twolayer.experiments import EXPERIMENTS, PAPERS
from twolayer.outcomes import Finding
from twolayer.report.interactive import library, panels
from twolayer.report.mathematics import with_mathematics
from twolayer.report.numbers import interval, measured, number
from twolayer.results import Result, as_json, load

VERDICTS = ("agrees", "disagrees", "undecided", "failed")
_TITLES = {
    "subspace_sparse": "Which polynomials the mean-field flow learns",
    "one_step": "One gradient step on Gaussian mixtures",
    "mean_field_langevin": "Mean-field Langevin dynamics",
    "gradient_features": "Gradient features and what they build",
    "teacher_student": "Students of a teacher network",
    "other": "Other results",
}
_HOLDS = {True: "holds", False: "fails", None: "not decided"}
_DETAILS = 20_000  # characters of a result's further data


def write_report(results: Sequence[Result], path: str | Path, failed: Sequence[dict] = ()) -> Path:
    """Write the page of these results and return its path.

    Parameters
    ----------
    results
        What to show.
    path
        The HTML file.
    failed
        Rows of ``claims.json`` of experiments that ended in an error and have no result.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(path.suffix + ".part")
    draft.write_text(page(results, failed), encoding="utf-8", errors="replace")
    draft.replace(path)
    return path


def gather(paths: Iterable[str | Path]) -> tuple[list[Result], list[dict[str, Any]]]:
    """The results in files and folders, and the rows of experiments that failed.

    In a folder of ``twolayer reproduce`` an experiment that failed is shown as such, whatever
    older result lies there.

    Parameters
    ----------
    paths
        JSON files of results, or folders with such files.

    Raises
    ------
    ValueError
        If a file is no result, a folder holds none, or a path does not exist.
    """
    results: list[Result] = []
    failed: list[dict[str, Any]] = []
    for path in map(Path, paths):
        if path.is_file():
            results.append(load(path))
            continue
        if not path.is_dir():
            message = f"Expected results: JSON files or folders with them. Received: {path}, "
            message += "which does not exist. Run 'twolayer run' or 'twolayer reproduce' first."
            raise ValueError(message)
        rows = _failures(path / "claims.json")
        found = [result for file in sorted(path.glob("*.json")) if (result := _loaded(file))]
        names = {row["id"].split("/")[1] for row in rows}
        found = [result for result in found if result.experiment not in names]
        if not found and not rows:
            message = f"Expected a folder with results. Received: {path}, which holds none. "
            message += f"Did you perhaps forget 'twolayer reproduce --out {path}'?"
            raise ValueError(message)
        results += found
        failed += rows
    return results, failed


def unreadable(paths: Iterable[str | Path]) -> list[Path]:
    """The JSON files in folders that `gather` passed over, other than its list of claims."""
    folders = [Path(path) for path in paths if Path(path).is_dir()]
    files = [file for folder in folders for file in sorted(folder.glob("*.json"))]
    return [file for file in files if file.name != "claims.json" and _loaded(file) is None]


def page(results: Sequence[Result], failed: Sequence[dict[str, Any]] = ()) -> str:
    """The HTML of these results, in the order of the papers.

    Parameters
    ----------
    results, failed
        As for `write_report`.

    Examples
    --------
    >>> page([Result(experiment="mean-field-flow")]).splitlines()[0]
    '<!doctype html>'
    """
    articles = [_article(result) for result in results]
    articles += [_failed_article(row) for row in failed]
    _make_unique(articles)
    order = [*EXPERIMENTS]
    articles.sort(key=lambda a: order.index(a["name"]) if a["name"] in order else len(order))
    groups = []
    for paper in (*PAPERS, "other"):
        own = [article for article in articles if article["paper"] == paper]
        if own:
            counts = _counted(own)
            groups.append({
                "key": paper,
                "title": _TITLES.get(paper, paper),
                "articles": own,
                "counts": counts,
                "total": sum(counts.values()),
                "seconds": number(sum(article["seconds"] for article in own), 3),
            })
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["mathematics"] = with_mathematics
    environment.filters["embedded"] = _embedded
    has_figures = any(article["panels"] for article in articles)
    scripts = [*([library()] if has_figures else []), _template("report.js")]
    counts = _counted(articles)
    return environment.get_template("report.html").render(
        groups=groups,
        counts=counts,
        total=sum(counts.values()),
        seconds=number(sum(article["seconds"] for article in articles), 3),
        verdicts=VERDICTS,
        style=_template("report.css"),
        scripts=scripts,
        policy=_policy(scripts),
        version=version("twolayer"),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def _article(result: Result) -> dict[str, Any]:
    """What the template shows of one result."""
    known = EXPERIMENTS.get(result.experiment)
    paper = known.paper if known else "other"
    seconds = result.provenance.get("seconds")
    drawn, problem = _panels(result)
    references = [result.reference, *(p.reference for p in result.predictions)]
    references += [finding.reference for finding in result.findings]
    return {
        "name": result.experiment or "unnamed",
        "paper": paper,
        "id": _slug(f"{paper}-{result.experiment}"),
        "statement": result.statement,
        "reference": result.reference,
        "claims": [_claim(finding) for finding in result.findings],
        "assumptions": _assumptions(result),
        "comparisons": result.comparisons,
        "panels": drawn,
        "problem": problem,
        "command": command(result),
        "provenance": _provenance(result.provenance),
        "bibtex": "\n\n".join(cited(" ".join(references)).values()),
        "details": _details(result.details),
        "seconds": seconds if isinstance(seconds, (int, float)) else 0.0,
        "counts": {v: sum(f.verdict == v for f in result.findings) for v in VERDICTS},
    }


def _failed_article(row: dict[str, Any]) -> dict[str, Any]:
    """An experiment that ended in an error: its row of ``claims.json`` is all there is."""
    name = row["id"].split("/")[1]
    parts = {"name": "run", "statement": row["statement"], "predicted": "", "measured": ""}
    finding = Finding(
        **parts, error=math.nan, verdict="failed", reference=row["reference"], note=row["note"]
    )
    result = Result(
        experiment=name,
        statement=row["statement"],
        reference=row["reference"],
        findings=(finding,),
        provenance={"seconds": row["seconds"]},
    )
    article = _article(result)
    return article | {"paper": row["paper"], "id": _slug(f"{row['paper']}-{name}")}


def command(result: Result) -> str:
    """The command line that repeats a result.

    Examples
    --------
    >>> command(Result(experiment="mean-field-flow", parameters={"target": "-z1", "seeds": 4}))
    'twolayer run mean-field-flow --target=-z1 --seeds 4'
    """
    words = ["twolayer", "run", result.experiment]
    for name, value in result.parameters.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else "--no-" + option[2:])
        elif str(value).startswith("-"):
            words.append(f"{option}={value}")
        else:
            words += [option, str(value)]
    return shlex.join(words)


def _claim(finding: Finding) -> dict[str, Any]:
    return {
        "id": _slug(finding.name),
        "name": finding.name,
        "statement": finding.statement,
        "predicted": number(finding.predicted),
        "measured": measured(finding.measured, finding.error),
        "verdict": finding.verdict if finding.verdict in VERDICTS else "undecided",
        "note": finding.note,
        "reference": finding.reference,
        "interval": interval(finding),
    }


def _assumptions(result: Result) -> list[dict[str, Any]]:
    """Each assumption once, with the predictions that rest on it."""
    found: dict[tuple, dict[str, Any]] = {}
    for prediction in result.predictions:
        for assumption in prediction.assumptions:
            margin = number(assumption.margin) if assumption.margin is not None else ""
            key = (assumption.name, assumption.holds, margin, assumption.detail)
            row = {
                "name": assumption.name,
                "holds": _HOLDS[assumption.holds if isinstance(assumption.holds, bool) else None],
                "margin": margin,
                "detail": assumption.detail,
                "predictions": [],
            }
            names = found.setdefault(key, row)["predictions"]
            if prediction.name not in names:
                names.append(prediction.name)
    return list(found.values())


def _panels(result: Result) -> tuple[list[dict[str, Any]], str]:
    """The figures, or why there are none: one result must not cost the whole report."""
    try:
        found = panels(result)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        return [], f"The figures cannot be drawn: {error}"
    shown = [
        {
            "title": panel.title,
            "description": panel.description,
            "figure": panel.figure,
            "headings": panel.headings,
            "rows": [[number(value) for value in row] for row in panel.rows],
        }
        for panel in found
    ]
    return shown, ""


def _provenance(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in provenance.items():
        if name == "versions" and isinstance(value, dict):
            rows += [(package, str(found)) for package, found in value.items()]
        elif name == "seconds":
            rows.append(("seconds", number(value)))
        else:
            rows.append((name.replace("_", " "), str(value)))
    return rows


def _details(details: dict[str, Any]) -> str:
    if not details:
        return ""
    text = json.dumps(as_json(details), indent=1, ensure_ascii=False)
    return (
        text if len(text) <= _DETAILS else text[:_DETAILS] + "\n... (the rest is in the JSON file)"
    )


def _counted(articles: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {verdict: sum(a["counts"][verdict] for a in articles) for verdict in VERDICTS}


def _make_unique(articles: Sequence[dict[str, Any]]) -> None:
    """Give every article and claim an id of its own."""
    taken: set[str] = set()

    def free(wanted: str) -> str:
        name, k = wanted, 2
        while name in taken:
            name, k = f"{wanted}-{k}", k + 1
        taken.add(name)
        return name

    for article in articles:
        article["id"] = free(article["id"])
        for claim in article["claims"]:
            claim["id"] = free(f"{article['id']}-{claim['id']}")


def _slug(text: str) -> str:
    """A text as a fragment of an address: letters, digits, and dashes between."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "claim"


def _embedded(value: Any) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(as_json(value), allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(scripts: Sequence[str]) -> str:
    """What the page may do: run these scripts, draw, and nothing else."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _template(name: str) -> str:
    return (files("twolayer.report") / "templates" / name).read_text(encoding="utf-8")


def _failures(path: Path) -> list[dict[str, Any]]:
    """The experiments that ended in an error, from a folder's ``claims.json``."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [row for row in rows if row["id"].endswith("/run") and row["verdict"] == "failed"]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _loaded(path: Path) -> Result | None:
    try:
        return load(path)
    except ValueError:
        return None
