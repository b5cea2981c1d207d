"""The practitioner's guide and the notebook run from top to bottom, each in one process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples/first_steps.ipynb"


def run_in_order(programs, folder):
    """Execute the pieces one after the other in a fresh process, in one namespace."""
    script = folder / "pieces.py"
    lines = ["pieces = " + repr(programs), "names = {'__name__': '__main__'}"]
    lines += ["for k, piece in enumerate(pieces):"]
    lines += ["    exec(compile(piece, f'piece {k}', 'exec'), names)"]
    script.write_text("\n".join(lines), encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script)], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "MPLBACKEND": "Agg"}, timeout=150,
    )  # fmt: skip


@pytest.mark.slow
def test_the_guide_runs(tmp_path):
    """Its blocks work in order, and end with what the text between them says."""
    text = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(programs) >= 6
    run = run_in_order(programs, tmp_path)
    assert run.returncode == 0, run.stderr
    assert "\nno signal\n" in run.stdout  # the shuffled labels
    shown = re.findall(r"linearised network misses (0\.\d+)$", run.stdout, re.MULTILINE)
    missed = [float(number) for number in shown]
    assert len(missed) == 3
    assert missed == sorted(missed)  # the less it moved, the more it is a kernel
    [accuracy] = re.findall(r"accuracy on the other half: (0\.\d+)", run.stdout)
    assert float(accuracy) > 0.7


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """Its code cells work in order, theory and training agree, and the figure is there."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    programs = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    run = run_in_order(programs, tmp_path)
    assert run.returncode == 0, run.stderr
    assert "\nagrees - " in run.stdout
    assert (tmp_path / "first-steps.png").stat().st_size > 5000


def test_the_notebook_holds_no_outputs():
    """Numbers are made by running it: none are stored, nor an order of execution."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        assert cell["cell_type"] in {"markdown", "code"}
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("page", ["docs/guide.md"])
def test_the_guide_types_in_no_results(page):
    """Outside its programs the guide has no decimals: results come from running it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert not re.findall(r"\d\.\d", prose)
