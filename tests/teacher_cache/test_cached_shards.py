"""The cache: bounded, shared, and never trusting what is not whole."""

import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache import cached_shards
from teacher_cache.cached_shards import CachedShards
from teacher_cache.open_store import RemoteStore, open_store
from teacher_cache.place import Place
from teacher_cache.remote_files import RemoteFiles
from teacher_cache.store import TeacherStore
from tests.teacher_cache.places import copy, fill_shards
from tests.teacher_cache.s3_server import S3Server
from tests.teacher_cache.small import dummy, make_corpus
from tests.warm import WarmProcess

SHARDS = 12
ROWS = SHARDS * 64


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> TeacherStore:
    """Twelve whole shards of one teacher."""
    root = tmp_path_factory.mktemp("local")
    corpus = make_corpus(root, ROWS)
    return fill_shards(root / "store", corpus, dummy(), range(SHARDS))


@pytest.fixture
def size(local: TeacherStore) -> int:
    """Bytes of a shard's file."""
    return local.shard_path("dummy", 0).stat().st_size


@pytest.fixture
def remote(local: TeacherStore, memory: str) -> Place:
    """The same store at a URL."""
    copy([local.directory.parent], memory)
    return Place.of(memory)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the shards that are downloaded from now on."""
    names: list[str] = []
    whole = RemoteFiles.download

    def noted(self: RemoteFiles, name: str, target: Path) -> None:
        if "/c/" in name:
            names.append(name)
        whole(self, name, target)

    monkeypatch.setattr(RemoteFiles, "download", noted)
    return names


def cached(cache: Path) -> list[Path]:
    return sorted((cache / "shards").iterdir())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_read_is_what_lies_there(
    local: TeacherStore, remote: Place, tmp_path: Path, downloads: list[str]
) -> None:
    store = open_store(RemoteStore(remote, tmp_path, 10**9))
    rows = np.random.default_rng(1).permutation(ROWS)
    np.testing.assert_array_equal(store.read(rows), local.read(rows))
    assert len(downloads) == len(set(downloads)) == SHARDS
    # A later run reads without the server.
    again = open_store(RemoteStore(remote, tmp_path, 10**9))
    np.testing.assert_array_equal(again.read(rows), local.read(rows))
    assert len(downloads) == SHARDS
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again)).read(rows), local.read(rows))


def test_the_cache_stays_within_its_limit(
    local: TeacherStore, remote: Place, tmp_path: Path, size: int, downloads: list[str]
) -> None:
    limit = 3 * size + size // 2
    store = open_store(RemoteStore(remote, tmp_path, limit))
    most = 0
    for shard in [*range(SHARDS), 11, 10, 0]:
        rows = np.arange(shard * 64, shard * 64 + 64)
        store = open_store(RemoteStore(remote, tmp_path, limit))
        np.testing.assert_array_equal(store.read(rows), local.read(rows))
        most = max(most, sum(path.stat().st_size for path in cached(tmp_path)))
        # Files from one process are used within seconds of each other in another.
        for path in cached(tmp_path):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
    assert most == 3 * size
    # The last two were still there; the first had gone longest ago.
    assert len(downloads) == SHARDS + 1


def test_what_is_mapped_is_read_on_after_its_eviction(
    local: TeacherStore, remote: Place, tmp_path: Path, size: int
) -> None:
    store = open_store(RemoteStore(remote, tmp_path, 2 * size))
    rows = np.arange(ROWS)
    np.testing.assert_array_equal(store.read(rows), local.read(rows))
    assert len(cached(tmp_path)) == 2
    np.testing.assert_array_equal(store.read(rows[::-1]), local.read(rows[::-1]))


def test_a_cache_smaller_than_a_shard_is_a_sentence(
    remote: Place, tmp_path: Path, size: int
) -> None:
    store = open_store(RemoteStore(remote, tmp_path, size - 1))
    with pytest.raises(PipeError, match=rf"room for a shard of dummy, which has {size:,}; set a"):
        store.read(np.arange(3))


@pytest.mark.parametrize("damage", ["cut", "index", "other"])
def test_a_cached_file_that_is_not_whole_is_fetched_again(
    local: TeacherStore, remote: Place, tmp_path: Path, downloads: list[str], damage: str
) -> None:
    rows = np.arange(64)
    open_store(RemoteStore(remote, tmp_path, 10**9)).read(rows)
    (path,) = cached(tmp_path)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    changed = {
        "cut": bytes(content[:-1]),
        "index": bytes(content),
        "other": local.shard_path("dummy", 5).read_bytes(),
    }
    path.write_bytes(changed[damage])
    store = open_store(RemoteStore(remote, tmp_path, 10**9))
    np.testing.assert_array_equal(store.read(rows), local.read(rows))
    assert len(downloads) == 2


def test_a_flipped_bit_in_the_cache_is_found_and_the_shard_fetched_again(
    local: TeacherStore, remote: Place, tmp_path: Path, downloads: list[str]
) -> None:
    rows = np.arange(64)
    open_store(RemoteStore(remote, tmp_path, 10**9)).read(rows)
    (path,) = cached(tmp_path)
    sound = path.read_bytes()
    content = bytearray(sound)
    content[100] ^= 1
    for read in (
        lambda store: np.testing.assert_array_equal(store.read(rows), local.read(rows)),
        lambda store: store.check_chunks(),
    ):
        path.write_bytes(content)
        downloads.clear()
        store = open_store(RemoteStore(remote, tmp_path, 10**9))
        read(store)
        assert downloads.count("vectors.zarr/dummy/c/0/0") == 1
        assert path.read_bytes() == sound


def test_a_file_evicted_before_it_is_mapped_is_fetched_again(
    local: TeacherStore, remote: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = CachedShards.path
    evicted = []

    def evict(self: CachedShards, *shard: object) -> Path:
        path = given(self, *shard)  # type: ignore[arg-type]
        if len(evicted) < 2:
            path.unlink()
            evicted.append(path)
        return path

    monkeypatch.setattr(CachedShards, "path", evict)
    rows = np.arange(64)
    store = open_store(RemoteStore(remote, tmp_path, 10**9))
    np.testing.assert_array_equal(store.read(rows), local.read(rows))
    assert len(evicted) == 2


@pytest.mark.parametrize("name", ["commits/dummy/00003.json", "vectors.zarr/dummy/zarr.json"])
def test_a_mirror_that_is_damaged_here_is_made_anew(
    local: TeacherStore, remote: Place, tmp_path: Path, name: str
) -> None:
    open_store(RemoteStore(remote, tmp_path, 10**9))
    (path,) = (tmp_path / "stores").glob(f"*/{name}")
    path.write_bytes(path.read_bytes()[:-9])
    store = open_store(RemoteStore(remote, tmp_path, 10**9))
    assert path.read_bytes() == (local.directory / name).read_bytes()
    np.testing.assert_array_equal(store.read(np.arange(256)), local.read(np.arange(256)))


def test_a_download_that_does_not_check_is_tried_once_more(
    local: TeacherStore, remote: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = RemoteFiles.download
    spoilt = [True, False, True, True]

    def cut(self: RemoteFiles, name: str, target: Path) -> None:
        whole(self, name, target)
        if "/c/" in name and spoilt.pop(0):
            target.write_bytes(target.read_bytes()[:-5])

    monkeypatch.setattr(RemoteFiles, "download", cut)
    store = open_store(RemoteStore(remote, tmp_path, 10**9))
    np.testing.assert_array_equal(store.read(np.arange(64)), local.read(np.arange(64)))
    with pytest.raises(PipeError, match="c/1/0 is not what its commit says, in two downloads"):
        store.read(np.arange(64, 128))
    assert len(cached(tmp_path)) == 1
    assert not list((tmp_path / "arriving").iterdir())


def test_reading_ahead_fetches_what_has_room(
    local: TeacherStore, remote: Place, tmp_path: Path, size: int, downloads: list[str]
) -> None:
    store = open_store(RemoteStore(remote, tmp_path, 5 * size))
    store.expect(np.arange(ROWS))
    wait_for(lambda: len(cached(tmp_path)) == 5)
    wait_for(lambda: not list((tmp_path / "arriving").iterdir()))
    assert {name.split("/")[-2] for name in downloads} == set("01234")
    rows = np.arange(5 * 64)
    np.testing.assert_array_equal(store.read(rows), local.read(rows))
    assert len(downloads) == 5


def test_a_shard_is_downloaded_once_whoever_asks(
    remote: Place, tmp_path: Path, downloads: list[str]
) -> None:
    stores = [open_store(RemoteStore(remote, tmp_path, 10**9)) for _ in range(4)]
    threads = [threading.Thread(target=store.read, args=(np.arange(128),)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(downloads) == [f"vectors.zarr/dummy/c/{shard}/0" for shard in (0, 1)]


def test_two_processes_share_a_cache(
    local: TeacherStore, s3: S3Server, bucket: str, tmp_path: Path, size: int
) -> None:
    copy([local.directory.parent], bucket)
    s3.asked.clear()
    limit = (SHARDS + 1) * size
    command = ["tests.teacher_cache.places", "read", bucket, str(tmp_path), str(limit)]
    both = [WarmProcess(*command) for _ in range(2)]
    assert [process.wait(timeout=240) for process in both] == [0, 0]
    gets = [path for method, path in s3.asked if method == "GET" and "/c/" in path]
    assert len(gets) == len(set(gets)) == SHARDS
    assert len(cached(tmp_path)) == SHARDS


def test_room_that_others_use_is_waited_for(
    local: TeacherStore, remote: Place, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that another process has just been given stay until it has surely mapped them."""
    monkeypatch.setattr(cached_shards, "_JUST_USED", 0.5)
    one, two = (open_store(RemoteStore(remote, tmp_path, size)) for _ in range(2))
    one.read(np.arange(64))
    (path,) = cached(tmp_path)
    used = path.stat().st_mtime
    two.read(np.arange(64, 128))
    assert time.time() - used >= 0.5
    assert len(cached(tmp_path)) == 1
    np.testing.assert_array_equal(one.read(np.arange(64)), local.read(np.arange(64)))


def test_leftovers_of_a_killed_process_are_swept(remote: Place, tmp_path: Path) -> None:
    open_store(RemoteStore(remote, tmp_path, 10**9)).read(np.arange(3))
    arriving = tmp_path / "arriving"
    (arriving / "abc-64x16.lock").write_bytes(bytes(500))
    (arriving / "abc-64x16.part").write_bytes(bytes(50))
    (arriving / ".abc-64x16.part.0123.tmp").write_bytes(bytes(50))
    shards = CachedShards(remote.store, tmp_path / "stores", tmp_path, 10**9)
    assert not list(arriving.iterdir())
    assert shards.limit == 10**9


def test_a_reopened_mirror_follows_the_store(
    local: TeacherStore, memory: str, tmp_path: Path
) -> None:
    corpus = Corpus.open(local.directory.parent / "corpus")
    place = Place.of(memory)
    begun = fill_shards(tmp_path / "a" / "store", corpus, dummy(), [0, 1])
    copy([tmp_path / "a"], memory)
    assert open_store(RemoteStore(place, tmp_path / "c", 10**9)).committed("dummy") == {0, 1}
    fill_shards(begun.directory, corpus, dummy(), [5])
    fill_shards(begun.directory, corpus, dummy("more", 8), [5])
    copy([tmp_path / "a"], memory)
    opened = open_store(RemoteStore(place, tmp_path / "c", 10**9), corpus)
    assert list(opened.teachers) == ["dummy", "more"]
    assert opened.committed("dummy") == {0, 1, 5}
    rows = np.arange(320, 384)
    np.testing.assert_array_equal(
        opened.read_teacher("dummy", rows), begun.read_teacher("dummy", rows)
    )
    # A store that was removed and made anew leaves nothing of the old one.
    files, base = place.store._files()
    files.rm(base, recursive=True)
    copy([fill_shards(tmp_path / "b" / "store", corpus, dummy(), [3]).directory], memory)
    assert open_store(RemoteStore(place, tmp_path / "c", 10**9)).committed("dummy") == {3}
    files.rm(base, recursive=True)
    with pytest.raises(PipeError, match="found no store in memory://"):
        open_store(RemoteStore(place, tmp_path / "c", 10**9))
