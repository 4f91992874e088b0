"""What a hostile or broken store cannot do: lead outside, take the memory, hang, or end in a trace.

Every record here has a checksum that fits, as whoever made it on purpose would see to.
"""

import json
import os
import random
import shutil
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.files import json_bytes
from data_prep.fingerprint import digest
from teacher_cache.arrays import metadata_digest
from teacher_cache.canary_record import CanaryRecord
from teacher_cache.findings import Scope
from teacher_cache.manifest import read_record
from teacher_cache.repair import repair
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from tests.teacher_cache.small import rewrite
from tests.teacher_cache.three_kinds import (
    ROWS,
    TEACHERS,
    Sound,
    make_sound,
    say_nothing,
    teach,
)

MANIFEST = "manifest.json"
RECORD = "commits/halves/00001.json"
ARRAY = "vectors.zarr/halves/zarr.json"
CANARY = "canary/halves.json"
HEAD = "heads/states.safetensors"
SHARD = "vectors.zarr/halves/c/1/0"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    return make_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def copy(sound: Sound, tmp_path: Path) -> tuple[Path, Corpus]:
    return sound.copy(tmp_path)


@pytest.fixture(autouse=True)
def within_bounds() -> object:
    """No refusal takes a hundred megabytes or ten seconds."""
    tracemalloc.start()
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 60
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()


def use(store: Path, corpus: Corpus) -> None:
    """Open a store and read all of it, canary and all."""
    opened = TeacherStore.open(store, corpus)
    opened.read(np.arange(ROWS), list(TEACHERS))
    for name in TEACHERS:
        read_record(store / "canary" / f"{name}.json", CanaryRecord)
    problems = verify(opened, corpus)
    if problems:
        raise PipeError(problems[0].message)


def entries(store: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((store / MANIFEST).read_text())["teachers"]
    return found


@pytest.mark.parametrize("name", ["../out", "..", "/etc", "a/b", "halves/../../out", ".", ""])
def test_names_that_lead_outside_are_refused(copy: tuple[Path, Corpus], name: str) -> None:
    store, corpus = copy
    teachers = entries(store)
    teachers[name] = teachers.pop("halves")
    rewrite(store / MANIFEST, teachers=teachers)
    with pytest.raises(PipeError, match="expected a whole StoreManifest"):
        use(store, corpus)
    teachers[name]["config"]["name"] = name  # type: ignore[index]
    rewrite(store / MANIFEST, teachers=teachers)
    with pytest.raises(PipeError, match="expected a whole StoreManifest"):
        use(store, corpus)
    assert name not in TEACHERS


def test_a_record_that_names_another_place_is_refused(copy: tuple[Path, Corpus]) -> None:
    store, corpus = copy
    rewrite(store / RECORD, teacher="../../outside")
    with pytest.raises(PipeError, match="found the teacher"):
        use(store, corpus)


LINKS = [
    MANIFEST,
    "commits",
    "commits/halves",
    RECORD,
    "vectors.zarr",
    "vectors.zarr/zarr.json",
    "vectors.zarr/halves",
    ARRAY,
    "vectors.zarr/halves/c",
    "vectors.zarr/halves/c/1",
    SHARD,
    "heads",
    HEAD,
    "canary",
    CANARY,
]


@pytest.mark.parametrize("name", LINKS)
def test_a_link_anywhere_below_the_store_is_refused_and_repaired(
    sound: Sound, copy: tuple[Path, Corpus], tmp_path: Path, name: str
) -> None:
    store, corpus = copy
    outside = tmp_path / "outside"
    (store / name).rename(outside)
    (store / name).symlink_to(outside)
    before = {path: path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]}
    with pytest.raises(PipeError, match="symbolic link"):
        use(store, corpus)
    recipe = list(TEACHERS.values())
    # What lay behind the first link is missed once the link is away.
    for _ in range(2):
        repair(store, corpus, recipe, Scope(), say_nothing)
    assert (store / name).is_symlink() is False
    teach(TeacherStore.create(store, corpus), corpus, tmp_path / "log")
    if name not in {"canary", CANARY}:  # made again with the next shard that is encoded
        use(store, corpus)
    opened = TeacherStore.open(store, corpus)
    for teacher, vectors in sound.vectors.items():
        np.testing.assert_array_equal(opened.read_teacher(teacher, np.arange(ROWS)), vectors)
    # Nothing was changed through the link.
    assert {path: path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]} == before


@pytest.mark.parametrize("name", ["scratch", "vectors.zarr/halves/c", ".lock", "aside"])
def test_nothing_is_written_through_a_link(
    copy: tuple[Path, Corpus], tmp_path: Path, name: str
) -> None:
    store, corpus = copy
    outside = tmp_path / "outside"
    outside.mkdir()
    old = outside / "old"
    old.mkdir()
    os.utime(old, (0, 0))
    opened = TeacherStore.open(store, corpus)
    opened.commit_path("halves", 1).unlink()
    path = store / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(outside)

    def write() -> None:
        if name == "aside":
            opened.commit_path("halves", 2).write_text("{")
            repair(store, corpus, list(TEACHERS.values()), Scope(), say_nothing)
        else:
            teach(TeacherStore.create(store, corpus), corpus, tmp_path / "log")

    with pytest.raises(PipeError, match="symbolic link"):
        write()
    assert list(outside.iterdir()) == [old]


def test_the_store_itself_may_be_a_link(copy: tuple[Path, Corpus], tmp_path: Path) -> None:
    store, corpus = copy
    (tmp_path / "link").symlink_to(store)
    use(tmp_path / "link", corpus)


@pytest.mark.parametrize("name", [MANIFEST, RECORD, ARRAY, HEAD, CANARY, SHARD])
def test_a_pipe_in_a_files_place_is_not_waited_for(copy: tuple[Path, Corpus], name: str) -> None:
    store, corpus = copy
    (store / name).unlink()
    os.mkfifo(store / name)
    with pytest.raises(PipeError):
        use(store, corpus)


@pytest.mark.parametrize("name", [MANIFEST, RECORD, ARRAY, HEAD, CANARY, SHARD])
def test_a_gigantic_file_is_not_read(copy: tuple[Path, Corpus], name: str) -> None:
    store, corpus = copy
    os.truncate(store / name, 2**36)
    with pytest.raises(PipeError):
        use(store, corpus)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 10**15},
        {"rows": 10**40},
        {"rows": 10**12, "rows_per_shard": 64},
        {"rows_per_shard": 2**40},
        {"rows": -1},
        {"rows": 0},
        {"rows": True},
        {"rows": 234.0},
        {"rows": "234"},
        {"rows": None},
        {"rows": [234]},
        {"teachers": []},
        {"teachers": {"halves": None}},
        {"metadata": {"halves": 1}},
        {"corpus_fingerprint": "x" * 64},
    ],
    ids=str,
)
def test_a_manifest_of_wrong_numbers_or_types_is_refused(
    copy: tuple[Path, Corpus], change: dict[str, object]
) -> None:
    store, corpus = copy
    rewrite(store / MANIFEST, **change)
    with pytest.raises(PipeError, match="expected a whole StoreManifest"):
        use(store, corpus)


def test_a_gigantic_dimension_is_refused(copy: tuple[Path, Corpus]) -> None:
    store, corpus = copy
    for dim in (2**20 + 64, 10**30):
        teachers = entries(store)
        teachers["halves"]["config"]["dim"] = dim  # type: ignore[index]
        rewrite(store / MANIFEST, teachers=teachers)
        with pytest.raises(PipeError, match="expected a whole StoreManifest"):
            use(store, corpus)


@pytest.mark.parametrize(
    "change",
    [
        {"teacher": 1},
        {"shard": True},
        {"shard": -1},
        {"shard": 1.0},
        {"shard": "1"},
        {"num_rows": 10**30},
        {"num_rows": [64]},
        {"first_row": {"a": 1}},
        {"chunks_crc32c": [2**32]},
        {"chunks_crc32c": None},
        {"text_digest": 5},
        {"vectors_digest": "Z" * 64},
        {"seconds": "3"},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"written_by": "me"},
        {"file": "/etc/passwd"},
        {"format_version": 3},
    ],
    ids=str,
)
def test_a_record_of_wrong_numbers_or_types_is_refused(
    copy: tuple[Path, Corpus], change: dict[str, object]
) -> None:
    store, corpus = copy
    rewrite(store / RECORD, **change)
    with pytest.raises(PipeError, match=r"00001\.json"):
        use(store, corpus)


@pytest.mark.parametrize("shape", [[-6, -16], [0, 0], [10**12, 10**12], [6], "6", [True, 16]])
def test_canary_vectors_of_another_shape_are_refused(
    copy: tuple[Path, Corpus], shape: object
) -> None:
    store, corpus = copy
    rewrite(store / CANARY, shape=shape)
    with pytest.raises(PipeError, match=r"canary/halves\.json"):
        use(store, corpus)


NOT_JSON = {
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "long number": b'{"rows": ' + b"9" * 100_000 + b"}",
    "lone surrogate": b'{"teacher": "\\ud800"}',
    "not utf-8": b"\xff\xfe\x00",
    "nothing": b"",
    "a list": b"[1, 2]",
    "null": b"null",
    "NaN": b"NaN",
}


@pytest.mark.parametrize("name", [MANIFEST, RECORD, CANARY])
@pytest.mark.parametrize("content", NOT_JSON)
def test_what_is_no_record_is_refused(copy: tuple[Path, Corpus], name: str, content: str) -> None:
    store, corpus = copy
    (store / name).write_bytes(NOT_JSON[content])
    with pytest.raises(PipeError, match="expected a whole"):
        use(store, corpus)


@pytest.mark.parametrize("name", [MANIFEST, RECORD, CANARY])
def test_a_key_that_comes_twice_is_refused(copy: tuple[Path, Corpus], name: str) -> None:
    """Parsers differ in which of the two they take."""
    store, corpus = copy
    content = (store / name).read_bytes()
    assert content.startswith(b'{\n  "')
    (store / name).write_bytes(b'{\n  "format_version": 9,\n  "' + content[5:])
    with pytest.raises(PipeError, match="expected a whole"):
        use(store, corpus)
    (store / name).write_bytes(content)
    use(store, corpus)


def _shape(values: dict[str, object]) -> None:
    values["shape"] = [10**18, 10**9]


def _shards(values: dict[str, object]) -> None:
    values["chunk_grid"]["configuration"]["chunk_shape"] = [10**18, 16]  # type: ignore[index]


def _codec(values: dict[str, object]) -> None:
    values["codecs"] = [{"name": "numcodecs.pickle", "configuration": {}}]


def _type(values: dict[str, object]) -> None:
    values["data_type"] = "float64"


def _many(values: dict[str, object]) -> None:
    values["shape"] = [2] * 10_000


@pytest.mark.parametrize("change", [_shape, _shards, _codec, _type, _many])
def test_zarr_metadata_for_something_else_is_refused(
    copy: tuple[Path, Corpus], change: Callable[[dict[str, object]], None]
) -> None:
    """Even if the manifest vouches for it."""
    store, corpus = copy
    values = json.loads((store / ARRAY).read_text())
    change(values)
    (store / ARRAY).write_bytes(json_bytes(values))
    with pytest.raises(PipeError, match="has changed since"):
        use(store, corpus)
    known = json.loads((store / MANIFEST).read_text())["metadata"]
    known["halves"] = metadata_digest((store / ARRAY).parent)
    rewrite(store / MANIFEST, metadata=known)
    with pytest.raises(PipeError, match=r"pipe store repair"):
        use(store, corpus)


@pytest.mark.parametrize("content", NOT_JSON)
def test_zarr_metadata_that_is_none_is_refused(copy: tuple[Path, Corpus], content: str) -> None:
    store, corpus = copy
    (store / ARRAY).write_bytes(NOT_JSON[content])
    known = json.loads((store / MANIFEST).read_text())["metadata"]
    known["halves"] = metadata_digest((store / ARRAY).parent)
    rewrite(store / MANIFEST, metadata=known)
    with pytest.raises(PipeError, match="cannot be opened"):
        use(store, corpus)


def test_random_bytes_in_the_place_of_records_are_refused(copy: tuple[Path, Corpus]) -> None:
    store, corpus = copy
    dice = random.Random(3)
    sound = json.loads((store / RECORD).read_text())
    values = [None, True, -1, 0.5, "x", [], {}, [[]], {"a": 1}, 2**70, "0" * 64]
    opened = TeacherStore.open(store, corpus)
    refused = 0
    for _ in range(300):
        changed = dict(sound)
        key = dice.choice(sorted(changed))
        changed[key] = dice.choice(values)
        if changed == sound or key == "checksum":
            continue
        del changed["checksum"]
        changed["checksum"] = digest(changed)
        (store / RECORD).write_bytes(json_bytes(changed))
        if key in {"seconds", "created", "text_digest", "vectors_digest"}:
            continue  # of the right type now and then; compared elsewhere
        with pytest.raises(PipeError):
            opened.commit("halves", 1)
        refused += 1
    assert refused > 100
