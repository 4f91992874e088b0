"""Last stage: the shards, each from the runs that its rows lie in; and full disks in words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.errors import PipeError
from data_prep.executors import Begun, done
from data_prep.keys import ORDERED, Records
from data_prep.runs import gather
from data_prep.scratch import Scratch
from data_prep.shards import ROW_GROUP_ROWS, TextDigest, shard_name, write_shard

STAGE = "shards"
ORDER = "rows"
SLAB_BYTES = 64 * 2**20
"""Texts of about so many bytes are in memory while shards are written."""

_LEAST_TASKS = 32


@dataclass(frozen=True, slots=True)
class WriteShards:
    """Makes the worker of this stage.

    Attributes:
        corpus: Directory of the corpus.
        rows: Its rows.
        rows_per_shard: Rows of each shard but the last.
        row_bytes: Bytes of a text, on average.
        standing: Shards of a corpus that stands already: they are read, and not written.
        remake: Whether what is written waits in the scratch directory.
    """

    corpus: Path
    rows: int
    rows_per_shard: int
    row_bytes: float
    standing: frozenset[int] = frozenset()
    remake: bool = False

    @property
    def _slab_rows(self) -> int:
        groups = max(1, int(SLAB_BYTES / max(self.row_bytes, 1) / ROW_GROUP_ROWS))
        return groups * ROW_GROUP_ROWS

    def tasks(self) -> list[range]:
        """Divide the shards into tasks.

        Returns:
            For each task its shards: as many as fit into memory together, since their rows are
            neighbours in every run; fewer where there would be little to share among workers.
        """
        shards = -(-self.rows // self.rows_per_shard)
        together = min(self._slab_rows // self.rows_per_shard, shards // _LEAST_TASKS)
        step = max(1, together)
        return [range(first, min(first + step, shards)) for first in range(0, shards, step)]

    def __call__(self) -> Callable[[int], Begun[dict[str, Any]]]:
        """Make the worker where it runs.

        Returns:
            Takes the number of a task; gives its record: for each of its ``shards`` the ``digest``
            of the texts, and counts.
        """
        scratch, tasks = Scratch(self.corpus), self.tasks()

        def work(task: int) -> Begun[dict[str, Any]]:
            with told_disk_errors(self.corpus):
                shards = [
                    self._write(shard, tables, scratch)
                    for shard, tables in self._tables(tasks[task], scratch)
                ]
                record = {"shards": shards}
                scratch.finish(STAGE, task, record)
            return done(record)

        return work

    def _write(self, shard: int, tables: Iterator[pa.Table], scratch: Scratch) -> dict[str, Any]:
        facts = _Facts()
        passing = map(facts.of, tables)
        if shard in self.standing:
            for _ in passing:
                pass
        else:
            name = shard_name(shard)
            write_shard(scratch.remade(name) if self.remake else self.corpus / name, passing)
        return facts.record()

    def _tables(self, shards: range, scratch: Scratch) -> Iterator[tuple[int, Iterator[pa.Table]]]:
        """Read shards: several at once, or each slab by slab."""
        size = self.rows_per_shard
        first = shards.start * size
        if len(shards) > 1:
            together = gather(scratch, _order(scratch, first, len(shards) * size))
            for shard in shards:
                yield shard, iter([together.slice(shard * size - first, size)])
        else:
            stop = min(first + size, self.rows)
            step = self._slab_rows
            slabs = (
                gather(scratch, _order(scratch, begin, min(step, stop - begin)))
                for begin in range(first, stop, step)
            )
            yield shards.start, slabs


def _order(scratch: Scratch, first: int, count: int) -> Records:
    offset = first * ORDERED.itemsize
    return np.fromfile(scratch.order(ORDER), ORDERED, count, offset=offset)


class _Facts:
    """What the manifest wants to know of a shard, gathered while its tables pass by."""

    def __init__(self) -> None:
        self._digest = TextDigest()
        self._counts = dict.fromkeys(("passages", "questions", "sentences", "words_shuffled"), 0)

    def of(self, table: pa.Table) -> pa.Table:
        roles = table["role"].to_pylist()
        contents = table["text"].cast(pa.binary()).to_pylist()
        self._digest.update(zip(contents, roles, strict=True))
        self._counts["passages"] += roles.count("passage")
        self._counts["questions"] += roles.count("question")
        self._counts["sentences"] += pc.sum(table["num_sentences"]).as_py() or 0
        self._counts["words_shuffled"] += pc.sum(table["words_shuffled"]).as_py() or 0
        return table

    def record(self) -> dict[str, Any]:
        return {"digest": self._digest.hexdigest(), "counts": self._counts}


@contextmanager
def told_disk_errors(directory: Path) -> Iterator[None]:
    """Tell in a sentence that the disk refuses a file.

    Args:
        directory: The corpus.

    Raises:
        PipeError: Instead of an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise PipeError(
            f"the corpus cannot be written to {directory} ({error}); make room or correct the "
            "permissions, and run the same command again."
        ) from None
