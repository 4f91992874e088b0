"""Any damage anywhere is found by verify, never read as vectors, and mended by repair and teach."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache.findings import Scope
from teacher_cache.manifest_file import read_manifest
from teacher_cache.repair import repair
from teacher_cache.shard_file import ShardShape, write_shard
from teacher_cache.storage import columns_of
from teacher_cache.store import TeacherStore
from teacher_cache.structure import Problem
from teacher_cache.verify import quick_check, verify
from tests.teacher_cache.small import ROWS_PER_SHARD, change_text, rewrite
from tests.teacher_cache.three_kinds import (
    ROWS,
    SHARDS,
    TEACHERS,
    Sound,
    digests,
    encoded,
    flip,
    make_sound,
    prepare_again,
    say_nothing,
    teach,
)

Place = tuple[str | None, int | None]
"""Teacher and shard, as in a problem."""


class Victim:
    """A copy of a sound store, and the dice that say where to damage it."""

    def __init__(self, store: Path, corpus: Corpus, dice: random.Random) -> None:
        self.store = store
        self.corpus = corpus
        self.dice = dice
        self.teacher = dice.choice(sorted(TEACHERS))
        self.shard, self.other = dice.sample(range(SHARDS), 2)
        self.rival = dice.choice(sorted(TEACHERS.keys() - {self.teacher}))

    def file(self, teacher: str = "", shard: int | None = None) -> Path:
        place = self.shard if shard is None else shard
        return self.store / "vectors.zarr" / (teacher or self.teacher) / "c" / str(place) / "0"

    def record(self, teacher: str = "", shard: int | None = None) -> Path:
        place = self.shard if shard is None else shard
        return self.store / "commits" / (teacher or self.teacher) / f"{place:05d}.json"

    def chunk_bytes(self) -> int:
        """Bytes of the shard's file before its index, which has one entry."""
        return self.file().stat().st_size - 20

    @property
    def here(self) -> Place:
        return self.teacher, self.shard

    def flip(self, path: Path, first: int = 0, end: int | None = None) -> None:
        flip(path, self.dice.randrange(first, end or path.stat().st_size), self.dice.randrange(8))

    def small_files(self) -> dict[Path, Place]:
        """Everything beside the shards, and whose it is."""
        found: dict[Path, Place] = {
            self.store / "manifest.json": (None, None),
            self.store / "vectors.zarr" / "zarr.json": (None, None),
            self.store / "heads" / "states.safetensors": ("states", None),
            self.record(): self.here,
        }
        for name in TEACHERS:
            found[self.store / "vectors.zarr" / name / "zarr.json"] = (name, None)
            found[self.store / "canary" / f"{name}.json"] = (name, None)
        return found

    def small_file(self) -> tuple[Path, Place]:
        return self.dice.choice(sorted(self.small_files().items()))


def flip_data(victim: Victim) -> Place:
    victim.flip(victim.file(), 0, victim.chunk_bytes())
    return victim.here


def flip_index(victim: Victim) -> Place:
    victim.flip(victim.file(), victim.chunk_bytes())
    return victim.here


def flip_record(victim: Victim) -> Place:
    victim.flip(victim.record())
    return victim.here


def flip_manifest(victim: Victim) -> Place:
    victim.flip(victim.store / "manifest.json")
    return None, None


def flip_small_file(victim: Victim) -> Place:
    path, place = victim.small_file()
    victim.flip(path)
    return place


def change_byte(victim: Victim) -> Place:
    """Any byte to any other: a blank to a line's end, too."""
    path, place = victim.small_file()
    content = bytearray(path.read_bytes())
    byte = victim.dice.randrange(len(content))
    content[byte] = victim.dice.choice([n for n in range(256) if n != content[byte]])
    path.write_bytes(content)
    return place


def other_blanks(victim: Victim) -> Place:
    path, place = victim.dice.choice(
        [item for item in sorted(victim.small_files().items()) if item[0].suffix == ".json"]
    )
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n", 1))
    return place


def cut_shard(victim: Victim) -> Place:
    content = victim.file().read_bytes()
    victim.file().write_bytes(content[: victim.dice.randrange(len(content))])
    return victim.here


def cut_small_file(victim: Victim) -> Place:
    path, place = victim.small_file()
    content = path.read_bytes()
    path.write_bytes(content[: victim.dice.randrange(len(content))])
    return place


def lengthen(victim: Victim) -> Place:
    path, place = victim.dice.choice([victim.small_file(), (victim.file(), victim.here)])
    path.write_bytes(path.read_bytes() + victim.dice.choice([b"\0", b"\n", b" {}"]))
    return place


def zero_tail(victim: Victim) -> Place:
    content = victim.file().read_bytes()
    kept = victim.dice.randrange(len(content) - 4)
    victim.file().write_bytes(content[:kept] + bytes(len(content) - kept))
    return victim.here


def zero_everything(victim: Victim) -> Place:
    path, place = victim.dice.choice([victim.small_file(), (victim.file(), victim.here)])
    path.write_bytes(bytes(path.stat().st_size))
    return place


def swap(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def swap_files(victim: Victim) -> Place:
    swap(victim.file(), victim.file(shard=victim.other))
    return victim.here


def swap_with_records(victim: Victim) -> Place:
    swap(victim.file(), victim.file(shard=victim.other))
    swap(victim.record(), victim.record(shard=victim.other))
    return victim.here


def others_file(victim: Victim) -> Place:
    shutil.copyfile(victim.file(victim.rival), victim.file())
    return victim.here


def others_file_and_record(victim: Victim) -> Place:
    shutil.copyfile(victim.record(victim.rival), victim.record())
    return others_file(victim)


def others_vectors(victim: Victim) -> Place:
    """A whole and sound file of the right shape, but not the one that was committed."""
    entry = TeacherStore.open(victim.store).entry(victim.teacher)
    columns, dtype = columns_of(entry)
    rows = min(ROWS_PER_SHARD, ROWS - victim.shard * ROWS_PER_SHARD)
    rng = np.random.default_rng(victim.dice.randrange(2**32))
    stored = rng.integers(0, 100, (rows, columns)).astype(dtype)
    write_shard(victim.file(), stored, ShardShape(rows, ROWS_PER_SHARD, columns, dtype))
    return victim.here


def no_file(victim: Victim) -> Place:
    victim.file().unlink()
    return victim.here


def other_digest(victim: Victim) -> Place:
    key = victim.dice.choice(["text_digest", "vectors_digest", "teacher_fingerprint"])
    rewrite(victim.record(), **{key: f"{victim.dice.getrandbits(256):064x}"})
    return victim.here


def other_texts(victim: Victim) -> Place:
    first = victim.shard * ROWS_PER_SHARD
    change_text(victim.corpus, victim.dice.randrange(first, min(first + ROWS_PER_SHARD, ROWS)))
    return None, victim.shard


def cut_texts(victim: Victim) -> Place:
    path = victim.corpus.shard_path(victim.shard)
    path.write_bytes(path.read_bytes()[: victim.dice.randrange(path.stat().st_size)])
    return None, victim.shard


def beyond_the_last(victim: Victim) -> Place:
    beyond = victim.dice.randrange(SHARDS, 10**6)
    shutil.copyfile(victim.record(), victim.record(shard=beyond))
    return victim.teacher, beyond


def strange_name(victim: Victim) -> Place:
    name = victim.dice.choice(["0001.json", "000001.json", "00001.json~", "x", "٠٠٠٠١.json"])
    shutil.copyfile(victim.record(), victim.record().with_name(name))
    return victim.teacher, None


def foreign_manifest(victim: Victim) -> Place:
    rewrite(victim.store / "manifest.json", corpus_fingerprint="0" * 64)
    return None, None


DAMAGES: list[Callable[[Victim], Place]] = [
    flip_data,
    flip_index,
    flip_record,
    flip_manifest,
    flip_small_file,
    change_byte,
    other_blanks,
    cut_shard,
    cut_small_file,
    lengthen,
    zero_tail,
    zero_everything,
    swap_files,
    swap_with_records,
    others_file,
    others_file_and_record,
    others_vectors,
    no_file,
    other_digest,
    other_texts,
    cut_texts,
    beyond_the_last,
    strange_name,
    foreign_manifest,
]
UNREAD = {beyond_the_last, strange_name}
TWO_SHARDS = {swap_files, swap_with_records}


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug in these tests."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    made = make_sound(tmp_path_factory.mktemp("sound"))
    assert problems_of(made.root / "store", Corpus.open(made.root / "corpus")) == []
    return made


def problems_of(directory: Path, corpus: Corpus) -> list[Problem]:
    try:
        store = TeacherStore.open(directory, check_commits=False)
    except PipeError as error:
        return [Problem(None, None, "manifest", str(error))]
    return verify(store, corpus)


def assert_never_wrong(directory: Path, corpus: Corpus, sound: Sound) -> None:
    """What is read is right, or is refused."""
    try:
        store = TeacherStore.open(directory, corpus)
    except PipeError:
        return
    for name in TEACHERS:
        for shard in range(SHARDS):
            rows = np.array(store.layout.range_of(shard))
            try:
                found = store.read_teacher(name, rows)
            except PipeError:
                continue
            np.testing.assert_array_equal(found, sound.vectors[name][rows])


def damage_and_mend(
    sound: Sound, place: Path, damage: Callable[[Victim], Place], seed: int
) -> None:
    directory, corpus = sound.copy(place)
    victim = Victim(directory, corpus, random.Random(f"{damage.__name__} {seed}"))
    where = damage(victim)
    found = problems_of(directory, corpus)
    assert where in {(problem.teacher, problem.shard) for problem in found}
    assert_never_wrong(directory, corpus, sound)

    if seed == 0:
        recipe = list(TEACHERS.values())
        assert repair(directory, corpus, recipe, Scope(), say_nothing, pretend=True).done
        assert problems_of(directory, corpus) == found
    outcome = repair(directory, corpus, list(TEACHERS.values()), Scope(), say_nothing)
    assert outcome.done
    assert not outcome.left
    assert_never_wrong(directory, corpus, sound)
    assert outcome.texts == (damage in (other_texts, cut_texts))
    if outcome.texts:
        prepare_again(corpus)
    teach(TeacherStore.create(directory, corpus), corpus, place / "log")

    store = TeacherStore.open(directory, corpus)
    assert verify(store, corpus) == []
    assert digests(store) == sound.digests
    for name in TEACHERS:
        np.testing.assert_array_equal(
            store.read_teacher(name, np.arange(ROWS)), sound.vectors[name]
        )
    # What was not damaged was not encoded again.
    expected = [where] if None not in where and damage not in UNREAD else []
    if damage in TWO_SHARDS:
        expected.append((victim.teacher, victim.other))
    assert encoded(place / "log") == sorted(expected)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_never_read_and_mended(
    sound: Sound, tmp_path: Path, damage: Callable[[Victim], Place]
) -> None:
    for seed in range(3 if damage in (flip_small_file, change_byte, cut_small_file) else 2):
        damage_and_mend(sound, tmp_path / str(seed), damage, seed)


def cases() -> Iterator[tuple[Callable[[Victim], Place], int]]:
    for n in range(1000):
        yield DAMAGES[n % len(DAMAGES)], 100 + n


@pytest.mark.slow
def test_a_thousand_damages_are_found_never_read_and_mended(sound: Sound, tmp_path: Path) -> None:
    for damage, seed in cases():
        place = tmp_path / f"{damage.__name__}-{seed}"
        damage_and_mend(sound, place, damage, seed)
        shutil.rmtree(place)


def test_every_byte_of_a_small_file_counts(sound: Sound, tmp_path: Path) -> None:
    """One bit of each byte in turn; of the longer files every seventh."""
    directory, corpus = sound.copy(tmp_path)
    victim = Victim(directory, corpus, random.Random(1))
    store = TeacherStore.open(directory, corpus)
    checks: dict[Path, Callable[[], object]] = {
        directory / "vectors.zarr" / "zarr.json": store.roster.check_group,
        directory / "vectors.zarr" / "bytes" / "zarr.json": lambda: store.roster.check_array(
            store.entry("bytes")
        ),
        directory / "heads" / "states.safetensors": lambda: store.roster.check_head(
            store.entry("states")
        ),
        directory / "manifest.json": lambda: read_manifest(directory),
        victim.record(): lambda: store.commit(*victim.here),
    }
    for path, check in checks.items():
        content = path.read_bytes()
        for byte in range(0, len(content), 1 if len(content) < 500 else 7):
            flip(path, byte, byte % 8)
            with pytest.raises(PipeError):
                check()
            path.write_bytes(content)
        check()


def test_the_quick_check_finds_what_is_not_whole(sound: Sound, tmp_path: Path) -> None:
    directory, _ = sound.copy(tmp_path)
    store = TeacherStore.open(directory)
    for name in TEACHERS:
        assert quick_check(store, name) == []
    store.shard_path("halves", 0).unlink()
    store.shard_path("halves", 2).write_bytes(store.shard_path("halves", 2).read_bytes()[:-1])
    flip(store.commit_path("halves", 3), 40, 0)
    found = [(problem.shard, problem.kind) for problem in quick_check(store, "halves")]
    assert found == [(0, "file"), (2, "file"), (3, "commit")]


def test_a_whole_store_of_another_corpus_is_left_alone(sound: Sound, tmp_path: Path) -> None:
    directory, _ = sound.copy(tmp_path)
    other = make_sound(tmp_path / "other")
    shutil.rmtree(other.root / "store")
    before = sorted(directory.rglob("*"))
    corpus = Corpus.open(other.root / "corpus")
    changed = corpus.manifest.model_copy(update={"fingerprint": "1" * 64, "text_digests": ()})
    with pytest.raises(PipeError, match="another corpus"):
        repair(
            directory,
            Corpus(corpus.directory, changed),
            list(TEACHERS.values()),
            Scope(),
            say_nothing,
        )
    assert sorted(directory.rglob("*")) == before


def test_what_is_set_aside_is_kept_to_the_byte(sound: Sound, tmp_path: Path) -> None:
    directory, corpus = sound.copy(tmp_path)
    victim = Victim(directory, corpus, random.Random(4))
    flip_data(victim)
    shard, record = victim.file().read_bytes(), victim.record().read_bytes()
    repair(directory, corpus, list(TEACHERS.values()), Scope(), say_nothing)
    (place,) = (directory / "aside" / victim.teacher).iterdir()
    assert place.name == f"{victim.shard:05d}-1"
    assert (place / "shard").read_bytes() == shard
    assert (place / "record").read_bytes() == record


def test_a_scope_is_kept_to(sound: Sound, tmp_path: Path) -> None:
    directory, corpus = sound.copy(tmp_path)
    store = TeacherStore.open(directory)
    for name in ("halves", "bytes"):
        for shard in (1, 2):
            flip(store.shard_path(name, shard), 3, 3)
    fresh = TeacherStore.open(directory)
    scope = Scope(teachers=("halves",), shards=frozenset([2, 3]))
    assert [(p.teacher, p.shard) for p in verify(fresh, corpus, scope)] == [("halves", 2)]
    repair(directory, corpus, list(TEACHERS.values()), scope, say_nothing)
    assert fresh.missing("halves") == [2]
    assert fresh.missing("bytes") == []
    drawn = {
        tuple(Scope(sample=3, seed=seed).choose({"a": frozenset(range(9))})["a"])
        for seed in range(20)
    }
    assert len(drawn) > 5
    assert {len(shards) for shards in drawn} == {3}
    with pytest.raises(PipeError, match="no teacher 'none'"):
        verify(fresh, corpus, Scope(teachers=("none",)))
