"""How fast is the store, and how much memory does a reader of it take?

One process, candidates in turn, medians. Everybody gives what training needs: (128, 12288)
float32, two teachers' unit float16 vectors side by side, each times sqrt(1/2); all are compared
for equality before anything is timed. The bare memmap is one file (rows, 12288) float16 with the
same numbers: `mapped[rows]`, `.astype(np.float32)`, and the scale in place. The `halves` figures
leave the conversion out. Sequential is the training order with its defaults. First: what a reader
newly opened has not touched before, so that pages are mapped and checksums checked; otherwise it
reads the same batches again. Cold: the files' pages are dropped from the page cache before every
timed set of batches. A ratio above 1 means that the store is that many times as fast.
"""

import argparse
import importlib.util
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import finish, option_parser, show
from benchmarks.store_cold import CAN_DROP, warm
from benchmarks.store_data import DIM, ROW_BYTES, TEACHERS, Texts, fill
from benchmarks.store_peers import PEERS, bare_halves, open_bare, quieten
from benchmarks.store_timing import (
    BATCH,
    WHEN,
    Batches,
    Candidate,
    Read,
    Scale,
    compare,
    draw_batches,
    time_warm,
)
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify

_FULL = Scale(8192, 4.0, 100, 15.0, 3, 16, 60.0)
_QUICK = Scale(512, 0.5, 10, 1.0, 1, 2, 2.0)


def _halves(root: Path, texts: Texts, batches: Batches, scale: Scale) -> dict[str, float]:
    store = TeacherStore.open(root / "store", texts)  # type: ignore[arg-type]
    mapped = bare_halves(root / "bare.f16")
    for files in (root / "store", root / "bare.f16"):
        warm(files)
    readers: dict[str, Any] = {
        "store": lambda rows: [store.read_stored(name, rows) for name in TEACHERS],
        "memmap": lambda rows: mapped[rows],
    }
    figures = {}
    for order, drawn in batches.items():
        _, times = time_warm(readers, drawn, scale)
        figures[f"halves_{order}_ms"] = times["store"]
        figures[f"halves_{order}_vs_memmap"] = times["memmap"] / times["store"]
    return figures


def _memory(directory: Path, seconds: float) -> dict[str, float]:
    """Peaks of a fresh process that only reads; none where only Linux can tell."""
    if not CAN_DROP:
        return {}
    command = [sys.executable, "-m", "benchmarks.store_memory", str(directory), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _open_checked(directory: Path, texts: Texts) -> Read:
    """A reader of a store that was read and checked when it was opened."""
    store = TeacherStore.open(directory, texts)  # type: ignore[arg-type]
    store.check_chunks()
    return store.read


def _verify_rate(directory: Path, texts: Texts) -> float:
    store = TeacherStore.open(directory, texts, check_commits=False)  # type: ignore[arg-type]
    begin = time.perf_counter()
    problems = verify(store, texts)  # type: ignore[arg-type]
    if problems:
        raise ValueError(f"the store does not verify: {problems[0].message}")
    return texts.rows * ROW_BYTES / 1e6 / (time.perf_counter() - begin)


def measure(
    root: Path, texts: Texts, scale: Scale, peers: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Write, read and compare everything.

    Args:
        root: An empty directory with room for four times the rows.
        texts: Says how many rows there are.
        scale: How much is done.
        peers: Names from ``PEERS``.

    Returns:
        The figures, and what was skipped, by peer, with the reason.
    """
    written = fill(root, texts)
    figures: dict[str, Any] = {
        "rows": texts.rows,
        "dim": DIM,
        "gb": texts.rows * ROW_BYTES / 1e9,
        "write_mb_s": written["store"],
        "write_vs_zarr": written["store"] / written["zarr"],
        "write_vs_zarr_compressed": written["store"] / written["zarr_compressed"],
        "write_vs_plain": written["store"] / written["plain"],
    }
    batches = draw_batches(texts.rows, scale.most_rounds + 2)
    store = Candidate(
        lambda: TeacherStore.open(root / "store", texts).read,  # type: ignore[arg-type]
        root / "store",
    )
    bare = root / "bare.f16"
    memmap = Candidate(lambda: open_bare(bare), bare)
    figures |= compare("memmap", memmap, store, batches, texts.rows, scale)
    checked = Candidate(lambda: _open_checked(root / "store", texts), root / "store")
    again = compare("memmap", memmap, checked, batches, texts.rows, scale)
    figures |= {f"checked_{name}": again[name] for name in again if "cold_" in name}
    figures |= _halves(root, texts, batches, scale)
    figures |= _memory(root / "store", scale.memory_seconds)
    figures["verify_mb_s"] = _verify_rate(root / "store", texts)
    skipped = {}
    for name in peers:
        peer = PEERS[name]
        if importlib.util.find_spec(peer.package) is None:
            skipped[name] = f"{peer.package} is not installed"
            continue
        print(f"{name}: {peer.note}", file=sys.stderr)
        home = root / name if peer.write else root / "store"
        try:
            if peer.write:
                peer.write(bare_halves(bare), home)
            candidate = Candidate(lambda: peer.open(home), home)  # noqa: B023
            compared = compare(name, candidate, store, batches, texts.rows, scale)
            figures |= {key: value for key, value in compared.items() if f"_{name}" in key}
        except Exception as error:  # a peer that fails must not take the others' figures along
            skipped[name] = f"failed: {error!r}"
        finally:
            if peer.write:
                shutil.rmtree(home, ignore_errors=True)
    return figures, skipped


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--gb", type=float, default=4.0, help="Gigabytes of rows (default 4).")
    parser.add_argument("--rows", type=int, help="Rows, instead of --gb.")
    parser.add_argument("--dir", type=Path, help="Where to work (default: the system's place).")
    parser.add_argument(
        "--peers",
        help=f"all, none or some of {','.join(PEERS)} (default: all; with --quick: zarr).",
    )
    chosen = parser.parse_args()
    if chosen.peers is None:
        chosen.peers = "zarr" if chosen.quick else "all"
    groups = {"all": list(PEERS), "none": []}
    chosen.peers = groups.get(chosen.peers, chosen.peers.split(","))
    unknown = sorted(set(chosen.peers) - PEERS.keys())
    if unknown:
        parser.error(f"found the peer {unknown[0]!r}, expected some of {', '.join(PEERS)}")
    if chosen.rows is None:
        chosen.rows = 2048 if chosen.quick else math.ceil(chosen.gb * 1e9 / ROW_BYTES)
    if chosen.rows < BATCH:
        parser.error(f"found {chosen.rows} rows, expected at least {BATCH}")
    return chosen


def _table(figures: Mapping[str, Any], names: Sequence[str]) -> None:
    orders = [f"{when}{order}" for order in ("random", "sequential") for when in WHEN]
    rows = [["store", *(part for o in orders for part in (figures.get(f"{o}_ms", ""), ""))]]
    for name in names:
        if f"random_vs_{name}" in figures:
            keys = [key for o in orders for key in (f"{o}_{name}_ms", f"{o}_vs_{name}")]
            rows.append([name, *(figures.get(key, "") for key in keys)])
    show(["ms, ratio", *(part for o in orders for part in (o, ""))], rows)


def main() -> None:
    """Measure and print."""
    chosen = _options()
    quieten()
    scale = _QUICK if chosen.quick else _FULL
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-store-", dir=chosen.dir) as root:
        texts = Texts(chosen.rows, scale.rows_per_shard)
        figures, skipped = measure(Path(root), texts, scale, chosen.peers)
    figures["seconds"] = time.perf_counter() - begin
    _table(figures, ["memmap", *chosen.peers])
    rounded: dict[str, Any] = {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in figures.items()
    }
    notes = {name: PEERS[name].note for name in chosen.peers if name not in skipped}
    finish({**rounded, "notes": notes, "skipped": skipped}, chosen.json)


if __name__ == "__main__":
    main()
