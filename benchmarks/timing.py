"""Alternating measurements, printed as a table and written as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def arguments(description: str, **defaults: int) -> argparse.Namespace:
    """Command-line options, each a whole number, and the pinning of the process to its cores."""
    parser = argparse.ArgumentParser(description=description)
    for name, default in {"threads": 1, "repeats": 5, **defaults}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[: options.threads]
        os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    return options


def alternate(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, taken in turn after one call of each to warm up."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": min(seconds), "median": statistics.median(seconds), "max": max(seconds)}


def ratios(slow: list[float], fast: list[float]) -> dict[str, float]:
    """How many times slower, round by round."""
    return summary([s / f for s, f in zip(slow, fast, strict=True)])


def write(name: str, options: argparse.Namespace, rows: list[dict]) -> None:
    """Write `rows` with everything that describes the measurement."""
    versions = {}
    for package in ("twolayer", "jax", "jaxlib", "numpy", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    setup = {"python": platform.python_version(), "machine": platform.machine(), **vars(options)}
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    content = {"setup": setup, "versions": versions, "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written to {path}")
