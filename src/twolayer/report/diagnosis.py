"""A diagnosis as one HTML page that works offline, without scripts."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from twolayer.diagnose import Diagnosis
from twolayer.diagnose.methods import LEARNED

_LEFT, _WIDTH = 150, 460  # of the bars, in units of the picture
_WEIGHTS = 6  # of a direction that are shown


def write_diagnosis(diagnosis: Diagnosis, path: str | Path, source: str) -> Path:
    """Write the page and return its path.

    Parameters
    ----------
    diagnosis
        What to show.
    path
        The HTML file.
    source
        What was diagnosed, for the title.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(path.suffix + ".part")
    draft.write_text(diagnosis_page(diagnosis, source), encoding="utf-8", errors="replace")
    draft.replace(path)
    return path


def diagnosis_page(diagnosis: Diagnosis, source: str) -> str:
    """The HTML of a diagnosis; every text is escaped."""
    folder = files("twolayer.report") / "templates"
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string((folder / "diagnosis.html").read_text(encoding="utf-8"))
    directions, tables = [], []
    found = diagnosis.directions
    if found is not None:
        for vector, share in zip(found.vectors[:5], found.shares, strict=False):
            directions.append({"share": float(share), "weights": _weights(vector, diagnosis)})
        tables = [
            {
                "caption": "Random features in the first learned directions alone",
                "heading": "directions",
                "rows": found.number_errors,
            },
            {
                "caption": "Polynomials along the first three learned directions",
                "heading": "degree",
                "rows": found.degree_errors,
            },
        ]
    return template.render(
        d=diagnosis,
        source=source,
        version=version("twolayer"),
        style=(folder / "report.css").read_text(encoding="utf-8"),
        measure=diagnosis.measure,
        bars=_bars(diagnosis),
        directions=directions,
        tables=tables,
    )


def _bars(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    methods = sorted(diagnosis.methods, key=lambda method: method.error)
    top = max(method.error + 2 * method.standard_error for method in methods) or 1.0
    scale = _WIDTH / top
    return [
        {
            "name": method.name,
            "kind": "learned" if method.name in LEARNED else "none"
            if method.name == "constant" else "fixed",
            "error": method.error,
            "standard_error": method.standard_error,
            "seconds": method.seconds,
            "width": round(scale * method.error, 1),
            "low": round(_LEFT + scale * max(method.error - 2 * method.standard_error, 0.0), 1),
            "high": round(_LEFT + scale * (method.error + 2 * method.standard_error), 1),
        }
        for method in methods
    ]  # fmt: skip


def _weights(vector: Any, diagnosis: Diagnosis) -> str:
    order = np.argsort(np.abs(vector))[::-1][:_WEIGHTS]
    return ", ".join(f"{diagnosis.names[k]} {vector[k]:+.2f}" for k in order)
