"""Functions that sweeps in the tests compute, importable by other processes."""

import os
import signal
import time
from pathlib import Path

from twolayer.outcomes import Finding, Trajectory
from twolayer.results import Result


def product(x: float = 1.0, y: float = 2.0, seed: int = 0) -> dict[str, float]:
    """Two quantities, the second of which fails to be exact in binary."""
    return {"product": x * y, "third": x / 3 + seed}


def logged(x: int, folder: str, seconds: float = 0.0) -> float:
    """x^2 / 7; leaves a line for each time it was begun and each time it was done."""
    path = Path(folder)
    with (path / "begun").open("a") as file:
        file.write(f"{x}\n")
    time.sleep(seconds)
    with (path / "done").open("a") as file:
        file.write(f"{x}\n")
    return x**2 / 7


def failing(x: int) -> float:
    """Raises for odd x."""
    if x % 2:
        message = f"{x} is odd"
        raise ValueError(message)
    return float(x)


def deadly(x: int, folder: str) -> float:
    """Kills its worker: always for x = 1, the first time for x = 2."""
    mark = Path(folder) / f"met {x}"
    if x == 1 or (x == 2 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(x)


def diverging(x: float = 0.0) -> Result:
    """A result whose only curve left the finite numbers for x above 1."""
    import numpy as np

    lost = x > 1
    row = [1.0, np.nan if lost else x]
    status = ("diverged", "diverged") if lost else ("finished", "finished")
    curve = Trajectory("loss", np.array([0.0, 1.0]), np.array([row, row]), status)
    finding = Finding("slope", "The slope is x.", x, x + 0.01, 0.02, "agrees", "derived here")
    return Result(trajectories=(curve,), findings=(finding,))


def hill(x: float = 0.0, y: float = 0.0) -> float:
    """Positive inside the circle of radius 1/2."""
    return 0.25 - x**2 - y**2


def broken_hill(x: float = 0.0, y: float = 0.0) -> float:
    """The same, but not for x above 0.8."""
    if x > 0.8:
        message = "too far"
        raise ValueError(message)
    return hill(x, y)


def words() -> str:
    """No number."""
    return "seven"


def strange(kind: str = "nan") -> object:
    """What functions of somebody's return, or do, that are no number."""
    import numpy as np

    if kind == "exit":
        raise SystemExit(3)
    if kind == "surrogate":
        message = "bad \udcff text"
        raise ValueError(message)
    found = {"nan": float("nan"), "infinite": {"a": float("inf"), "b": 1.0}, "nothing": {}}
    return (found | {"scalar": np.array(2.0), "same": {1: 2.0, "1": 3.0}})[kind]


def patchy(x: float = 1.0, y: float = 0.0, seed: int = 0) -> float:
    """Has no value for x above 2, nor for the third seed at 2."""
    if x > 2 or (x == 2 and seed == 2):
        message = "too far"
        raise ValueError(message)
    return x + y + seed


def held(x: object = object) -> float:
    """Has a default that no file can keep."""
    return 1.0 if x else 0.0


def gone(x: float = 0.0) -> float:
    """Takes its process down."""
    os._exit(9 if x == 0 else 0)


number = 3
