"""Tasks carried out here, one after the other; the rest of each while the next one is begun."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from data_prep.errors import UsageError
from data_prep.executors import ANYWHERE, Begun, MakeWorker, Places, ResultT, TaskT

_Finishing: TypeAlias = tuple[TaskT, Future[ResultT]]


class InProcess:
    """One worker, in this process."""

    def __init__(
        self, places: Places = ANYWHERE, say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Check that nothing was asked for that only a cluster has.

        Args:
            places: Must be as by default.
            say: Not used.

        Raises:
            UsageError: Actors or a cluster were asked for.
        """
        if places != ANYWHERE:
            raise UsageError(
                "found options for actors, expected none without a cluster; add --executor ray, or "
                "leave them out."
            )

    def run(
        self, tasks: Iterable[TaskT], make_worker: MakeWorker[TaskT, ResultT]
    ) -> Generator[tuple[TaskT, ResultT], None, None]:
        """Carry every task out, in order; see ``Executor.run``.

        One rest at most is under way, and the next begins when it has ended well: two tasks are in
        memory at most. Whatever ends this waits for the rest that was begun.
        """
        worker: Callable[[TaskT], Begun[ResultT]] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="finish") as pool:
            before: _Finishing[TaskT, ResultT] | None = None
            for task in tasks:
                worker = worker or make_worker()
                try:
                    begun = worker(task)
                except Exception:
                    yield from _ended(before)
                    raise
                try:
                    results = list(_ended(before))
                    before = task, pool.submit(begun.finish)
                except BaseException:
                    begun.drop()
                    raise
                yield from results
            yield from _ended(before)


def _ended(finishing: _Finishing[TaskT, ResultT] | None) -> Iterator[tuple[TaskT, ResultT]]:
    """Wait for a task's rest, if there is one."""
    if finishing is not None:
        yield finishing[0], finishing[1].result()
