"""BibTeX of what results rest on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

_ALWAYS = ("twolayer", "jax2018github", "kidger2021equinox", "kidger2021on")  # the software


def bibtex(names: Sequence[str]) -> str:
    """The entries cited by experiments, papers or saved results, and those of the software.

    Parameters
    ----------
    names
        Experiment names, paper names, or paths of saved results; every entry if empty.

    Raises
    ------
    ValueError
        If a name is none of these.
    """
    if not names:
        return "\n\n".join(_entries().values())
    found = [cited(" ".join(_references(name))) for name in names]
    return "\n\n".join(dict(item for entries in found for item in entries.items()).values())


def cited(text: str) -> dict[str, str]:
    """The BibTeX entries whose keys stand in a text, and those of the software, by key.

    Parameters
    ----------
    text
        References as results hold them.

    Examples
    --------
    >>> "chen2024subspace" in cited("chen2024subspace, Theorem 3.4")
    True
    """
    entries = _entries()
    wanted = [key for key in _ALWAYS if key in entries]
    wanted += [key for key in entries if re.search(rf"\b{re.escape(key)}\b", text)]
    return {key: entries[key] for key in dict.fromkeys(wanted)}


def _references(name: str) -> list[str]:
    from twolayer.experiments import EXPERIMENTS, PAPERS
    from twolayer.experiments.registry import unknown

    if Path(name).suffix == ".json":
        from twolayer.results import load

        result = load(name)
        outcomes = [*result.predictions, *result.findings]
        return [result.reference, *(outcome.reference for outcome in outcomes)]
    found = [e.reference for e in EXPERIMENTS.values() if name in {e.name, e.paper}]
    if not found:
        known = [*EXPERIMENTS, *PAPERS]
        raise ValueError(unknown("experiment or paper", name, known, "see 'twolayer list'"))
    return found


@cache
def _entries() -> dict[str, str]:
    text = (files("twolayer") / "references.bib").read_text(encoding="utf-8")
    found = re.findall(r"^@\w+\{([^,\s]+),.*?^\}", text, flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^@\w+\{.*?^\}", text, flags=re.MULTILINE | re.DOTALL)
    return dict(zip(found, blocks, strict=True))
