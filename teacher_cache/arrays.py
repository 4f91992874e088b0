"""The Zarr side of the store: arrays made, checked and written with the zarr library."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from data_prep.errors import PipeError
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest import TeacherEntry

ROWS_PER_CHUNK = 64
"""Rows of an inner chunk: what another Zarr library reads to get at one row."""


def shard_path(array: Path, shard: int) -> Path:
    """Say where Zarr keeps a shard of a two-dimensional array.

    Args:
        array: The array's directory.
        shard: The shard's number.

    Returns:
        The path, whether or not there is a file.
    """
    return array / "c" / str(shard) / "0"


def create_group(path: Path) -> None:
    """Make the group that holds the arrays, if it is not there.

    Args:
        path: Its directory.
    """
    if not (path / "zarr.json").exists():
        zarr.create_group(path, zarr_format=3)


def create_array(path: Path, layout: ShardLayout, entry: TeacherEntry, corpus: str) -> None:
    """Make the empty array of a teacher; what was never written reads as NaN.

    Args:
        path: Its directory.
        layout: The store's shards.
        entry: The teacher.
        corpus: The corpus's fingerprint.
    """
    zarr.create_array(
        store=path, attributes=_attributes(entry, corpus), **_metadata(layout, entry.config.dim)
    )


def check_array(path: Path, layout: ShardLayout, entry: TeacherEntry, corpus: str) -> None:
    """Check that an array on disk is the one that the manifest describes.

    Args:
        path: Its directory.
        layout: The store's shards.
        entry: The teacher.
        corpus: The corpus's fingerprint.

    Raises:
        PipeError: It is missing, damaged, or made for something else.
    """
    name = entry.config.name
    try:
        array = zarr.open_array(path, mode="r", zarr_format=3)
    except Exception as error:
        raise PipeError(
            f"the array of {name} at {path} cannot be opened ({error}); restore its zarr.json from "
            f"a copy, or remove {path} and the commits of {name} and encode it again."
        ) from None
    expected: dict[str, Any] = {
        "shape": (layout.rows, entry.config.dim),
        "dtype": np.dtype("float16"),
        "shards": (layout.rows_per_shard, entry.config.dim),
        "chunks": (ROWS_PER_CHUNK, entry.config.dim),
        "compressors": (),
        "filters": (),
        **_attributes(entry, corpus),
    }
    found: dict[str, Any] = {
        "shape": array.shape,
        "dtype": array.dtype,
        "shards": array.shards,
        "chunks": array.chunks,
        "compressors": array.compressors,
        "filters": array.filters,
        **{key: array.attrs.get(key) for key in _attributes(entry, corpus)},
    }
    for key, value in expected.items():
        if found[key] != value:
            raise PipeError(
                f"found {key} {found[key]} in the array of {name} at {path}, expected {value}; it "
                f"was made for something else: move {path} and the commits of {name} away."
            )


def write_scratch_shard(path: Path, rows_per_shard: int, vectors: npt.NDArray[np.float16]) -> Path:
    """Write one whole shard as an array of its own, so that its bytes can be put in place later.

    Args:
        path: A directory to make, on the store's file system.
        rows_per_shard: Rows of a whole shard.
        vectors: The shard's rows, (n, dim) with n at most ``rows_per_shard``.

    Returns:
        The shard's file: the same bytes as a shard of the teacher's array.
    """
    rows, dim = vectors.shape
    array = zarr.create_array(store=path, **_metadata(ShardLayout(rows, rows_per_shard), dim))
    array[:] = vectors
    return shard_path(path, 0)


def _metadata(layout: ShardLayout, dim: int) -> dict[str, Any]:
    return {
        "shape": (layout.rows, dim),
        "dtype": "float16",
        "shards": (layout.rows_per_shard, dim),
        "chunks": (ROWS_PER_CHUNK, dim),
        "compressors": None,
        "filters": None,
        "fill_value": math.nan,
        "zarr_format": 3,
    }


def _attributes(entry: TeacherEntry, corpus: str) -> dict[str, str]:
    """Where a shard's file comes from, should a writer die between its file and its commit."""
    return {"corpus_fingerprint": corpus, "teacher_fingerprint": entry.fingerprint}
