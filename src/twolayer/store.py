"""Results on disk, keyed by what was computed: one SQLite file a study."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

_FORMAT = 1  # of the file; raised when older versions would misread it
_PATIENCE = 30.0  # seconds to wait for another writer

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY,
    experiment TEXT NOT NULL,
    parameters TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending',
    owner TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    seconds REAL,
    result BLOB,
    checksum TEXT
);
CREATE INDEX IF NOT EXISTS cells_by_status ON cells (status);
"""


@dataclass(frozen=True)
class Cell:
    """One computation: an experiment with all its parameters, in one version of the library.

    Attributes
    ----------
    experiment
        A registered name, or ``module:function``.
    parameters
        All of them, the defaults filled in.
    version
        Of the library: another version's result is another cell.

    Examples
    --------
    >>> Cell("flow", {"a": 1, "b": 2}).key == Cell("flow", {"b": 2, "a": 1}).key
    True
    """

    experiment: str
    parameters: Mapping[str, Any]
    version: str = field(default_factory=lambda: version("twolayer"))

    @cached_property
    def text(self) -> str:
        """Its parameters, canonical."""
        return json.dumps(dict(self.parameters), sort_keys=True, allow_nan=False)

    @cached_property
    def key(self) -> str:
        """A hash of all three."""
        whole = json.dumps([self.experiment, self.text, self.version])
        return hashlib.sha256(whole.encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A cell and what has become of it.

    Attributes
    ----------
    cell
        What was, or is to be, computed.
    status
        ``"pending"``, ``"claimed"``, ``"finished"``, ``"diverged"`` or ``"failed"``.
    attempts
        How often a process began with it.
    message
        Why it failed or diverged.
    seconds
        How long it took.
    """

    cell: Cell
    status: str
    attempts: int
    message: str
    seconds: float | None


class DamagedEntryError(ValueError):
    """A stored result that is not what was written."""


class Study:
    """Cells and their results in one SQLite file on a local disk.

    Every finished cell is one committed transaction, so that a killed process loses what it was
    computing and nothing else. Several processes may work on one file: each claims cells in a
    transaction, and a claim dies with its process.

    Parameters
    ----------
    path
        The file; made, with its folder, unless `create` is false.
    create
        Whether a missing file is made.

    Raises
    ------
    ValueError
        If the file is no study, or a newer version wrote it.
    OSError
        If it cannot be read or written, or is missing.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, Study(f"{folder}/study.sqlite") as study:
    ...     study.add([Cell("flow", {"dim": d}) for d in (8, 16)])
    ...     study.counts()
    {'pending': 2}
    """

    def __init__(self, path: str | Path, *, create: bool = True):
        self.path = Path(path)
        if not create and not self.path.exists():
            message = f"There is no study at {self.path}."
            raise FileNotFoundError(message)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._closed = False
        self._owner = f"{process_name(os.getpid())}/{uuid4().hex}"
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        """Make the tables where there are none, and refuse a file that is no study."""
        try:
            self._refuse_another_programs_file()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            with self._writing() as connection:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute("INSERT OR IGNORE INTO facts VALUES ('format', ?)", (_FORMAT,))
            row = self._connection.execute("SELECT value FROM facts WHERE name = 'format'")
            found = int(row.fetchone()[0])
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            message = f"Expected a study. Received: {self.path}, which is not one ({error})."
            raise ValueError(message) from error
        if found > _FORMAT:
            message = f"{self.path} was written by a newer twolayer (format {found}): upgrade "
            message += "to read it."
            raise ValueError(message)

    def _refuse_another_programs_file(self) -> None:
        """Raise on a database that is no study, before anything is written into it."""
        found = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if found and not {"facts", "cells"} <= found:
            message = "it holds another program's tables"
            raise sqlite3.DatabaseError(message)

    def _unusable(self, error: sqlite3.Error) -> OSError:
        return OSError(f"Expected a file to keep a study in. Received: {self.path}: {error}.")

    def __enter__(self) -> Study:
        """The study itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Give back what this study claimed, and close the file; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._execute(
                "UPDATE cells SET status = 'pending' WHERE status = 'claimed' AND owner = ?",
                (self._owner,),
            )
        except OSError:
            pass  # the disk is full, say: a claim ends with its process anyway
        finally:
            self._connection.close()

    def add(self, cells: Iterable[Cell]) -> None:
        """Note cells that are to be computed; those that are known stay as they are."""
        rows = [(cell.key, cell.experiment, cell.text, cell.version) for cell in cells]
        with self._writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO cells (key, experiment, parameters, version) "
                "VALUES (?, ?, ?, ?)",
                rows,
            )

    def claim(self, keys: Iterable[str]) -> list[Cell]:
        """Take for this process those cells among `keys` that are pending."""
        claimed: list[Cell] = []
        with self._writing() as connection:
            for key in keys:
                row = connection.execute(
                    "UPDATE cells SET status = 'claimed', owner = ?, attempts = attempts + 1 "
                    "WHERE key = ? AND status = 'pending' "
                    "RETURNING experiment, parameters, version",
                    (self._owner, key),
                ).fetchone()
                if row:
                    claimed.append(Cell(row[0], json.loads(row[1]), row[2]))
        return claimed

    def finish(
        self,
        cell: Cell,
        document: Mapping[str, Any],
        *,
        seconds: float,
        status: str = "finished",
        message: str = "",
    ) -> None:
        """Keep a cell's result, as `twolayer.results.as_json` writes it."""
        blob = zlib.compress(json.dumps(document, allow_nan=False).encode())
        self._execute(
            "UPDATE cells SET status = ?, owner = '', message = ?, seconds = ?, result = ?, "
            "checksum = ? WHERE key = ?",
            (status, message, seconds, blob, hashlib.sha256(blob).hexdigest(), cell.key),
        )

    def fail(self, cell: Cell, message: str, *, seconds: float = 0.0) -> None:
        """Note why a cell has no result."""
        message = message.encode(errors="replace").decode()  # any words can be kept
        self._execute(
            "UPDATE cells SET status = 'failed', owner = '', message = ?, seconds = ? "
            "WHERE key = ?",
            (message, seconds, cell.key),
        )

    def release(self, cells: Iterable[Cell]) -> None:
        """Give claimed cells back."""
        for cell in cells:
            self._execute(
                "UPDATE cells SET status = 'pending', owner = '' "
                "WHERE key = ? AND status = 'claimed' AND owner = ?",
                (cell.key, self._owner),
            )

    def release_dead(self) -> int:
        """Give back the claims of processes that are no more; return how many there were."""
        owners = self._rows("SELECT DISTINCT owner FROM cells WHERE status = 'claimed'")
        dead = [(owner,) for (owner,) in owners if not is_alive(owner)]
        if not dead:
            return 0
        with self._writing() as connection:
            cursor = connection.executemany(
                "UPDATE cells SET status = 'pending', owner = '' "
                "WHERE status = 'claimed' AND owner = ?",
                dead,
            )
            return cursor.rowcount

    def statuses(self) -> dict[str, str]:
        """The status of each cell by its key, in the order in which they were added."""
        return dict(self._rows("SELECT key, status FROM cells ORDER BY rowid"))

    def counts(self) -> dict[str, int]:
        """How many cells there are of each status."""
        return dict(self._rows("SELECT status, count(*) FROM cells GROUP BY status"))

    def entries(self) -> list[Entry]:
        """All cells, in the order in which they were added."""
        rows = self._rows(
            "SELECT experiment, parameters, version, status, attempts, message, seconds "
            "FROM cells ORDER BY rowid"
        )
        return [Entry(Cell(row[0], json.loads(row[1]), row[2]), *row[3:]) for row in rows]

    def document(self, key: str) -> dict[str, Any]:
        """A stored result, as `twolayer.results.from_json` reads it.

        Raises
        ------
        KeyError
            If there is none.
        DamagedEntryError
            If it is not what was written.
        """
        rows = self._rows("SELECT result, checksum FROM cells WHERE key = ?", (key,))
        if not rows or rows[0][0] is None:
            message = f"There is no result {key[:12]} in {self.path}."
            raise KeyError(message)
        blob, checksum = rows[0]
        if not _is_whole(blob, checksum):
            message = f"The result {key[:12]} in {self.path} is damaged: remove it with "
            message += "'twolayer store gc' and compute it again."
            raise DamagedEntryError(message)
        return json.loads(zlib.decompress(blob))

    def damaged(self) -> list[str]:
        """The keys of the cells whose stored result is not what was written."""
        rows = self._rows(
            "SELECT key, result, checksum FROM cells WHERE status IN ('finished', 'diverged')"
        )
        return [key for key, blob, checksum in rows if not _is_whole(blob, checksum)]

    def forget(self, keys: Iterable[str]) -> int:
        """Remove cells and their results, and return how many there were."""
        with self._writing() as connection:
            cursor = connection.executemany(
                "DELETE FROM cells WHERE key = ?", [(key,) for key in keys]
            )
            return max(cursor.rowcount, 0)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes, alone among all processes."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._roll_back()
            message = f"Cannot write {self.path}: {error}; what was written before is kept."
            raise OSError(message) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> None:
        with self._writing() as connection:
            connection.execute(statement, values)

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error


def _is_whole(blob: Any, checksum: Any) -> bool:
    return isinstance(blob, bytes) and hashlib.sha256(blob).hexdigest() == checksum


def process_name(pid: int) -> str:
    """A name that no other process has had: its number and, where known, when it began."""
    return f"{pid} {_started(pid)}"


def is_alive(owner: str) -> bool:
    """Whether the process of that name still runs, on this machine.

    Examples
    --------
    >>> is_alive(process_name(os.getpid())), is_alive("1 never")
    (True, False)
    """
    pid, _, started = owner.partition("/")[0].partition(" ")
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return _started(int(pid)) == started


def _started(pid: int) -> str:
    """The tick at which a process began, empty where the system doesn't tell."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        state, start = after_name.split()[0], after_name.split()[19]
    except (OSError, IndexError):
        return ""
    return "gone" if state == "Z" else start
