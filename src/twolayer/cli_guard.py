"""What stands between commands and people: errors, interrupts, closed pipes, wrong directories."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import typer

_INTERRUPTED = 130  # as a shell says it
_NO_READER = 141


def plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn wrong use into its sentence and exit status 2, without a traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except BrokenPipeError:  # the reader stopped early, `| head`: nobody is there to be told
            os._exit(_NO_READER)
        except (ValueError, OSError, MemoryError) as error:
            reason = f"{error}" or type(error).__name__
        except Exception as error:
            if os.environ.get("TWOLAYER_TRACEBACK"):
                raise
            reason = _fault(error)
        typer.echo(f"Error: {reason}", err=True)
        raise typer.Exit(2)

    return guarded


def _fault(error: Exception) -> str:
    """A sentence on an error that the library does not know."""
    if "RESOURCE_EXHAUSTED" in str(error):
        return "The memory is too small: choose smaller sizes."
    import traceback

    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno}). "
        "This should not happen: with TWOLAYER_TRACEBACK=1 the command shows the whole error, "
        "please report it."
    )


def listen_to_interrupts() -> None:
    """End with status 130 on Ctrl-C, at once, even while compiled code is at work.

    An exception could be lost in a callback of foreign code; results appear on disk whole or not
    at all, so that there is nothing to tidy up.
    """
    import socket
    import threading

    bell, wire = socket.socketpair()
    wire.setblocking(False)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.set_wakeup_fd(wire.detach(), warn_on_full_buffer=False)
    # Workers that are left behind end by themselves; Python's remark on them is not for people.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")

    def watch() -> None:
        bell.recv(1)
        _leave()

    threading.Thread(target=watch, daemon=True).start()


def _leave() -> None:
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{show_cursor}\nInterrupted; results already written are kept.\n")
    sys.stderr.flush()
    os._exit(_INTERRUPTED)


def end_with_the_reader() -> None:
    """End quietly when whoever reads the output stops early, as in ``| head``."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


@contextmanager
def outlive_workers() -> Iterator[None]:
    """Let a worker's death be an error: its broken pipe would end this process otherwise."""
    if not hasattr(signal, "SIGPIPE"):
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def check_writable(directory: str) -> None:
    """Make sure that results can be written there, before any time goes into them.

    Raises
    ------
    ValueError
        If they cannot.
    """
    import tempfile

    path = Path(directory).absolute()
    while not path.exists():
        path = path.parent
    reason = "" if path.is_dir() else "not a directory"
    if not reason:
        try:
            tempfile.TemporaryFile(dir=path).close()
        except OSError:
            reason = "not writable"
    if reason:
        message = f"Expected --out to be a directory to write in. Received: {directory!r}, "
        message += f"but {path} is {reason}."
        raise ValueError(message)
