"""Reading targets ahead of the one who needs them."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from teacher_cache.store import TeacherStore

Rows = npt.NDArray[np.int64]
Targets = npt.NDArray[np.float32]


def read_ahead(
    store: TeacherStore,
    batches: Iterable[Rows],
    teachers: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
    *,
    ahead: int = 2,
    expected: int = 64,
) -> Iterator[tuple[Rows, Targets]]:
    """Read the targets of consecutive batches in a thread, while the last ones are being used.

    numpy copies and converts without the interpreter's lock, so this costs the one who trains
    nothing but a core. A remote store hears earlier which shards will be needed.

    Args:
        store: The store.
        batches: The rows of each batch, such as ``TrainingOrder.batches``.
        teachers: As ``TeacherStore.read``.
        weights: As ``TeacherStore.read``.
        ahead: Batches that are read before they are asked for; each takes its targets' memory.
        expected: Batches ahead of those whose shards a remote store should fetch.

    Yields:
        Each batch's rows, (n,), and its targets, (n, T) float32, in the order of ``batches``.

    Raises:
        PipeError: As ``TeacherStore.read``; the batches before come first.
    """
    upcoming = iter(batches)
    announced: deque[Rows] = deque()
    reading: deque[tuple[Rows, Future[Targets]]] = deque()
    exhausted = False
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        try:
            while True:
                # Announced many at a time, since each announcement looks up its shards.
                if not exhausted and len(announced) <= expected // 2:
                    fresh = [rows for _, rows in zip(range(expected), upcoming, strict=False)]
                    exhausted = len(fresh) < expected
                    if fresh:
                        store.expect(np.concatenate(fresh), teachers)
                    announced.extend(fresh)
                while announced and len(reading) <= ahead:
                    rows = announced.popleft()
                    reading.append((rows, pool.submit(store.read, rows, teachers, weights)))
                if not reading:
                    return
                rows, future = reading.popleft()
                yield rows, future.result()
        finally:
            for _, future in reading:
                future.cancel()
