"""Write docs/theory/results.md from the results of ``twolayer reproduce``.

Usage: python docs/render.py [--results DIR]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from twolayer.results import load

FOLDER = Path(__file__).parent / "theory"


def page(directory: Path) -> str:
    """A section for each experiment: what it tests, figure, table, provenance."""
    claims = json.loads((directory / "claims.json").read_text(encoding="utf-8"))
    agree = sum(claim["verdict"] == "agrees" for claim in claims)
    parts = [
        "# Results\n",
        f"Rendered from a run of `twolayer reproduce`: {agree} of {len(claims)} claims agree.\n",
    ]
    figures = FOLDER / "figures"
    figures.mkdir(exist_ok=True)
    for name in dict.fromkeys(claim["id"].split("/")[1] for claim in claims):
        rows = [claim for claim in claims if claim["id"].split("/")[1] == name]
        parts.append(f"## {name}\n")
        if (directory / f"{name}.json").exists():
            shutil.copy(directory / f"{name}.png", figures / f"{name}.png")
            parts += described(directory / f"{name}.json", name)
        parts.append(table(rows))
    return "\n".join(parts)


def described(path: Path, name: str) -> list[str]:
    """Statement, figure and the command that repeats it."""
    result = load(path)
    options = " ".join(f'--{k.replace("_", "-")} "{v}"' for k, v in result.parameters.items())
    versions = ", ".join(f"{k} {v}" for k, v in result.provenance["versions"].items())
    return [
        f"{result.statement} ({result.reference})\n",
        f"![{result.statement}](figures/{name}.png)\n",
        f"```sh\ntwolayer run {name} {options}\n```\n",
        f"{result.provenance['seconds']:.1f} s with {versions}.\n",
    ]


def table(rows) -> str:
    """Statement, predicted, measured with its error, verdict."""
    lines = ["| statement | predicted | measured | verdict |", "|---|---|---|---|"]
    for row in rows:
        measured = shown(row["measured"])
        if row["error"] and not isinstance(row["measured"], str):
            measured += f" ± {row['error']:.1g}"
        cells = (row["statement"], shown(row["predicted"]), measured, row["verdict"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def shown(value) -> str:
    """A number to four digits, a text as it is."""
    return value if isinstance(value, str) else "not a number" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("twolayer-results"))
    chosen = parser.parse_args().results
    if not (chosen / "claims.json").exists():
        sys.exit(f"{chosen}/claims.json is missing: run 'twolayer reproduce --out {chosen}' first")
    (FOLDER / "results.md").write_text(page(chosen), encoding="utf-8")
