"""Timing two readers against each other, with their files in the page cache and out of it."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np

from benchmarks.harness import alternate
from benchmarks.store_cold import CAN_DROP, cached_share, drop, warm
from benchmarks.store_peers import Read, Rows
from student.order import TrainingOrder
from student.row_set import RowSet

BATCH = 128
"""Rows in a batch."""

WHEN = ("first_", "", "cold_")
"""What stands before an order: read for the first time, again, or from cold files."""

_MOST_LEFT = 0.05
"""Share of a file in the page cache beyond which it is not cold."""


@dataclass(frozen=True)
class Scale:
    """How much is done.

    Attributes:
        rows_per_shard: Rows in a shard of the store.
        seconds: For one pair of readers in one order, warm.
        most_rounds: Of warm reading.
        cold_seconds: For one pair in one order, cold; the first set is read in any case.
        cold_rounds: Sets of batches read from cold files.
        cold_batches: Batches in such a set.
        memory_seconds: For the reader whose memory is measured.
    """

    rows_per_shard: int
    seconds: float
    most_rounds: int
    cold_seconds: float
    cold_rounds: int
    cold_batches: int
    memory_seconds: float


@dataclass(frozen=True)
class Candidate:
    """Somebody who reads.

    Attributes:
        open: Opens it anew.
        files: What it reads.
    """

    open: Callable[[], Read]
    files: Path


Batches: TypeAlias = Mapping[str, Sequence[Rows]]
"""Drawn batches by order."""


def draw_batches(rows: int, count: int) -> Batches:
    """Draw rows to read: ``random`` and, in training order, ``sequential``."""
    rng = np.random.default_rng(7)
    order = TrainingOrder(RowSet.of_range(0, rows), BATCH, seed=(7,))
    count = min(count, order.steps_per_epoch)
    return {
        "random": [rng.choice(rows, BATCH, replace=False) for _ in range(count)],
        "sequential": list(order.batches(0, count)),
    }


def check_equal(store: Candidate, other: Candidate, batches: Batches) -> None:
    """Stop unless both give the same numbers.

    Raises:
        ValueError: They do not.
    """
    ours, theirs = store.open(), other.open()
    for order, drawn in batches.items():
        if not np.array_equal(ours(drawn[0]), theirs(drawn[0])):
            raise ValueError(f"reads other numbers than the store from a {order} batch")


def time_warm(
    pair: Mapping[str, Read], drawn: Sequence[Rows], scale: Scale
) -> tuple[dict[str, float], dict[str, float]]:
    """Time reading batches that are in the page cache, and then the same batches again.

    Args:
        pair: Two readers, newly opened.
        drawn: Batches, the same for both.
        scale: Bounds the seconds and rounds.

    Returns:
        Median milliseconds a batch by reader, the first time and the second.
    """
    begin = time.perf_counter()
    for read in pair.values():
        read(drawn[-1])
    once = time.perf_counter() - begin
    rounds = max(3, min(scale.most_rounds, int(scale.seconds / once)))
    passes = []
    for _ in range(2):
        # Each goes through the same batches, in step; `alternate` begins with one untimed.
        calls = {name: _next_of(read, drawn) for name, read in pair.items()}
        seconds = alternate(calls, rounds)
        passes.append({name: taken * 1e3 for name, taken in seconds.items()})
    return passes[0], passes[1]


def _next_of(read: Callable[[Rows], object], drawn: Sequence[Rows]) -> Callable[[], object]:
    batches = cycle(drawn)
    return lambda: read(next(batches))


@dataclass(frozen=True)
class Cold:
    """What reading from cold files took.

    Attributes:
        batch_ms: Median milliseconds a batch, by candidate.
        open_ms: Median milliseconds to open and read a row from every shard's range.
        left: The largest share of anybody's files that dropping left in the page cache.
    """

    batch_ms: dict[str, float]
    open_ms: dict[str, float]
    left: float


def time_cold(
    pair: Mapping[str, Candidate], drawn: Sequence[Rows], rows: int, scale: Scale
) -> Cold:
    """Time reading batches that are not in the page cache.

    Readers are opened before every set and read a row from every shard's range, and then the pages
    are dropped again, so that opening files is timed by itself.

    Args:
        pair: Two candidates.
        drawn: Batches, the same for both; every set has its own.
        rows: Rows in all.
        scale: Rounds and batches.

    Returns:
        The times.
    """
    reading: dict[str, list[float]] = {name: [] for name in pair}
    opening: dict[str, list[float]] = {name: [] for name in pair}
    left = 0.0
    deadline = time.monotonic() + scale.cold_seconds
    for part in range(scale.cold_rounds):
        if part and time.monotonic() > deadline:
            break
        first = part * scale.cold_batches
        batches = [drawn[n % len(drawn)] for n in range(first, first + scale.cold_batches)]
        for name, candidate in pair.items():
            drop(candidate.files)
            begin = time.perf_counter()
            read = candidate.open()
            read(np.arange(0, rows, scale.rows_per_shard))
            opening[name].append((time.perf_counter() - begin) * 1e3)
            drop(candidate.files)
            left = max(left, cached_share(candidate.files))
            begin = time.perf_counter()
            for batch in batches:
                read(batch)
            reading[name].append((time.perf_counter() - begin) / len(batches) * 1e3)
            del read
            gc.collect()
    return Cold(
        {name: median(taken) for name, taken in reading.items()},
        {name: median(taken) for name, taken in opening.items()},
        left,
    )


def compare(
    name: str,
    other: Candidate,
    store: Candidate,
    batches: Batches,
    rows: int,
    scale: Scale,
) -> dict[str, float]:
    """Compare the store with somebody else, in both orders, warm and cold.

    Args:
        name: The other's.
        other: Who.
        store: The store.
        batches: By order.
        rows: Rows in all.
        scale: How much is done.

    Returns:
        ``ORDER_ms`` and ``ORDER_NAME_ms``, ``ORDER_vs_NAME``, each also after ``WHEN``.
    """
    check_equal(store, other, batches)
    figures: dict[str, float] = {}

    def note(prefix: str, order: str, times: Mapping[str, float]) -> None:
        figures[f"{prefix}{order}_ms"] = times["store"]
        figures[f"{prefix}{order}_{name}_ms"] = times[name]
        figures[f"{prefix}{order}_vs_{name}"] = times[name] / times["store"]

    for files in (store.files, other.files):
        warm(files)
    for order, drawn in batches.items():
        readers = {"store": store.open(), name: other.open()}
        for when, times in zip(WHEN, time_warm(readers, drawn, scale), strict=False):
            note(when, order, times)
        readers.clear()
        gc.collect()
    if CAN_DROP:
        shares = [cached_share(candidate.files) for candidate in (store, other)]
        figures[f"warm_cached_{name}"] = min(shares)
        pair = {"store": store, name: other}
        cold = {order: time_cold(pair, drawn, rows, scale) for order, drawn in batches.items()}
        figures[f"cold_left_{name}"] = max(taken.left for taken in cold.values())
        for order, taken in cold.items():
            if taken.left <= _MOST_LEFT:  # what stayed in the cache is not a cold figure
                note("cold_", order, taken.batch_ms)
                note("cold_", "open", taken.open_ms)
    return figures
