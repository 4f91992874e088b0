"""Mapping a shard through its index: sound files, odd but valid ones, and damaged ones."""

from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from data_prep.errors import PipeError
from teacher_cache.arrays import write_scratch_shard
from teacher_cache.shard_file import map_shard

DIM, ROWS_PER_SHARD = 10, 256
CHUNK = 64 * DIM * 2


def make(tmp_path: Path, rows: int = ROWS_PER_SHARD) -> tuple[Path, np.ndarray]:
    vectors = np.random.default_rng(1).standard_normal((rows, DIM)).astype(np.float16)
    return write_scratch_shard(tmp_path / "array", ROWS_PER_SHARD, vectors), vectors


@pytest.mark.parametrize("rows", [256, 255, 130, 64, 1])
def test_mapped_rows_are_the_written_rows(tmp_path: Path, rows: int) -> None:
    path, vectors = make(tmp_path, rows)
    mapped = map_shard(path, rows, ROWS_PER_SHARD, DIM)
    assert mapped.whole is not None
    np.testing.assert_array_equal(mapped.take(slice(0, rows)), vectors)
    places = np.random.default_rng(2).integers(0, rows, 40)
    np.testing.assert_array_equal(mapped.take(places), vectors[places])


def test_chunks_in_another_order_with_odd_gaps_are_read(tmp_path: Path) -> None:
    """Zarr leaves the order of inner chunks to the writer; another library may choose one."""
    path, vectors = make(tmp_path)
    data = path.read_bytes()
    body, pairs = b"", {}
    for chunk in (2, 0, 3, 1):
        body += b"?"
        pairs[chunk] = (len(body), CHUNK)
        body += data[chunk * CHUNK : (chunk + 1) * CHUNK]
    index = np.array([pairs[chunk] for chunk in range(4)], "<u8").tobytes()
    path.write_bytes(body + index + google_crc32c.value(index).to_bytes(4, "little"))
    mapped = map_shard(path, ROWS_PER_SHARD, ROWS_PER_SHARD, DIM)
    assert mapped.whole is None
    places = np.random.default_rng(2).integers(0, ROWS_PER_SHARD, 40)
    np.testing.assert_array_equal(mapped.take(places), vectors[places])
    np.testing.assert_array_equal(mapped.take(slice(60, 200)), vectors[60:200])


@pytest.mark.parametrize("keep", [0, 3, 60, CHUNK, 4 * CHUNK, 4 * CHUNK + 67])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, keep: int) -> None:
    path, _ = make(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PipeError, match="the shard is damaged"):
        map_shard(path, ROWS_PER_SHARD, ROWS_PER_SHARD, DIM)


def test_every_byte_of_the_index_is_checked(tmp_path: Path) -> None:
    path, _ = make(tmp_path)
    sound = path.read_bytes()
    for place in range(4 * CHUNK, len(sound)):
        broken = bytearray(sound)
        broken[place] ^= 4
        path.write_bytes(broken)
        with pytest.raises(PipeError, match="checksum"):
            map_shard(path, ROWS_PER_SHARD, ROWS_PER_SHARD, DIM)


def test_an_absent_chunk_is_refused_though_zarr_would_fill_it(tmp_path: Path) -> None:
    path, _ = make(tmp_path, rows=130)  # the fourth chunk holds no rows and was not written
    map_shard(path, 130, ROWS_PER_SHARD, DIM)
    with pytest.raises(PipeError, match="inner chunk 3 absent"):
        map_shard(path, 256, ROWS_PER_SHARD, DIM)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match="cannot be mapped"):
        map_shard(tmp_path / "nothing", 64, 64, DIM)
