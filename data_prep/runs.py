"""Sorted runs: spans on disk in the order of their rows, so that a shard reads each run in a row.

A run is as much as fits into memory. In whatever run its spans lie, a shard's rows are neighbours
there, since runs and rows are in the same order.
"""

from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc

from data_prep.keys import KEYS, Records, in_order
from data_prep.records import Span
from data_prep.scratch import Scratch, Written
from data_prep.shards import SCHEMA

RUN_BYTES = 48 * 2**20
RUN_SPANS = 250_000
# What is read together when one span of it is wanted: little enough to be read for nothing.
_BATCH_BYTES = 64 * 2**10
_MOST_BATCH_ROWS = 4096
_DIGEST_BYTES = 16
_DRAWN = ("text", "text_rest", "take", "row", "held_out")


class RunWriter:
    """Collects the spans of a unit and writes them as sorted runs, which are not yet in place.

    Args:
        scratch: Where they go.
        unit: The unit's number.
        source: Place of its source in the configuration.
        name: That source's name.
    """

    def __init__(self, scratch: Scratch, unit: int, source: int, name: str) -> None:
        self._scratch = scratch
        self._unit = unit
        self._source = source
        self._name = name
        self.rows: list[int] = []
        self.written = Written()
        self.text_bytes = 0
        self._begin()

    def _begin(self) -> None:
        # Texts one behind the other, as Arrow has them; the collector would visit so many objects.
        self._texts = bytearray()
        self._ends = array("i", [0])
        self._doc_ids: list[str] = []
        self._roles: list[str] = []
        self._first: list[int] = []
        self._sentences: list[int] = []
        self._shuffled: list[bool] = []
        self._digests = bytearray()

    def add(self, span: Span, held_out: bytes, place: bytes) -> None:
        """Take a span.

        Args:
            span: One of the unit's.
            held_out: Its document's number, as ``Cut`` has it.
            place: Its own numbers.
        """
        text, doc_id, _, role, first, sentences, shuffled = span
        content = text.encode()
        digest = blake2b(content, digest_size=_DIGEST_BYTES).digest()
        self._digests += digest + place + held_out
        self._texts += content
        self._ends.append(len(self._texts))
        self._doc_ids.append(doc_id)
        self._roles.append(role)
        self._first.append(first)
        self._sentences.append(sentences)
        self._shuffled.append(shuffled)
        if len(self._texts) >= RUN_BYTES or len(self._doc_ids) >= RUN_SPANS:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected as a run."""
        if not self._doc_ids:
            return
        keys = self._keys()
        order = in_order(keys["row"], keys["text"])
        keys = keys[order]
        keys["index"] = np.arange(len(keys))
        run = len(self.rows)
        batch_rows = min(max(1, len(keys) * _BATCH_BYTES // len(self._texts)), _MOST_BATCH_ROWS)
        _write(
            self.written.instead_of(self._scratch.run(self._unit, run)),
            self._spans(),
            order,
            batch_rows,
        )
        keys[np.argsort(keys["text"])].tofile(
            self.written.instead_of(self._scratch.keys(self._unit, run))
        )
        self.rows.append(len(keys))
        self.text_bytes += len(self._texts)
        self._begin()

    def _keys(self) -> Records:
        keys = np.zeros(len(self._doc_ids), KEYS)
        drawn = np.frombuffer(self._digests, ">u8").reshape(-1, len(_DRAWN))
        for column, name in enumerate(_DRAWN):
            keys[name] = drawn[:, column]
        keys["sentences"] = self._sentences
        keys["shuffled"] = self._shuffled
        keys["source"] = self._source
        keys["unit"] = self._unit
        keys["run"] = len(self.rows)
        return keys

    def _spans(self) -> pa.RecordBatch:
        count = len(self._doc_ids)
        columns = [
            pa.StringArray.from_buffers(count, pa.py_buffer(self._ends), pa.py_buffer(self._texts)),
            pa.array(self._doc_ids, pa.string()),
            pa.repeat(self._name, count),
            pa.array(self._roles, pa.string()),
            pa.array(self._first, pa.int32()),
            pa.array(self._sentences, pa.int32()),
            pa.array(self._shuffled, pa.bool_()),
        ]
        return pa.record_batch(columns, schema=SCHEMA)


def _write(
    path: Path, spans: pa.RecordBatch, order: npt.NDArray[np.int64], batch_rows: int
) -> None:
    """Write spans in another order, batch by batch, so that there is no second copy of them."""
    # Not compressed: lz4 would save a third of the space and cost more than the rest of writing.
    options = ipc.IpcWriteOptions(use_threads=False)
    with (
        pa.OSFile(str(path), "wb") as sink,
        ipc.new_file(sink, SCHEMA, options=options) as writer,
    ):
        for first in range(0, len(order), batch_rows):
            writer.write_batch(spans.take(pa.array(order[first : first + batch_rows])))


def gather(scratch: Scratch, places: Records) -> pa.Table:
    """Read spans from wherever they lie.

    Args:
        scratch: Where the runs are.
        places: Records with ``unit``, ``run`` and ``index``.

    Returns:
        A table of ``SCHEMA`` with the spans, in the order asked for.
    """
    order = np.lexsort((places["index"], places["run"], places["unit"]))
    # Each run gives up what is not wanted before the next one is read: held-out rows are scattered,
    # so for each of them a batch is read.
    tables = [
        _read_run(scratch.run(int(part["unit"][0]), int(part["run"][0])), part["index"])
        for part in _by_run(places[order])
    ]
    wanted = np.empty(len(order), np.int64)
    wanted[order] = np.arange(len(order))
    return pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks().take(pa.array(wanted))


def _by_run(places: Records) -> Iterator[Records]:
    """Divide sorted places by the run that they are in."""
    changes = (places["unit"][1:] != places["unit"][:-1]) | (
        places["run"][1:] != places["run"][:-1]
    )
    yield from (part for part in np.split(places, np.flatnonzero(changes) + 1) if len(part))


def _read_run(path: Path, indices: Records) -> pa.Table:
    """Read spans of a run, in ascending order; only the batches that hold some are read."""
    options = ipc.IpcReadOptions(use_threads=False)
    with pa.OSFile(str(path)) as source:
        reader = ipc.open_file(source, options=options)
        batch_rows = reader.get_batch(0).num_rows
        numbers, offsets = np.divmod(indices.astype(np.int64), batch_rows)
        needed, places = np.unique(numbers, return_inverse=True)
        batches = [reader.get_batch(int(number)) for number in needed]
    return pa.Table.from_batches(batches, SCHEMA).take(pa.array(places * batch_rows + offsets))
