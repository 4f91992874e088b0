"""Tasks carried out by several processes on this machine."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Any

from data_prep.errors import PipeError
from data_prep.executors import Begun, MakeWorker, ResultT, TaskT
from data_prep.executors.in_process import InProcess

PATIENCE = 1.0
"""Seconds after which other processes are worth their start."""


def available_cores() -> int:
    """Count the cores that this process may use.

    Returns:
        The number, at least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Processes:
    """As many workers as wanted, each in a process of its own.

    Tasks that are done within a second are done in this process: starting others takes as long.

    Args:
        workers: How many; None takes the cores that this process may use.
        patience: Seconds after which the other processes are started.
    """

    def __init__(self, workers: int | None = None, patience: float = PATIENCE) -> None:
        self._workers = workers or available_cores()
        self._patience = patience

    def run(
        self, tasks: Iterable[TaskT], make_worker: MakeWorker[TaskT, ResultT]
    ) -> Generator[tuple[TaskT, ResultT], None, None]:
        """Carry every task out; see ``Executor.run``."""
        waiting = iter(tasks)
        if self._workers == 1:
            yield from InProcess().run(waiting, make_worker)
            return
        if self._patience > 0:
            yield from InProcess().run(_for_a_while(waiting, self._patience), make_worker)
        first = list(islice(waiting, self._workers))
        if len(first) == 1:
            yield from InProcess().run(first, make_worker)
        elif first:
            with _pool(len(first), make_worker) as pool:
                yield from _work(pool, first, waiting)


def _for_a_while(tasks: Iterator[TaskT], seconds: float) -> Iterator[TaskT]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            yield next(tasks)
        except StopIteration:
            return


def _work(
    pool: ProcessPoolExecutor, first: list[TaskT], waiting: Iterator[TaskT]
) -> Iterator[tuple[TaskT, Any]]:
    doing: dict[Future[Any], TaskT] = {}
    try:
        for task in first:
            doing[pool.submit(_do, task)] = task
        while doing:
            done, _ = wait(doing, return_when=FIRST_COMPLETED)
            for future in done:
                task, result = doing.pop(future), future.result()
                for following in islice(waiting, 1):
                    doing[pool.submit(_do, following)] = following
                yield task, result
    except BrokenProcessPool:
        raise PipeError(
            "a worker process has ended in the middle of its work, perhaps for want of memory; "
            "look at that, or take fewer --workers. What was finished stays, and the same command "
            "continues."
        ) from None


@contextmanager
def _pool(workers: int, make_worker: MakeWorker[Any, Any]) -> Iterator[ProcessPoolExecutor]:
    """Have workers, and none of them any more afterwards, whatever they are at."""
    theirs, ours = Pipe(duplex=False)
    # Forked, a process would inherit threads' locks; made anew, it has only what it is given.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _become_worker, (theirs, make_worker))
    try:
        yield pool
    finally:
        ours.close()
        pool.shutdown(wait=True, cancel_futures=True)
        theirs.close()


_worker: Callable[[Any], Begun[Any]] | None = None


def _become_worker(parent: Connection, make_worker: MakeWorker[Any, Any]) -> None:
    """Make the worker of this process; an error of that comes out with the first task."""
    global _worker  # noqa: PLW0603  a pool's process has no other place for what it keeps
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when it is over
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    one_thread()
    try:
        _worker = make_worker()
    except PipeError as error:
        _worker = _Failing(error)


class _Failing:
    """A worker that could not be made."""

    def __init__(self, error: PipeError) -> None:
        self._error = error

    def __call__(self, task: Any) -> Begun[Any]:
        raise self._error


def _do(task: Any) -> Any:
    assert _worker is not None  # noqa: S101  set before the first task
    return _worker(task).finish()


def _end_with(parent: Connection) -> None:
    """End this process when the parent has, or has closed its end: nobody waits for the result."""
    try:
        parent.recv_bytes()
    except (EOFError, OSError):
        os._exit(0)


def one_thread() -> None:
    """Keep Arrow to one thread: the other cores have workers of their own."""
    import pyarrow as pa  # noqa: PLC0415  an executor knows nothing of what its workers use

    pa.set_cpu_count(1)
