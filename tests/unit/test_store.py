"""Studies: identity of cells, transactions, claims that die, damage, disks that fill up."""

import json
import sqlite3
import subprocess
import sys

import pytest

from twolayer.store import Cell, DamagedEntryError, Study, is_alive, process_name

CELLS = [Cell("flow", {"dim": dim, "beta": 0.5}) for dim in (8, 16, 32)]
KEYS = [cell.key for cell in CELLS]


def finished(path):
    study = Study(path)
    study.add(CELLS)
    for cell in study.claim(KEYS):
        study.finish(cell, {"dim": cell.parameters["dim"]}, seconds=0.5)
    return study


def test_a_cell_is_its_experiment_parameters_and_version():
    """The order of parameters doesn't matter; each of the three does."""
    cell = CELLS[0]
    assert cell.key == Cell("flow", {"beta": 0.5, "dim": 8}).key
    others = [
        Cell("float", cell.parameters),
        Cell("flow", {"dim": 8, "beta": 0.25}),
        Cell("flow", cell.parameters, "0.0.1"),
        Cell("flow", {"dim": 8.0, "beta": 0.5}),
    ]
    assert len({cell.key, *(other.key for other in others)}) == 5
    nowhere = Cell("flow", {"beta": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        hash(nowhere.key)


def test_results_come_back_as_they_were(tmp_path):
    """Every float bit for bit, after the file was closed and opened."""
    content = {"values": [0.1 + 0.2, 1e-300, -0.0, None], "name": "ä"}
    with Study(tmp_path / "s.sqlite") as study:
        study.add(CELLS)
        (cell,) = study.claim(KEYS[:1])
        assert cell == CELLS[0]
        study.finish(cell, content, seconds=1.5)
    with Study(tmp_path / "s.sqlite", create=False) as study:
        assert json.dumps(study.document(KEYS[0])) == json.dumps(content)
        assert study.statuses() == dict(zip(KEYS, ["finished", "pending", "pending"], strict=True))
        entry = study.entries()[0]
        assert (entry.seconds, entry.attempts) == (1.5, 1)
        with pytest.raises(KeyError):
            study.document(KEYS[1])


def test_no_cell_is_claimed_twice(tmp_path):
    """Two studies on one file share the cells out; a closed one gives its claims back."""
    with Study(tmp_path / "s.sqlite") as one, Study(tmp_path / "s.sqlite") as other:
        one.add(CELLS)
        other.add(CELLS)
        assert [cell.key for cell in one.claim(KEYS[:2])] == KEYS[:2]
        assert [cell.key for cell in other.claim(KEYS)] == KEYS[2:]
        assert one.release_dead() == 0  # this process lives
        one.close()
        assert [cell.key for cell in other.claim(KEYS)] == KEYS[:2]


def test_claims_die_with_their_process(tmp_path):
    """Cells of a process that was killed are pending again, finished ones are not."""
    path = tmp_path / "s.sqlite"
    program = (
        "import os, signal\nfrom twolayer.store import Cell, Study\n"
        f"study = Study({str(path)!r})\n"
        "cells = [Cell('flow', {'dim': d, 'beta': 0.5}) for d in (8, 16, 32)]\n"
        "study.add(cells)\nclaimed = study.claim([c.key for c in cells])\n"
        "study.finish(claimed[0], {'x': 1}, seconds=0.1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    with Study(path) as study:
        assert study.counts() == {"claimed": 2, "finished": 1}
        assert study.release_dead() == 2
        assert study.counts() == {"pending": 2, "finished": 1}
        assert study.document(KEYS[0]) == {"x": 1}


def test_a_process_number_used_again_is_another_process():
    """The time at which a process began is part of its name."""
    import os

    name = process_name(os.getpid())
    assert is_alive(name)
    assert is_alive(f"{name}/token")
    assert not is_alive(f"{os.getpid()} 17")
    assert not is_alive("999999999 17")


def test_a_damaged_result_is_named_and_nothing_else_suffers(tmp_path):
    """One flipped byte is found; the other results are read as before."""
    finished(tmp_path / "s.sqlite").close()
    connection = sqlite3.connect(tmp_path / "s.sqlite")
    (blob,) = connection.execute("SELECT result FROM cells WHERE key = ?", KEYS[1:2]).fetchone()
    broken = bytes([*blob[:-3], blob[-3] ^ 1, *blob[-2:]])
    connection.execute("UPDATE cells SET result = ? WHERE key = ?", (broken, KEYS[1]))
    connection.commit()
    connection.close()
    with Study(tmp_path / "s.sqlite") as study:
        with pytest.raises(DamagedEntryError, match=KEYS[1][:12]):
            study.document(KEYS[1])
        assert study.document(KEYS[2]) == {"dim": 32}


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    """SQLite's own limit on pages stands in for the disk: earlier results stay readable."""
    with finished(tmp_path / "s.sqlite") as study:
        pages = study._connection.execute("PRAGMA page_count").fetchone()[0]
        study._connection.execute(f"PRAGMA max_page_count = {pages}")
        more = [Cell("flow", {"dim": dim, "note": "x" * 500}) for dim in range(50)]
        with pytest.raises(OSError, match="full; what was written before is kept"):
            study.add(more)
        assert study.counts() == {"finished": 3}
        study._connection.execute(f"PRAGMA max_page_count = {2 * pages + 99}")
        study.add(more)
        assert study.counts() == {"finished": 3, "pending": 50}


def test_files_that_are_no_studies_are_refused(tmp_path):
    """Another file, a newer format, a missing file, a folder: one sentence each."""
    text = tmp_path / "notes.sqlite"
    text.write_text("no database at all " * 99)
    with pytest.raises(ValueError, match="not one"):
        Study(text)
    Study(tmp_path / "new.sqlite").close()
    connection = sqlite3.connect(tmp_path / "new.sqlite")
    connection.execute("UPDATE facts SET value = '99'")
    connection.commit()
    connection.close()
    with pytest.raises(ValueError, match="newer twolayer"):
        Study(tmp_path / "new.sqlite")
    with pytest.raises(FileNotFoundError, match="no study"):
        Study(tmp_path / "missing.sqlite", create=False)
    with pytest.raises(OSError, match="Expected a file"):
        Study(tmp_path)


def test_a_file_that_is_refused_is_closed(tmp_path, monkeypatch):
    """No connection stays open behind the error."""
    opened = []

    def connect(*arguments, **options):
        opened.append(real_connect(*arguments, **options))
        return opened[-1]

    real_connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    text = tmp_path / "notes.sqlite"
    text.write_text("no database at all " * 99)
    with pytest.raises(ValueError, match="not one"):
        Study(text)
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        opened[0].execute("SELECT 1")


def test_forgotten_cells_are_gone(tmp_path):
    """Removed cells can be added, and computed, again."""
    with finished(tmp_path / "s.sqlite") as study:
        assert study.forget(KEYS[:2]) == 2
        study.add(CELLS)
        assert study.counts() == {"finished": 1, "pending": 2}
