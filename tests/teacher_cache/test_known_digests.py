"""Digests of large files: remembered while the file stays, read anew when it changed."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from data_prep.files import sha256_file
from teacher_cache import known_digests
from teacher_cache.known_digests import known_sha256
from teacher_cache.models import weights_digest


@pytest.fixture
def read(tmp_path, monkeypatch):
    """The files that were read; every file is large, and has long been settled."""
    found = []

    def counted(path):
        found.append(path.name)
        return sha256_file(path)

    monkeypatch.setenv("PIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(known_digests, "LEAST_BYTES", 0)
    monkeypatch.setattr(known_digests, "_SETTLED_NS", -1)
    monkeypatch.setattr(known_digests, "sha256_file", counted)
    return found


def test_a_file_is_read_once_while_it_stays(tmp_path, read):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"a")
    right = hashlib.sha256(b"a").hexdigest()
    assert [known_sha256(path) for _ in range(3)] == [right] * 3
    assert weights_digest(tmp_path, known_sha256) == right == weights_digest(tmp_path)
    assert read == ["model.safetensors"]


def test_a_file_that_changed_is_read_anew(tmp_path, read):
    path = tmp_path / "w"
    path.write_bytes(b"a")
    times = path.stat()
    known_sha256(path)
    path.write_bytes(b"b")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the size is the same as well
    assert known_sha256(path) == hashlib.sha256(b"b").hexdigest()
    other = tmp_path / "other"
    other.write_bytes(b"c")
    other.rename(path)
    assert known_sha256(path) == hashlib.sha256(b"c").hexdigest()
    assert len(read) == 3


def test_a_small_or_a_fresh_file_is_not_remembered(tmp_path, read, monkeypatch):
    path = tmp_path / "w"
    path.write_bytes(b"a")
    monkeypatch.setattr(known_digests, "_SETTLED_NS", 10**12)
    known_sha256(path)
    monkeypatch.setattr(known_digests, "LEAST_BYTES", 10)
    known_sha256(path)
    assert len(read) == 2
    assert not (tmp_path / "cache").exists()


def test_a_record_that_is_no_digest_costs_a_reading(tmp_path, read):
    path = tmp_path / "w"
    path.write_bytes(b"a")
    right = known_sha256(path)
    (record,) = (tmp_path / "cache" / "digests").iterdir()
    kept = json.loads(record.read_text())
    for number, wrong in enumerate((right[:-1], right.upper(), "", None, 5), start=2):
        record.write_text(json.dumps(kept | {"sha256": wrong}))
        assert known_sha256(path) == right
        assert len(read) == number


def test_a_user_without_a_home_reads_every_time(tmp_path, read, monkeypatch):
    def homeless(_):
        raise RuntimeError("Could not determine home directory.")

    path = tmp_path / "w"
    path.write_bytes(b"a")
    monkeypatch.setattr("pathlib.Path.expanduser", homeless)
    assert known_sha256(path) == known_sha256(path) == hashlib.sha256(b"a").hexdigest()
    assert len(read) == 2


def test_a_path_that_is_no_utf8_is_read_every_time(tmp_path, read):
    path = tmp_path / os.fsdecode(b"w\xff")
    path.write_bytes(b"a")
    assert known_sha256(path) == known_sha256(path) == hashlib.sha256(b"a").hexdigest()


@pytest.mark.parametrize("content", ["{", "[]", '{"path": 1}'])
def test_a_damaged_record_costs_a_reading(tmp_path, read, content):
    path = tmp_path / "w"
    path.write_bytes(b"a")
    right = known_sha256(path)
    (record,) = (tmp_path / "cache" / "digests").iterdir()
    record.write_text(content)
    assert known_sha256(path) == right
    assert len(read) == 2


def test_a_cache_that_cannot_be_written_stops_nobody(tmp_path, read):
    (tmp_path / "cache").write_text("a file where a directory belongs")
    path = tmp_path / "w"
    path.write_bytes(b"a")
    assert known_sha256(path) == known_sha256(path) == hashlib.sha256(b"a").hexdigest()


def test_many_at_once_agree(tmp_path, read):
    path = tmp_path / "w"
    path.write_bytes(b"a" * 100_000)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: known_sha256(path), range(64)))
    assert found == {sha256_file(path)}
    assert len(list((tmp_path / "cache" / "digests").iterdir())) == 1
