"""The store as a whole: what it refuses, what it keeps, and that any Zarr library reads it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache.arrays import metadata_digest
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.store import TeacherStore
from tests.teacher_cache.small import dummy, make_corpus, rewrite


def test_plain_zarr_reads_the_same_vectors(store: TeacherStore) -> None:
    group = zarr.open_group(store.directory / "vectors.zarr", mode="r")
    assert sorted(name for name, _ in group.arrays()) == ["narrow", "wide"]
    for name in ("narrow", "wide"):
        np.testing.assert_array_equal(group[name][:], store.read_teacher(name, np.arange(170)))


def test_what_was_never_written_reads_as_nan(tmp_path: Path, corpus: Corpus) -> None:
    store = TeacherStore.create(tmp_path / "store", corpus)
    store.add_teacher(dummy())
    assert np.isnan(zarr.open_array(store.directory / "vectors.zarr" / "dummy")[:]).all()


def test_vectors_are_normalised_before_rounding(
    tmp_path: Path, corpus: Corpus, units: np.ndarray
) -> None:
    store = TeacherStore.create(tmp_path / "store", corpus)
    store.add_teacher(dummy())
    commit = store.write_shard("dummy", 0, units * 1.005, corpus.text_digest(0))
    found = store.read_teacher("dummy", np.arange(64))
    # One float16 apart at most: the input was rounded in float32 once more.
    np.testing.assert_allclose(found, units, rtol=1e-3)
    assert (commit.first_row, commit.num_rows) == (0, 64)
    assert commit == store.commit("dummy", 0)


def test_half_precision_vectors_are_taken_as_well(
    tmp_path: Path, corpus: Corpus, units: np.ndarray
) -> None:
    store = TeacherStore.create(tmp_path / "store", corpus)
    store.add_teacher(dummy())
    store.write_shard("dummy", 0, units.astype(np.float16), corpus.text_digest(0))
    np.testing.assert_allclose(store.read_teacher("dummy", np.arange(64)), units, atol=2e-3)


@pytest.mark.parametrize(
    ("value", "found"),
    [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity"), (0.0, "norm 0"), (2.0, "norm 8")],
)
def test_unsound_vectors_are_refused_by_row(
    tmp_path: Path, corpus: Corpus, units: np.ndarray, value: float, found: str
) -> None:
    store = TeacherStore.create(tmp_path / "store", corpus)
    store.add_teacher(dummy())
    units[[5, 9]] = value
    with pytest.raises(PipeError, match=rf"found {found} in the vector of row 69 .*2 such rows"):
        store.write_shard("dummy", 1, units, corpus.text_digest(1))
    assert store.missing("dummy") == [0, 1, 2]
    assert not list((store.directory / "scratch").glob("*"))


@pytest.mark.parametrize("shape", [(63, 16), (64, 15), (64,)])
def test_another_shape_is_refused(tmp_path: Path, corpus: Corpus, shape: tuple[int, ...]) -> None:
    store = TeacherStore.create(tmp_path / "store", corpus)
    store.add_teacher(dummy())
    with pytest.raises(PipeError, match=r"expected \(64, 16\)"):
        store.write_shard("dummy", 0, np.ones(shape, np.float32), corpus.text_digest(0))


def test_another_corpus_is_refused(store: TeacherStore, tmp_path: Path) -> None:
    others = (make_corpus(tmp_path / "a", 170, seed=1), make_corpus(tmp_path / "b", 171))
    for other in others:
        for start in (TeacherStore.open, TeacherStore.create):
            with pytest.raises(PipeError, match=r"another corpus \(fingerprint changed from"):
                start(store.directory, other)


def test_creating_twice_keeps_everything(store: TeacherStore, corpus: Corpus) -> None:
    again = TeacherStore.create(store.directory, corpus)
    assert list(again.teachers) == ["narrow", "wide"]
    assert again.missing("narrow") == []


def test_adding_a_teacher_again_changes_nothing(store: TeacherStore) -> None:
    manifest = (store.directory / "manifest.json").read_bytes()
    store.add_teacher(dummy("narrow", 16, weight=3.0, license="other"))
    assert (store.directory / "manifest.json").read_bytes() == manifest


def test_a_changed_prompt_is_refused_and_explained(store: TeacherStore) -> None:
    changed = dummy("narrow", 16, prompts={"question": "query: "})
    with pytest.raises(PipeError) as caught:
        store.add_teacher(changed)
    message = str(caught.value)
    assert 'prompts.question changed from "" to "query: "' in message
    assert "give the new teacher another name, or remove" in message


def test_the_remedy_for_a_changed_teacher_works(store: TeacherStore, corpus: Corpus) -> None:
    """Both ways that the message names: another name, and removing what it says."""
    wide = store.read_teacher("wide", np.arange(170)).copy()
    changed = dummy("narrow", 16, prompts={"question": "query: "})
    store.add_teacher(changed.model_copy(update={"name": "renamed"}))
    for directory in ("vectors.zarr/narrow", "commits/narrow"):
        for path in sorted((store.directory / directory).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (store.directory / directory).rmdir()
    reopened = TeacherStore.open(store.directory, corpus)
    assert list(reopened.teachers) == ["renamed", "wide"]
    reopened.add_teacher(changed)
    assert reopened.missing("narrow") == [0, 1, 2]
    np.testing.assert_array_equal(reopened.read_teacher("wide", np.arange(170)), wide)


def test_leftover_vectors_of_other_settings_are_never_taken_over(
    store: TeacherStore, corpus: Corpus
) -> None:
    """The array says which settings its files came from, even when manifest and commits do not."""
    path = store.directory / "manifest.json"
    teachers = json.loads(path.read_text())["teachers"]
    del teachers["narrow"]
    rewrite(path, teachers=teachers)
    reopened = TeacherStore.open(store.directory, corpus)
    with pytest.raises(PipeError, match="teacher_fingerprint"):
        reopened.add_teacher(dummy("narrow", 16, prompts={"question": "query: "}))


def test_a_commit_of_another_teacher_or_shard_is_refused(
    store: TeacherStore, corpus: Corpus
) -> None:
    commits = store.directory / "commits" / "narrow"
    sound = (commits / "00001.json").read_text()
    for key, value in [
        ("teacher", "wide"),
        ("teacher_fingerprint", "0" * 64),
        ("shard", 0),
        ("first_row", 0),
        ("num_rows", 63),
        ("text_digest", "0" * 64),
    ]:
        rewrite(commits / "00001.json", **{key: value})
        with pytest.raises(PipeError, match=r"something else|vectors of narrow for shard 1"):
            TeacherStore.open(store.directory, corpus)
        (commits / "00001.json").write_text(sound)
    TeacherStore.open(store.directory, corpus)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(path.read_text()[:50]),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text(path.read_text().replace('"shard": 1', '"shard": "1"')),
        lambda path: path.write_text(
            path.read_text().replace('"shard"', '"path": "/etc", "shard"')
        ),
        lambda path: path.write_bytes(b"\xff\xfe"),
    ],
)
def test_a_damaged_commit_is_a_sentence(store: TeacherStore, damage: object) -> None:
    path = store.directory / "commits" / "narrow" / "00001.json"
    damage(path)  # type: ignore[operator]
    with pytest.raises(PipeError, match=r"00001.json .*expected a whole Commit"):
        TeacherStore.open(store.directory)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": "170"},
        {"rows_per_shard": 65},
        {"format_version": 1},
        {"surprise": 1},
        {"teachers": {"../../out": {}}},
    ],
)
def test_a_damaged_manifest_is_a_sentence(store: TeacherStore, change: dict[str, object]) -> None:
    path = store.directory / "manifest.json"
    rewrite(path, **change)
    with pytest.raises(PipeError, match="expected a whole StoreManifest"):
        TeacherStore.open(store.directory)


@pytest.mark.parametrize("name", ["../out", "/out", "a/b", ".hidden", "Upper", "", "new\n"])
def test_names_cannot_lead_out_of_the_store(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        TeacherConfig(name=name, kind="dummy", model="m", dim=8, max_tokens=8)


def test_metadata_of_another_shape_is_refused(store: TeacherStore) -> None:
    path = store.directory / "vectors.zarr" / "wide" / "zarr.json"
    sound = path.read_text()
    path.write_text(json.dumps({**json.loads(sound), "shape": [10**15, 24]}))
    with pytest.raises(PipeError, match="has changed since the array of wide was made"):
        TeacherStore.open(store.directory)
    rewrite(store.directory / "manifest.json", metadata={"wide": metadata_digest(path.parent)})
    with pytest.raises(PipeError, match=r"found shape \(1000000000000000, 24\)"):
        TeacherStore.open(store.directory)
    path.write_text(sound[:-20])
    rewrite(store.directory / "manifest.json", metadata={"wide": metadata_digest(path.parent)})
    with pytest.raises(PipeError, match="cannot be opened"):
        TeacherStore.open(store.directory)


def test_a_missing_store_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match="found no store"):
        TeacherStore.open(tmp_path)


def test_the_weights_place_is_no_part_of_the_fingerprint_when_its_digest_is() -> None:
    here = dummy(sha256="a" * 64, model="/cluster-a/model")
    there = dummy(sha256="a" * 64, model="/cluster-b/model", revision="main")
    assert here.identity() == there.identity()
    assert dummy(model="one").identity() != dummy(model="two").identity()


def test_reading_a_store_imports_no_teacher() -> None:
    code = (
        "import sys, teacher_cache.store, teacher_cache.batching; "
        "print([m for m in sys.modules if m in ('torch', 'transformers', 'wordllama') "
        "or m.startswith('teacher_cache.encoders')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_fixture_teacher_is_an_ordinary_one(store: TeacherStore, corpus: Corpus) -> None:
    """The stored vectors are the encoder's, row for row, role for role."""
    texts, roles = corpus.texts(2)
    vectors = DummyEncoder(dummy("wide", 24)).encode(texts, roles)
    np.testing.assert_array_equal(
        store.read_teacher("wide", np.arange(128, 170)), vectors.astype(np.float16)
    )


@pytest.mark.parametrize("rows", [np.array([True, False, True]), np.array([0.0, 1.7])])
def test_rows_that_are_no_numbers_are_refused(store: TeacherStore, rows: np.ndarray) -> None:
    with pytest.raises(PipeError, match="expected whole numbers"):
        store.read(rows)
    assert store.read(np.array([])).shape == (0, 40)


def test_a_bare_directory_of_a_killed_worker_is_no_obstacle(tmp_path: Path, corpus: Corpus) -> None:
    store = TeacherStore.create(tmp_path / "store", corpus)
    (store.directory / "vectors.zarr" / "dummy").mkdir()
    store.add_teacher(dummy())
    assert store.missing("dummy") == [0, 1, 2]
