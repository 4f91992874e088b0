"""kill -9 at random moments of pushing, pulling, merging and caching; then it is finished."""

import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from teacher_cache.corpus_copy import copy_corpus
from teacher_cache.open_store import RemoteStore, open_store
from teacher_cache.place import Place
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from tests.killed import killed
from tests.teacher_cache.places import copy, fill_shards
from tests.teacher_cache.s3_server import S3Server
from tests.teacher_cache.small import dummy, make_corpus, vector_files
from tests.warm import WarmProcess

SHARDS = 24


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place that nobody disturbed."""
    root = tmp_path_factory.mktemp("undisturbed")
    fill_shards(root / "store", make_corpus(root, SHARDS * 64 - 9), dummy(), range(SHARDS))
    return root


PLACES = "tests.teacher_cache.places"


def kill_behind(files: int, *arguments: object) -> bool:
    """Kill a process of ``places`` when it has put so many files in their places."""
    return killed("*", PLACES, *map(str, arguments), behind=files)


def kill_at_request(number: int, s3: S3Server, *arguments: object) -> bool:
    """Kill a process of ``places`` when it has asked so often."""
    s3.asked.clear()
    process = WarmProcess(PLACES, *map(str, arguments))
    while len(s3.asked) < number and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    return process.wait() == -signal.SIGKILL


def moments(kills: int, last: int, seed: int) -> list[int]:
    return [random.Random(seed + n).randint(1, last) for n in range(kills)]


def finish_and_compare(source: str | Path, target: Path, undisturbed: Path) -> None:
    """What a killed copy left agrees with itself, and the same copy completes it."""
    if (target / "store" / "manifest.json").exists():
        require_whole(target)
    copy([source], target)
    copy_corpus(Place.of(str(source)), Place(str(target)), 4)
    found = vector_files(target / "store")
    # A kill in the middle of a small write leaves its unfinished file, which nobody reads.
    found = {name: content for name, content in found.items() if not name.endswith(".tmp")}
    assert found == vector_files(undisturbed / "store")
    corpus = Corpus.open(target / "corpus")
    assert verify(TeacherStore.open(target / "store"), corpus) == []


def require_whole(target: Path) -> None:
    """Check every committed shard, whatever else was left behind."""
    store = TeacherStore.open(target / "store")
    for shard in store.committed("dummy") if "dummy" in store.teachers else ():
        commit = store.commit("dummy", shard)
        assert commit is not None
        store.check_file(store.shard_path("dummy", shard), commit)


KILLS = [pytest.param(2, id="few"), pytest.param(16, id="many", marks=pytest.mark.slow)]


@pytest.mark.parametrize("kills", KILLS)
def test_killed_pulls(
    undisturbed: Path, s3: S3Server, bucket: str, tmp_path: Path, kills: int
) -> None:
    copy([undisturbed], bucket)
    copy_corpus(Place(str(undisturbed)), Place(bucket), 4)
    done = 0
    with s3.misbehaving(pause=0.01):
        for files in moments(kills, 2 * SHARDS, seed=1):
            done += kill_behind(files, "copy", bucket, tmp_path / "pulled")
    assert done
    finish_and_compare(bucket, tmp_path / "pulled", undisturbed)


@pytest.mark.parametrize("kills", KILLS)
def test_killed_pushes(
    undisturbed: Path, s3: S3Server, bucket: str, tmp_path: Path, kills: int
) -> None:
    done = 0
    with s3.misbehaving(pause=0.01):
        for request in moments(kills, 2 * SHARDS, seed=2):
            done += kill_at_request(request, s3, "copy", undisturbed, bucket)
    assert done
    # Whatever a killed push has committed can be pulled, and is whole.
    if Place(bucket).store.exists("manifest.json"):
        copy([bucket], tmp_path / "part")
        require_whole(tmp_path / "part")
    copy([undisturbed], bucket)
    copy_corpus(Place(str(undisturbed)), Place(bucket), 4)
    finish_and_compare(bucket, tmp_path / "pulled", undisturbed)


@pytest.mark.parametrize("kills", KILLS)
def test_killed_merges(undisturbed: Path, tmp_path: Path, kills: int) -> None:
    done = 0
    for files in moments(kills, 2 * SHARDS, seed=3):
        done += kill_behind(files, "copy", undisturbed, tmp_path / "merged")
    assert done
    finish_and_compare(undisturbed, tmp_path / "merged", undisturbed)


@pytest.mark.parametrize("kills", KILLS)
def test_killed_readers(
    undisturbed: Path, s3: S3Server, bucket: str, tmp_path: Path, kills: int
) -> None:
    copy([undisturbed], bucket)
    local = TeacherStore.open(undisturbed / "store")
    limit = 10 * local.shard_path("dummy", 0).stat().st_size
    done = 0
    with s3.misbehaving(pause=0.01):
        for files in moments(kills, SHARDS // 2, seed=4):
            done += kill_behind(files, "read", bucket, tmp_path / "cache", limit)
            held = sum(path.stat().st_size for path in (tmp_path / "cache" / "shards").glob("*"))
            assert held <= limit
    assert done
    rows = np.random.default_rng(0).permutation(local.layout.rows)
    store = open_store(RemoteStore(Place.of(bucket), tmp_path / "cache", limit))
    np.testing.assert_array_equal(store.read(rows), local.read(rows))
    assert not list((tmp_path / "cache" / "arriving").iterdir())
