"""Where the cells of a sweep are computed: anything with the interface of concurrent.futures."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENGINES = ("in-process", "processes", "dask", "slurm")

_CONNECT = 8.0  # seconds until a scheduler counts as unreachable
_POLL = 2.0  # seconds between two looks at a batch system's jobs
_LONGEST_ARRAY = 1000  # jobs in one Slurm array, the default of its MaxArraySize less one
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclass
class Engine:
    """Where cells are computed, and how many at a time.

    Attributes
    ----------
    make
        Makes the executor; called again when its workers died.
    capacity
        How many cells are kept under way.
    """

    make: Callable[[], Executor]
    capacity: int
    _executor: Executor | None = field(default=None, init=False, repr=False)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Compute ``function(*arguments)``, now or later."""
        if self._executor is None:
            self._executor = self.make()
        return self._executor.submit(function, *arguments)

    def restart(self) -> None:
        """Replace workers that died."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = None

    def close(self) -> None:
        """Let the workers go."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = None


def processors() -> int:
    """How many processors this process may use, where the system tells, else how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def open_engine(
    name: str = "in-process",
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path = "twolayer-jobs",
) -> Iterator[Engine]:
    """An engine by its name, closed at the end.

    Parameters
    ----------
    name
        ``"in-process"`` computes one cell after the other here; ``"processes"`` in a pool of
        processes of one thread each; ``"dask"`` on a Dask scheduler, by default a local one;
        ``"slurm"`` as job arrays.
    workers
        How many at a time; by default one for each processor here, 100 Slurm jobs.
    scheduler
        The address of a running Dask scheduler, like ``tcp://host:8786``.
    folder
        Where Slurm's jobs leave their logs: on a file system that the nodes share.

    Raises
    ------
    ValueError
        If there is no such engine, its package is missing, or a number of workers is not
        positive.
    OSError
        If the scheduler does not answer.
    RuntimeError
        If worker processes cannot start (when the first cell is computed).
    """
    if name not in ENGINES:
        message = f"Expected an engine among {', '.join(ENGINES)}. Received: {name!r}."
        raise ValueError(message)
    if workers is not None and workers < 1:
        message = f"Expected at least 1 worker. Received: {workers}."
        raise ValueError(message)
    if scheduler is not None and name != "dask":
        message = f"Expected a scheduler's address with the engine dask only. Received: {name!r}."
        raise ValueError(message)
    number = workers or processors()
    if name == "dask":
        with _dask(scheduler, number) as engine:
            yield engine
        return
    if name == "processes":
        engine = Engine(lambda: _pool(number), 2 * number)
    elif name == "slurm":
        engine = Engine(lambda: SlurmExecutor(folder, workers or 100), _LONGEST_ARRAY)
    else:
        engine = Engine(InProcess, 1)
    try:
        yield engine
    except BaseException:
        engine.restart()
        raise
    engine.close()


class InProcess(Executor):
    """Computes at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _pool(number: int) -> Executor:
    pool = ProcessPoolExecutor(
        number, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
    )
    try:
        pool.submit(os.getpid).result()
    except BrokenExecutor as error:
        message = "Worker processes could not start. In a script, put what starts them under "
        message += "if __name__ == '__main__': workers read the script too."
        raise RuntimeError(message) from error
    return pool


def _begin_worker() -> None:
    """One thread, and an end when the driving process ends, however that happens."""
    one_thread()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def one_thread() -> None:
    """Make this worker compute with one thread: more get in each other's way."""
    os.environ.update(_ONE_THREAD)


@contextmanager
def _dask(scheduler: str | None, number: int) -> Iterator[Engine]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        message = "The engine dask needs Dask: install twolayer[cluster]."
        raise ValueError(message) from error
    if scheduler is None:
        with (
            LocalCluster(
                n_workers=number,
                threads_per_worker=1,
                dashboard_address=":0",
                preload=["twolayer.engines"],
            ) as cluster,
            Client(cluster) as client,
        ):
            client.run(one_thread)
            yield Engine(lambda: client.get_executor(pure=False), 2 * number)
        return
    try:
        client = Client(scheduler, timeout=_CONNECT)
    except (OSError, ValueError) as error:
        message = f"Expected a Dask scheduler at {scheduler}. Received: no answer within "
        message += f"{_CONNECT:g} seconds; start one with 'dask scheduler'."
        raise OSError(message) from error
    with client:
        found = sum(dict(client.nthreads()).values())  # type: ignore[call-overload]
        yield Engine(lambda: client.get_executor(pure=False), 2 * max(found, number))


class SlurmExecutor(Executor):
    """Cells as arrays of Slurm jobs; on a machine without Slurm, as local processes.

    What is submitted within a moment goes into one array. Several cells share a job where there
    are more of them than jobs at a time.

    Parameters
    ----------
    folder
        For scripts and logs: shared with the nodes.
    parallel
        How many jobs of an array may run at a time.
    cluster
        ``"slurm"``, ``"local"``, or whatever there is.

    Raises
    ------
    ValueError
        If submitit is not installed.
    """

    def __init__(self, folder: str | Path, parallel: int, cluster: str | None = None):
        try:
            import submitit
        except ImportError as error:
            message = "The engine slurm needs submitit: install twolayer[cluster]."
            raise ValueError(message) from error
        self._executor = submitit.AutoExecutor(folder=str(folder), cluster=cluster)
        self._executor.update_parameters(
            name="twolayer", cpus_per_task=1, timeout_min=24 * 60, slurm_array_parallelism=parallel
        )
        self._parallel = parallel
        self._waiting: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self._lock = threading.Lock()
        self._open = True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done when its job is."""
        del kwargs
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append((future, fn, args))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Submit nothing more; jobs that run are left to Slurm."""
        del cancel_futures
        self._open = False
        if wait:
            self._thread.join()

    def _watch(self) -> None:
        under_way: list[tuple[Any, list[Future[Any]]]] = []
        while self._open:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            try:
                under_way += self._array(waiting) if waiting else []
            except Exception as error:
                for future, *_ in waiting:
                    future.set_exception(error)
            under_way = [pair for pair in under_way if not _settle(*pair)]
            time.sleep(_POLL if under_way else 0.05)

    def _array(self, waiting: Sequence[Any]) -> list[tuple[Any, list[Future[Any]]]]:
        """One array: a job for every cell, or for every few."""
        number = min(self._parallel, len(waiting))
        parts = [waiting[k::number] for k in range(number)]
        jobs = self._executor.map_array(
            run_all, [[(fn, args) for _, fn, args in part] for part in parts]
        )
        return [(job, [row[0] for row in part]) for job, part in zip(jobs, parts, strict=True)]


def run_all(calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]) -> list[Any]:
    """The values of several calls, one after the other, with one thread."""
    one_thread()
    return [function(*arguments) for function, arguments in calls]


def _settle(job: Any, futures: Sequence[Future[Any]]) -> bool:
    """Hand on the results of a job that is done; whether it was."""
    if not job.done():
        return False
    try:
        values = job.result()
    except Exception as error:
        for future in futures:
            future.set_exception(error)
    else:
        for future, value in zip(futures, values, strict=True):
            future.set_result(value)
    return True
