"""The register of experiments: name, what each tests, and how to run it."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache, wraps
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from twolayer.outcomes import Finding
from twolayer.results import Result, provenance

Progress = Callable[[str, int, int], None]
Tier = Literal["quick", "default", "full"]

PAPERS = (
    "subspace_sparse",
    "one_step",
    "mean_field_langevin",
    "gradient_features",
    "teacher_student",
)
# Parts of the library on which no result depends.
_SHOWING = {
    "citations.py", "cli.py", "cli_data.py", "cli_studies.py", "engines.py", "grids.py", "report",
    "reproduce.py", "store.py", "study_view.py", "sweep.py",
}  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """A named recipe.

    Attributes
    ----------
    name
        As ``twolayer run`` takes it.
    paper
        One of `PAPERS`.
    statement
        What it tests, in one sentence.
    reference
        Where that stands.
    run
        The function: its keyword parameters are the experiment's options.
    quick, full
        Parameters of these tiers of ``twolayer reproduce``, where they differ from the defaults:
        sizes for a laptop's minutes, and the papers' own sizes.
    """

    name: str
    paper: str
    statement: str
    reference: str
    run: Callable[..., Result]
    quick: dict[str, Any] = field(default_factory=dict)
    full: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """Its parameters by name, without the progress hook."""
        parameters = inspect.signature(self.run).parameters
        return {name: p for name, p in parameters.items() if name != "progress"}

    def parameters(self, tier: Tier) -> dict[str, Any]:
        """All parameters of a tier, by name."""
        own = {"quick": self.quick, "default": {}, "full": self.full}[tier]
        return {name: option.default for name, option in self.options.items()} | own


EXPERIMENTS: dict[str, Experiment] = {}


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""
    del stage, done, total


def experiment(
    *,
    paper: str,
    statement: str,
    reference: str,
    quick: dict[str, Any] | None = None,
    full: dict[str, Any] | None = None,
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Register a function as the experiment of its own name, with dashes.

    The function returns a `Result` of its outcomes; name, parameters, statement and provenance
    are filled in here.

    Raises
    ------
    ValueError
        If `paper` is not one of `PAPERS`, or the name is taken.
    """
    if paper not in PAPERS:
        message = f"Expected a paper among {', '.join(PAPERS)}. Received: {paper!r}."
        raise ValueError(message)

    def register(function: Callable[..., Result]) -> Callable[..., Result]:
        name = function.__name__.replace("_", "-")
        if name in EXPERIMENTS:
            message = f"Expected a new experiment name. Received: {name!r}, which is taken."
            raise ValueError(message)

        @wraps(function)
        def run(*, progress: Progress = silent, **parameters: Any) -> Result:
            bound = inspect.signature(function).bind(progress=progress, **parameters)
            bound.apply_defaults()
            start = time.perf_counter()
            result = function(**bound.arguments)
            values = {key: value for key, value in bound.arguments.items() if key != "progress"}
            return replace(
                result,
                experiment=name,
                parameters=values,
                statement=statement,
                reference=reference,
                provenance=provenance(time.perf_counter() - start) | {"source": source_digest()},
            )

        EXPERIMENTS[name] = Experiment(
            name, paper, statement, reference, run, quick or {}, full or {}
        )
        return run

    return register


@cache
def source_digest() -> str:
    """A digest of the library's source, without what only shows results.

    Between releases the version stays while the source changes; results that this digest tells
    apart are not taken for each other.

    Examples
    --------
    >>> len(source_digest())
    16
    """
    root = Path(str(files("twolayer")))
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        part = path.relative_to(root).parts[0]
        if part not in _SHOWING:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def find_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises
    ------
    ValueError
        If there is none, naming the nearest.
    """
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    raise ValueError(unknown("experiment", name, EXPERIMENTS, "see 'twolayer list'"))


def unknown(kind: str, name: str, known: Iterable[str], otherwise: str) -> str:
    """One sentence on an unknown name, with the nearest known one.

    Examples
    --------
    >>> unknown("paper", "one-step", ["one_step"], "choose another")
    "Unknown paper 'one-step'. Did you perhaps mean 'one_step'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if near:
        return f"Unknown {kind} {name!r}. Did you perhaps mean {near[0]!r}?"
    return f"Unknown {kind} {name!r}: {otherwise}."


def claims(result: Result, paper: str) -> list[dict[str, Any]]:
    """The findings of a result as rows of ``claims.json``."""
    seconds = result.provenance["seconds"] / max(len(result.findings), 1)
    return [claim(paper, result.experiment, finding, seconds) for finding in result.findings]


def claim(paper: str, name: str, finding: Finding, seconds: float) -> dict[str, Any]:
    """One row of ``claims.json``."""
    return {
        "id": f"{paper}/{name}/{finding.name}",
        "paper": paper,
        "statement": finding.statement,
        "predicted": finding.predicted,
        "measured": finding.measured,
        "error": finding.error,
        "verdict": finding.verdict,
        "seconds": round(seconds, 3),
        "reference": finding.reference,
        "note": finding.note,
    }
