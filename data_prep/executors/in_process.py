"""Tasks carried out here, one after the other."""

from collections.abc import Callable, Generator, Iterable

from data_prep.errors import UsageError
from data_prep.executors import ANYWHERE, Places, ResultT, TaskT


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
        self, tasks: Iterable[TaskT], make_worker: Callable[[], Callable[[TaskT], ResultT]]
    ) -> Generator[tuple[TaskT, ResultT], None, None]:
        """Carry every task out, in order; see ``Executor.run``."""
        worker: Callable[[TaskT], ResultT] | None = None
        for task in tasks:
            worker = worker or make_worker()
            yield task, worker(task)
