"""The Zarr side of the store: arrays made and checked with the zarr library."""

import hashlib
from pathlib import Path
from typing import Any, Final

import zarr
from zarr.codecs import Crc32cCodec

from data_prep.errors import PipeError
from data_prep.files import atomic_write, json_bytes, read_bounded, refuse_link, refuse_links
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest import TeacherEntry
from teacher_cache.shard_file import ROWS_PER_CHUNK, fill_value
from teacher_cache.storage import columns_of

METADATA: Final = "zarr.json"
_MOST_METADATA_BYTES = 2**20
_GROUP: Final = json_bytes({"zarr_format": 3, "node_type": "group", "attributes": {}})
"""The group's metadata: these bytes and no others, so that a change anywhere is found."""


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
    """Make the group that holds the arrays; what stands there as it should be stays.

    Args:
        path: Its directory.
    """
    if not (path / METADATA).exists() or (path / METADATA).read_bytes() != _GROUP:
        with atomic_write(path / METADATA) as temporary:
            temporary.write_bytes(_GROUP)


def check_group(path: Path) -> None:
    """Check that the group that holds the arrays is as it was made.

    Args:
        path: Its directory.

    Raises:
        PipeError: It is missing or damaged.
    """
    refuse_links(path / METADATA, path.parent)
    if _metadata(path) != _GROUP:
        raise PipeError(
            f"found other bytes in {path / METADATA} than every store has there; "
            "`pipe store repair` makes it again."
        )


def _metadata(path: Path) -> bytes:
    try:
        return read_bounded(path / METADATA, _MOST_METADATA_BYTES)
    except (OSError, ValueError) as error:
        raise PipeError(
            f"{path / METADATA} cannot be read ({error}); `pipe store repair` makes it again."
        ) from None


def create_array(path: Path, layout: ShardLayout, entry: TeacherEntry, corpus: str) -> None:
    """Make the empty array of a teacher; what was never written reads as NaN where it can.

    Args:
        path: Its directory.
        layout: The store's shards.
        entry: The teacher.
        corpus: The corpus's fingerprint.
    """
    columns, dtype = columns_of(entry)
    zarr.create_array(
        store=path,
        shape=(layout.rows, columns),
        dtype=dtype,
        shards=(layout.rows_per_shard, columns),
        chunks=(ROWS_PER_CHUNK, columns),
        compressors=Crc32cCodec(),
        filters=None,
        fill_value=fill_value(dtype),
        attributes=_attributes(entry, corpus),
        zarr_format=3,
    )


def metadata_digest(path: Path) -> str:
    """Digest an array's metadata, so that a change anywhere in it is found.

    Args:
        path: The array's directory.

    Returns:
        SHA-256 of its ``zarr.json``, in hexadecimal.

    Raises:
        PipeError: It is missing, or far too large.
    """
    return hashlib.sha256(_metadata(path)).hexdigest()


def check_array(
    path: Path,
    layout: ShardLayout,
    entry: TeacherEntry,
    corpus: str,
    digest: str | None,
) -> None:
    """Check that an array on disk is the one that the manifest describes.

    Args:
        path: Its directory.
        layout: The store's shards.
        entry: The teacher.
        corpus: The corpus's fingerprint.
        digest: SHA-256 of its metadata, if that is on record.

    Raises:
        PipeError: It is missing, damaged, or made for something else.
    """
    name = entry.config.name
    refuse_link(path)
    refuse_link(path / METADATA)
    found_digest = metadata_digest(path)
    if digest is not None and found_digest != digest:
        raise PipeError(
            f"{path / METADATA} has changed since the array of {name} was made; "
            "`pipe store repair` makes it again."
        )
    try:
        array = zarr.open_array(path, mode="r", zarr_format=3)
    except Exception as error:
        raise PipeError(
            f"the array of {name} at {path} cannot be opened ({error}); `pipe store repair` makes "
            f"its {METADATA} again."
        ) from None
    columns, dtype = columns_of(entry)
    expected: dict[str, Any] = {
        "shape": (layout.rows, columns),
        "dtype": dtype,
        "shards": (layout.rows_per_shard, columns),
        "chunks": (ROWS_PER_CHUNK, columns),
        "compressors": (Crc32cCodec(),),
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
                f"was made for something else: `pipe store repair` makes its {METADATA} again."
            )


def _attributes(entry: TeacherEntry, corpus: str) -> dict[str, str]:
    """Where a shard's file comes from, should a writer die between its file and its commit."""
    return {"corpus_fingerprint": corpus, "teacher_fingerprint": entry.fingerprint}
