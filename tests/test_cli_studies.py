"""Sweeps and stores on the command line: what is wrong is a sentence, and never 'finished'."""

import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sweep_cells
from twolayer import cli
from twolayer.cli_guard import plain_errors
from twolayer.store import Study

TESTS = str(Path(sweep_cells.__file__).parent)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a command in an empty folder; a traceback fails the test."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, status=0):
        found = CliRunner().invoke(cli.app, list(map(str, arguments)))
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        assert found.exit_code == status, found.output
        return found.output

    return run


def product(command, *arguments):
    return command("sweep", "sweep_cells:product", "--study", "s.sqlite", *arguments)


def change(statement, *values):
    connection = sqlite3.connect("s.sqlite")
    connection.execute(statement, values)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("kind", "word", "status"),
    [
        ("nan", "diverged: not a finite number: value", 0),
        ("infinite", "diverged: not a finite number: a", 0),
        ("nothing", "failed: TypeError: Expected a number", 1),
        ("same", "failed: TypeError: Expected a number", 1),
        ("exit", "failed: SystemExit: 3", 1),
        ("surrogate", r"failed: ValueError: bad \? text", 1),
    ],
)
def test_what_is_no_number_is_never_finished(command, kind, word, status):
    """NaN, infinity, nothing, an exit and words that no file takes have a status of their own."""
    options = ["--grid", f"kind={kind}", "--study", "s.sqlite"]
    said = command("sweep", "sweep_cells:strange", *options, status=status)
    assert re.search(word, said), said
    assert "finished" not in said


def test_a_number_may_come_as_an_array_without_dimensions(command):
    """What NumPy and JAX return for a number is one."""
    assert "1 finished" in command(
        "sweep", "sweep_cells:strange", "--grid", "kind=scalar", "--study", "s.sqlite"
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["sweep_cells:number"], "no such function"),
        (["sweep_cells:nothing"], "no such function"),
        ([".sweep_cells:product"], "module:function"),
        ([":product"], "module:function"),
        (["unwritten:function"], "cannot be imported: SyntaxError"),
        (["leaving:function"], "cannot be imported: SystemExit"),
        (["sweep_cells:held"], "for x. Received"),
        (["sweep_cells:failing"], "Expected a value for x"),
        (["sweep_cells:failing", "-g", "x=nan"], "for x. Received"),
        (["sweep_cells:product", "-g", "x=1", "-g", "x=2"], "each parameter once"),
        (["sweep_cells:product", "-g", "x=1:-1:3:log"], "between positive numbers"),
        (["sweep_cells:product", "-g", "x=1:1" + "0" * 400 + ":3"], "LOW:HIGH:COUNT"),
        (["sweep_cells:product", "-g", "x=-1e308:1e308:3"], "LOW:HIGH:COUNT"),
        (["sweep_cells:product", "-g", "x=false:true:3"], "LOW:HIGH:COUNT"),
        (["sweep_cells:product", "--engine", "magic"], "magic"),
        (["sweep_cells:hill", "-g", "x=1:0", "-g", "y=0:1", "--refine", "value"], "increasing"),
        (["sweep_cells:hill", "-g", "x=0:1", "-g", "y=0:1", "--refine", "value",
          "--level", "nan"], "finite level"),
        (["sweep_cells:hill", "-g", "x=0:1", "-g", "y=0:1", "--refine", "value",
          "--points", "0"], "at least 1 point"),
        (["sweep_cells:hill", "-g", "x=0:1", "-g", "y=0:1", "--refine", "value",
          "--seeds", "3"], "without --seeds"),
    ],
)  # fmt: skip
def test_a_sweep_that_cannot_begin_leaves_nothing(command, monkeypatch, arguments, word):
    """One sentence and status 2; no file stands in the way of the next attempt."""
    Path("unwritten.py").write_text("def function(")
    Path("leaving.py").write_text("raise SystemExit(4)")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    said = command("sweep", *arguments, "--study", "s.sqlite", status=2)
    assert word in said
    assert "should not happen" not in said
    assert not list(Path.cwd().glob("s.sqlite*"))


@pytest.mark.slow
def test_a_function_lies_where_one_is(tmp_path):
    """A module of the working directory is found by the installed command, and its workers."""
    (tmp_path / "mine.py").write_text("def half(x=1.0):\n    return x / 2\n")
    program = Path(sys.executable).parent / "twolayer"
    run = subprocess.run(
        [program, "sweep", "mine:half", "--engine", "processes", "--workers", "1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr.strip()) == (0, "")
    assert "1 finished" in run.stdout


@pytest.mark.slow
def test_the_last_worker_may_die(tmp_path):
    """A cell that takes its only worker down has failed; the command goes on to say so."""
    program = Path(sys.executable).parent / "twolayer"
    run = subprocess.run(
        [program, "sweep", "sweep_cells:gone", "--engine", "processes", "--workers", "1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": TESTS}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stderr
    assert "failed: its worker died" in run.stdout


def test_damage_is_named_by_every_command(command):
    """A result that is not what was written is damaged, not finished, wherever it is met."""
    product(command, "--grid", "x=1,2,3")
    key = command("store", "list", "s.sqlite")[:12]
    change("UPDATE cells SET result = ? WHERE key LIKE ?", b"\0", f"{key}%")
    assert "2 finished" not in command("store", "show", "s.sqlite", key, status=2)
    rows = json.loads(command("store", "list", "s.sqlite", "--json"))
    assert [row["status"] for row in rows] == ["damaged", "finished", "finished"]
    for arguments in (["--status"], ["--grid", "x=1,2,3", "--resume"]):
        said = command(
            "sweep", "sweep_cells:product", "--study", "s.sqlite", *arguments,
            status=int("--resume" in arguments),
        )  # fmt: skip
        assert "1 damaged, 2 finished" in said
        assert key in said
    assert f"damaged: {key}" in command("plot", "s.sqlite", "--x", "x")
    assert "damaged" in command("store", "gc", "s.sqlite")
    assert "3 finished" in product(command, "--grid", "x=1,2,3", "--resume")


def test_every_cell_can_be_shown(command):
    """Cells of plain functions show their numbers, cells without result why they have none."""
    product(command, "--grid", "x=3")
    shown = command("store", "show", "s.sqlite", "")
    assert "product = 6" in shown
    options = ["--grid", "x=1,2", "--study", "f.sqlite"]
    command("sweep", "sweep_cells:failing", *options, status=1)
    rows = json.loads(command("store", "list", "f.sqlite", "--json"))
    keys = {row["status"]: row["key"] for row in rows}
    assert "1 is odd" in command("store", "show", "f.sqlite", keys["failed"])
    shown = json.loads(command("store", "show", "f.sqlite", keys["failed"], "--json"))
    assert shown["result"] is None
    said = command("store", "compare", "f.sqlite", keys["failed"], keys["finished"], status=2)
    assert "which is failed" in said


def test_another_programs_database_is_left_alone(command):
    """A look into a database that is no study changes nothing in it."""
    change("CREATE TABLE cells (x)")
    before = Path("s.sqlite").read_bytes()
    assert "Expected a study" in command("store", "list", "s.sqlite", status=2)
    assert Path("s.sqlite").read_bytes() == before


def test_a_boundary_has_a_table_and_failures_a_status(command):
    """``--refine --out`` writes its points; points without value end with status 1."""
    ranges = ["--grid", "x=0:1", "--grid", "y=0:1", "--refine", "value", "--points", "6"]
    command("sweep", "sweep_cells:hill", *ranges, "--out", "t.csv")
    rows = [line.split(",") for line in Path("t.csv").read_text().splitlines()]
    assert rows[0][1:] == ["x", "y", "value"]
    assert len(rows) == 7
    for _, x, y, value in rows[1:]:
        assert abs(float(value) - (0.25 - float(x) ** 2 - float(y) ** 2)) < 1e-12
    command("sweep", "sweep_cells:broken_hill", *ranges, status=1)


def test_a_figure_goes_where_it_says(command):
    """One parameter can't be both axes; a name without ending gets one that the message has."""
    product(command, "--grid", "x=1,2", "--grid", "y=1,2")
    assert "two different" in command("plot", "s.sqlite", "--x", "x", "--y", "x", status=2)
    assert "directory" in command("plot", "s.sqlite", "--x", "x", "--out", ".", status=2)
    assert "Figure: plain.png" in command("plot", "s.sqlite", "--x", "x", "--out", "plain")
    assert Path("plain.png").exists()


def test_a_result_without_its_parts_is_no_traceback(command):
    """A result that is whole, but not a result, counts as none."""
    product(command, "--grid", "x=1,2")
    blob = zlib.compress(b'{"findings": []}')
    digest = hashlib.sha256(blob).hexdigest()
    change("UPDATE cells SET result = ?, checksum = ? WHERE rowid = 1", blob, digest)
    command("plot", "s.sqlite", "--x", "x")
    with Study("s.sqlite") as study:
        assert study.damaged() == []


def test_an_unknown_error_is_a_sentence(monkeypatch, capsys):
    """What no command foresees has one line, status 2, and the whole error on request."""

    def broken():
        raise KeyError("lost")

    monkeypatch.delenv("TWOLAYER_TRACEBACK", raising=False)
    with pytest.raises(cli.typer.Exit) as end:
        plain_errors(broken)()
    assert end.value.exit_code == 2
    assert re.match(
        r"Error: KeyError: 'lost' \(test_cli_studies.py, line \d+\)", capsys.readouterr().err
    )
    monkeypatch.setenv("TWOLAYER_TRACEBACK", "1")
    with pytest.raises(KeyError):
        plain_errors(broken)()


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal")
def test_signals_are_as_they_were():
    """A pool's broken pipe is ignored while it works, and only then."""
    from twolayer.cli_guard import outlive_workers

    before = signal.getsignal(signal.SIGPIPE)
    with outlive_workers():
        assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGPIPE) == before
