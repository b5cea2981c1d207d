"""What the documents show works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_quickstart_runs():
    """README's Python block runs in a fresh process and ends with theory and training agreeing."""
    [program] = blocks(ROOT / "README.md", "python")
    assert len(program.strip().splitlines()) <= 11
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "derived here" in run.stdout
    assert "verdict='agrees'" in run.stdout


def test_the_python_of_the_front_page_runs():
    """The Python block of the documentation's front page runs and verifies its certificate."""
    [program] = blocks(ROOT / "docs/index.md", "python")
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["not_learnable 1/2", "True"]


def test_the_command_line_page_is_up_to_date():
    """docs/cli.md is what its generator writes from the commands as they are."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "docs/cli_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_every_command_shown_exists():
    """Each ``twolayer ...`` line in the documents names a command or experiment that there is."""
    from twolayer import cli
    from twolayer.experiments import EXPERIMENTS

    commands = {c.name or c.callback.__name__ for c in cli.app.registered_commands} | {"run"}
    pages = [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs/theory").glob("*.md"),
    ]
    shown = [
        line.split()
        for page in pages
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if line.startswith("twolayer ")
    ]
    assert len(shown) >= 5
    for _, command, *arguments in shown:
        assert command in commands
        if command == "run":
            assert arguments[0] in EXPERIMENTS


@pytest.mark.parametrize("marker", ["main job", "tests"])
def test_readme_has_the_two_commands(marker):
    """The gate finds README's two commands, one line each."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [line] = re.findall(rf"<!-- ci: {marker} -->\n```sh\n(.*)\n```", text)
    assert line.startswith("python3 -m venv .venv && ")


def test_every_key_that_is_cited_is_in_the_bibliography():
    """Every bib key in the source has an entry in references.bib."""
    entries = set(re.findall(r"@\w+\{(\w+),", (ROOT / "references.bib").read_text()))
    source = "\n".join(p.read_text() for p in (ROOT / "src").rglob("*.py"))
    cited = set(re.findall(r"\b[a-z]+(?:19|20)\d\d[a-z]+\b", source))
    assert "chen2024subspace" in cited
    assert cited <= entries
