"""A shard's file: the bytes that zarr writes, every change found, nothing damaged read."""

from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec

from data_prep.errors import PipeError
from teacher_cache.arrays import shard_path
from teacher_cache.mapped_shard import MappedShard, map_shard
from teacher_cache.shard_file import (
    ShardShape,
    file_checksums,
    fill_value,
    require_committed,
    write_shard,
)

DIM, ROWS_PER_SHARD = 10, 256
CHUNK = 64 * DIM * 2
STRIDE = CHUNK + 4
HALF = np.dtype("<f2")


def shape_of(rows: int = ROWS_PER_SHARD, dtype: np.dtype = HALF) -> ShardShape:
    return ShardShape(rows, ROWS_PER_SHARD, DIM, dtype)


def make(tmp_path: Path, rows: int = ROWS_PER_SHARD) -> tuple[Path, np.ndarray]:
    stored = np.random.default_rng(1).standard_normal((rows, DIM)).astype(HALF)
    write_shard(tmp_path / "shard", stored, shape_of(rows))
    return tmp_path / "shard", stored


def everything(mapped: MappedShard) -> np.ndarray:
    return mapped.take(slice(0, mapped.shape.rows))


@pytest.mark.parametrize("rows", [256, 255, 130, 64, 1])
@pytest.mark.parametrize("dtype", ["<f2", "i1"])
def test_the_bytes_are_those_that_zarr_writes(tmp_path: Path, rows: int, dtype: str) -> None:
    stored = (100 * np.random.default_rng(1).standard_normal((rows, DIM))).clip(-99, 99)
    stored = stored.astype(dtype)
    shape = shape_of(rows, np.dtype(dtype))
    checksum = write_shard(tmp_path / "shard", stored, shape)
    array = zarr.create_array(
        store=tmp_path / "array",
        shape=(rows, DIM),
        dtype=dtype,
        shards=(ROWS_PER_SHARD, DIM),
        chunks=(64, DIM),
        compressors=Crc32cCodec(),
        filters=None,
        fill_value=fill_value(np.dtype(dtype)),
        zarr_format=3,
    )
    array[:] = stored
    ours, theirs = tmp_path / "shard", shard_path(tmp_path / "array", 0)
    assert ours.read_bytes() == theirs.read_bytes()
    mapped = map_shard(theirs, shape)
    assert file_checksums(theirs, shape) == checksum
    np.testing.assert_array_equal(everything(mapped), stored)


@pytest.mark.parametrize("rows", [256, 255, 130, 64, 1])
def test_mapped_rows_are_the_written_rows(tmp_path: Path, rows: int) -> None:
    path, stored = make(tmp_path, rows)
    rng = np.random.default_rng(2)
    for _ in range(20):
        mapped = map_shard(path, shape_of(rows))
        places = rng.integers(0, rows, 40)
        np.testing.assert_array_equal(mapped.take(places), stored[places])
        first, last = sorted(rng.integers(0, rows, 2).tolist())
        np.testing.assert_array_equal(mapped.take(slice(first, last + 1)), stored[first : last + 1])
        mapped.release()
        np.testing.assert_array_equal(everything(mapped), stored)


def test_rows_that_were_mapped_outlive_the_file(tmp_path: Path) -> None:
    path, stored = make(tmp_path)
    mapped = map_shard(path, shape_of())
    path.unlink()
    np.testing.assert_array_equal(everything(mapped), stored)


@pytest.mark.parametrize("keep", [0, 3, 60, CHUNK, 4 * STRIDE, 4 * STRIDE + 67])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, keep: int) -> None:
    path, _ = make(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PipeError, match="the shard is damaged"):
        map_shard(path, shape_of())


def test_a_change_anywhere_is_found(tmp_path: Path) -> None:
    path, _ = make(tmp_path)
    sound = path.read_bytes()
    checksums = file_checksums(path, shape_of())
    for place in range(0, len(sound), 3):
        broken = bytearray(sound)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        if place >= 4 * STRIDE:
            with pytest.raises(PipeError, match="index that does not fit its checksum"):
                map_shard(path, shape_of())
        else:
            mapped = map_shard(path, shape_of())
            with pytest.raises(PipeError, match=f"chunk {place // STRIDE} with other bytes"):
                everything(mapped)
            if place % STRIDE >= CHUNK:
                with pytest.raises(PipeError, match="another shard's or has changed"):
                    require_committed(path, shape_of(), checksums)


def test_only_the_chunks_that_are_read_are_checked(tmp_path: Path) -> None:
    path, stored = make(tmp_path)
    broken = bytearray(path.read_bytes())
    broken[STRIDE] ^= 1
    path.write_bytes(broken)
    mapped = map_shard(path, shape_of())
    np.testing.assert_array_equal(mapped.take(np.array([0, 130, 63])), stored[[0, 130, 63]])
    for places in (np.array([0, 64]), slice(64, 65), slice(60, 70)):
        with pytest.raises(PipeError, match="chunk 1 with other bytes"):
            mapped.take(places)


def test_chunks_in_another_order_are_refused(tmp_path: Path) -> None:
    path, _ = make(tmp_path)
    content = path.read_bytes()
    index = np.frombuffer(content[4 * STRIDE : -4], "<u8").reshape(4, 2)[[1, 0, 2, 3]].tobytes()
    checksum = google_crc32c.value(index).to_bytes(4, "little")
    path.write_bytes(content[: 4 * STRIDE] + index + checksum)
    with pytest.raises(PipeError, match="out of order"):
        map_shard(path, shape_of())


def test_a_shard_of_fewer_rows_is_refused(tmp_path: Path) -> None:
    path, _ = make(tmp_path, rows=130)  # the fourth chunk holds no rows and was not written
    map_shard(path, shape_of(130))
    with pytest.raises(PipeError, match="the shard is damaged"):
        map_shard(path, shape_of(256))


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match="cannot be mapped"):
        map_shard(tmp_path / "nothing", shape_of())
