"""Tasks carried out by several processes on this machine."""

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain, islice
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Any

from data_prep.errors import PipeError
from data_prep.executors import Begun, MakeWorker, ResultT, TaskT
from data_prep.executors.in_process import InProcess

PATIENCE = 0.3
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

    This process works alone until its patience ends, and goes on while the others start: little
    work is done sooner here. The processes stay for the next ``run``, until ``close``, the end of
    this object, or a run that ends early.

    Args:
        workers: How many; None takes the cores that this process may use.
        patience: Seconds after which the other processes are started.
    """

    def __init__(self, workers: int | None = None, patience: float = PATIENCE) -> None:
        self._workers = workers or available_cores()
        self._patience = patience
        self._pool: _Pool | None = None

    def run(
        self, tasks: Iterable[TaskT], make_worker: MakeWorker[TaskT, ResultT]
    ) -> Generator[tuple[TaskT, ResultT], None, None]:
        """Carry every task out; see ``Executor.run``."""
        waiting = iter(tasks)
        if self._workers == 1:
            yield from InProcess().run(waiting, make_worker)
            return
        try:
            if self._patience > 0 and self._pool is None:
                yield from InProcess().run(self._until_started(waiting, make_worker), make_worker)
            first = list(islice(waiting, self._workers))
            if len(first) == 1:
                yield from InProcess().run(first, make_worker)
            elif first:
                self._pool = self._pool or _Pool(self._workers)
                yield from self._pool.work(chain(first, waiting), make_worker)
        except BaseException:
            self.close()
            raise

    def _until_started(
        self, tasks: Iterator[TaskT], make_worker: MakeWorker[TaskT, Any]
    ) -> Iterator[TaskT]:
        """Give tasks to this process until others, started in the meantime, can take them."""
        until = time.monotonic() + self._patience
        while self._pool is None or not self._pool.started():
            if self._pool is None and time.monotonic() >= until:
                self._pool = _Pool(self._workers)
                self._pool.start(make_worker)
            following = list(islice(tasks, 1))
            if not following:
                return
            yield from following

    def close(self) -> None:
        """End the processes; another ``run`` would start new ones."""
        if self._pool is not None:
            self._pool.end()
            self._pool = None


class _Pool:
    """Processes that live until they are told to end, or until nobody is left to tell them."""

    def __init__(self, workers: int) -> None:
        theirs, self._ours = Pipe(duplex=False)
        # Forked, a process would inherit threads' locks; made anew, it has only what it is given.
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"), _become_worker, (theirs,))
        self._rests = ThreadPoolExecutor(workers, thread_name_prefix="finish")
        self._workers = workers
        self._makers = 0
        self._working: dict[Future[Begun[Any]], Any] = {}
        self._starting: list[Future[None]] = []

    def start(self, make_worker: MakeWorker[Any, Any]) -> None:
        """Start the processes, and let them import what a worker needs."""
        pickled = pickle.dumps(make_worker)
        self._starting = [self._pool.submit(_import, pickled) for _ in range(self._workers)]

    def started(self) -> bool:
        """Say whether the processes can take tasks, or will never be able to."""
        return all(future.done() for future in self._starting)

    def work(
        self, tasks: Iterator[TaskT], make_worker: MakeWorker[TaskT, Any]
    ) -> Iterator[tuple[TaskT, Any]]:
        self._makers += 1
        # Pickled once; a process makes its worker with the first task of this run that it gets.
        do = partial(_do, self._makers, pickle.dumps(make_worker))
        rests: dict[Future[Any], TaskT] = {}
        try:
            while True:
                # Rests that wait for a slow disk hold up what would only wait behind them.
                free = self._workers - len(self._working) if len(rests) < 2 * self._workers else 0
                for task in islice(tasks, free):
                    self._working[self._pool.submit(do, task)] = task
                if not self._working and not rests:
                    return
                ended, _ = wait([*self._working, *rests], return_when=FIRST_COMPLETED)
                for future in ended & self._working.keys():
                    task = self._working.pop(future)
                    # A thread here does the rest, and waits for the disk; a process goes on.
                    rests[self._rests.submit(future.result().finish)] = task
                for future in ended & rests.keys():
                    yield rests.pop(future), future.result()
        except BrokenProcessPool:
            raise PipeError(
                "a worker process has ended in the middle of its work, perhaps for want of memory; "
                "look at that, or take fewer --workers. What was finished stays, and the same "
                "command continues."
            ) from None

    def end(self) -> None:
        """End the processes at once, whatever they are at; a task that they gave back is whole.

        Its rest only waits for the disk, so it is finished; whether that fails, nobody asks.
        """
        self._ours.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for future in self._working:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._rests.submit(future.result().finish)
        self._working.clear()
        self._rests.shutdown(wait=True)


_worker: tuple[int, Callable[[Any], Begun[Any]]] | None = None


def _become_worker(parent: Connection) -> None:
    """Prepare this process for work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when it is over
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    one_thread()


def _import(pickled: bytes) -> None:
    pickle.loads(pickled)  # noqa: S301  from this program's own parent


def _do(maker: int, pickled: bytes, task: Any) -> Begun[Any]:
    global _worker  # noqa: PLW0603  a pool's process has no other place for what it keeps
    if _worker is None or _worker[0] != maker:
        _worker = maker, pickle.loads(pickled)()  # noqa: S301  from this program's own parent
    return _worker[1](task)


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
