"""The reader process whose memory ``benchmarks.store`` measures: ``... DIRECTORY SECONDS``.

It reads the store twice over, in random and in training order, and prints its peaks as JSON. It
imports no torch, which would hide the store's own share.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from student.order import TrainingOrder
from student.row_set import RowSet
from teacher_cache.store import TeacherStore

_BATCH = 128
_SAMPLE_EVERY = 8


def _megabytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _run(directory: Path, seconds: float) -> dict[str, float]:
    store = TeacherStore.open(directory)
    figures = {"start_mb": _megabytes("VmRSS"), "peak_anon_mb": 0.0, "peak_file_mb": 0.0}
    order = TrainingOrder(RowSet.of_range(0, store.layout.rows), _BATCH, seed=(0,))
    rng = np.random.default_rng(0)
    deadline = time.monotonic() + seconds
    batches = 0
    for step in range(order.steps_per_epoch):
        for rows in (order.batch(step), rng.integers(0, store.layout.rows, _BATCH)):
            targets = store.read(rows)
            batches += 1
            if batches % _SAMPLE_EVERY < 2:
                for kind in ("anon", "file"):
                    now = _megabytes(f"Rss{kind.capitalize()}")
                    figures[f"peak_{kind}_mb"] = max(figures[f"peak_{kind}_mb"], now)
            del targets
        if time.monotonic() > deadline:
            break
    share = batches * _BATCH / store.layout.rows
    return {**figures, "peak_mb": _megabytes("VmHWM"), "peak_reads": share}


if __name__ == "__main__":
    print(json.dumps(_run(Path(sys.argv[1]), float(sys.argv[2]))))
