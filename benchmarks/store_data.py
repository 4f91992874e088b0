"""The vectors that ``benchmarks.store`` writes and reads, and how fast they are written."""

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from data_prep.fingerprint import digest
from teacher_cache.config import TeacherConfig
from teacher_cache.store import TeacherStore

TEACHERS = {"nv-embed-v2": 4096, "stella": 8192}
"""Dimensions by name, in the order of the store's columns."""

DIM = sum(TEACHERS.values())
ROW_BYTES = DIM * np.dtype(np.float16).itemsize

_SHARDS_FOR_ZARR = 4
"""Shards that zarr-python writes too: enough for a median."""


@dataclass(frozen=True)
class Texts:
    """Stands in for a corpus: the store asks it for no more than this.

    Attributes:
        rows: Rows in all.
        rows_per_shard: Rows of every shard but the last.
        fingerprint: Ties the store to it.
    """

    rows: int
    rows_per_shard: int
    fingerprint: str = digest("benchmarks.store")

    def text_digest(self, shard: int) -> str:
        """Say the digest of a shard's texts."""
        return digest(shard)

    def check_shard(self, shard: int) -> None:
        """Find nothing wrong: there are no texts."""


class Vectors:
    """Random unit vectors: one shard is drawn, the others are its rows and signs rearranged."""

    def __init__(self, texts: Texts, seed: int = 0) -> None:
        """Draw a shard.

        Args:
            texts: Says how many rows there are.
            seed: Decides the vectors.
        """
        self._texts = texts
        rng = np.random.default_rng(seed)
        rows = min(texts.rows, texts.rows_per_shard)
        self._drawn = {}
        for name, dim in TEACHERS.items():
            drawn = rng.standard_normal((rows, dim), dtype=np.float32)
            drawn /= np.sqrt(np.einsum("nd,nd->n", drawn, drawn))[:, None]
            self._drawn[name] = drawn

    def shards(self) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        """Make every shard's vectors.

        Yields:
            (n, dim) float32 unit vectors by teacher; no row comes twice.
        """
        first_rows = range(0, self._texts.rows, self._texts.rows_per_shard)
        for shard, first in enumerate(first_rows):
            rng = np.random.default_rng((1, shard))
            order = rng.permutation(len(next(iter(self._drawn.values()))))
            order = order[: self._texts.rows - first]
            made = {}
            for name, drawn in self._drawn.items():
                made[name] = drawn[order]
                made[name] *= rng.choice(np.array([-1, 1], np.float32), drawn.shape[1])
            yield made


def fill(root: Path, texts: Texts) -> dict[str, float]:
    """Write the store and the bare file with the same numbers, in turn, shard by shard.

    Every writer ends with what it wrote safe on the disk (``fsync``). The store gets float32, as
    an encoder gives it, and normalises, checks, rounds and digests; the others get float16, ready.
    The first shards are also written by zarr-python, with the metadata of the store's own arrays,
    and with zarr-python's default compressor.

    Args:
        root: Gets ``store/`` and ``bare.f16``, (rows, DIM) float16.
        texts: Says how many rows there are.

    Returns:
        Median megabytes of float16 a second, by writer: ``store``, ``plain``, ``zarr`` and
        ``zarr_compressed``.
    """
    store = TeacherStore.create(root / "store", texts)  # type: ignore[arg-type]
    for name, dim in TEACHERS.items():
        settings = {"name": name, "kind": "dummy", "model": "none", "max_tokens": 512, "dim": dim}
        store.add_teacher(TeacherConfig.model_validate(settings))
    scratch = root / "written-by-zarr"
    zarrs = {
        "zarr": _zarr_like(root / "store", scratch / "same", texts, {}),
        "zarr_compressed": _zarr_like(
            root / "store", scratch / "compressed", texts, {"compressors": "auto"}
        ),
    }
    rates: dict[str, list[float]] = {"store": [], "plain": [], **{name: [] for name in zarrs}}

    def timed(writer: str, size: int, call: Callable[..., object], *arguments: Any) -> None:
        begin = time.perf_counter()
        call(*arguments)
        rates[writer].append(size / 1e6 / (time.perf_counter() - begin))

    with (root / "bare.f16").open("wb") as file:
        for shard, vectors in enumerate(Vectors(texts).shards()):
            rows = np.arange(len(vectors["stella"])) + shard * texts.rows_per_shard
            size = len(rows) * ROW_BYTES
            timed("store", size, _write_shard, store, shard, vectors, texts)
            halves = {name: store.read_stored(name, rows) for name in TEACHERS}
            block = np.concatenate(list(halves.values()), axis=1)
            timed("plain", size, _write_plain, file, block)
            if shard < _SHARDS_FOR_ZARR:
                for writer, arrays in zarrs.items():
                    timed(writer, size, _write_zarr, arrays, rows, halves, scratch)
    shutil.rmtree(scratch)
    return {writer: statistics.median(measured) for writer, measured in rates.items()}


def _write_shard(
    store: TeacherStore, shard: int, vectors: dict[str, npt.NDArray[np.float32]], texts: Texts
) -> None:
    for name in TEACHERS:
        store.write_shard(name, shard, vectors[name], texts.text_digest(shard))
    _sync(store.shard_path(name, shard) for name in TEACHERS)


def _write_plain(file: Any, block: npt.NDArray[np.float16]) -> None:
    file.write(block.data)
    file.flush()
    os.fsync(file.fileno())


def _zarr_like(store: Path, path: Path, texts: Texts, changes: dict[str, Any]) -> dict[str, Any]:
    """Make empty arrays like those of the store."""
    group = zarr.open_group(store / "vectors.zarr", mode="r")
    made = {}
    for name, dim in TEACHERS.items():
        array: Any = group[name]
        settings = {
            "shards": array.shards,
            "chunks": array.chunks,
            "filters": array.filters or None,
            "compressors": array.compressors or None,
            "fill_value": array.fill_value,
        }
        made[name] = zarr.create_array(
            store=path / name,
            shape=(texts.rows, dim),
            dtype="float16",
            zarr_format=3,
            **{**settings, **changes},
        )
    return made


def _write_zarr(
    arrays: dict[str, Any],
    rows: npt.NDArray[np.int64],
    halves: dict[str, npt.NDArray[np.float16]],
    scratch: Path,
) -> None:
    for name, array in arrays.items():
        array[rows[0] : rows[-1] + 1] = halves[name]
    _sync(scratch.rglob("*"))


def _sync(paths: Iterator[Path]) -> None:
    for path in paths:
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
