"""Reading a corpus: rows and shards agree, and damage is told in a sentence."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.manifest import CorpusManifest
from data_prep.prepare import prepare
from data_prep.shards import ROW_GROUP_ROWS, file_digest, text_digest
from tests.data_prep.helpers import corpus_config, silent, two_sources


def make(directory: Path, **changes: Any) -> CorpusManifest:
    settings = {"rows_per_shard": 320, "cut_fraction": 0.3, "held_out_fraction": 0.1} | changes
    return prepare(
        corpus_config(two_sources(directory / "data"), **settings), directory / "c", silent
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    make(tmp_path)
    return Corpus.open(tmp_path / "c")


def all_texts(corpus: Corpus) -> tuple[list[str], list[str]]:
    shards = [corpus.texts(shard) for shard in range(corpus.num_shards)]
    return [t for texts, _ in shards for t in texts], [r for _, roles in shards for r in roles]


def test_shards_cover_the_rows_once(corpus: Corpus) -> None:
    ranges = [corpus.shard_range(shard) for shard in range(corpus.num_shards)]
    assert [row for rows in ranges for row in rows] == list(range(corpus.rows))
    assert corpus.num_shards > 2
    for shard, rows in enumerate(ranges):
        assert corpus.read_shard(shard).num_rows == len(rows)
        corpus.check_shard(shard)
    with pytest.raises(IndexError):
        corpus.shard_range(corpus.num_shards)


@pytest.mark.parametrize("cached_groups", [0, 1, 256])
def test_take_agrees_with_the_shards(corpus: Corpus, cached_groups: int) -> None:
    corpus = Corpus.open(corpus.directory, cached_groups)
    texts, roles = all_texts(corpus)
    rows = np.random.default_rng(0).integers(0, corpus.rows, 500)
    for _ in range(2):
        assert corpus.take(rows) == ([texts[row] for row in rows], [roles[row] for row in rows])
    assert corpus.take(np.arange(corpus.rows)) == (texts, roles)
    assert corpus.take([]) == ([], [])
    for outside in (-1, corpus.rows):
        with pytest.raises(IndexError):
            corpus.take([0, outside])


def test_take_decodes_each_group_once(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[int, int]] = []
    original = corpus._read_group

    def counted(_: Corpus, shard: int, group: int) -> tuple[list[str], list[str]]:
        reads.append((shard, group))
        return original(shard, group)

    monkeypatch.setattr(Corpus, "_read_group", counted)
    fresh = Corpus.open(corpus.directory, cached_groups=1)
    rows = np.random.default_rng(0).permutation(corpus.rows)
    fresh.take(rows)
    assert len(reads) == len(set(reads))


def test_row_groups_are_small(corpus: Corpus) -> None:
    metadata = pq.ParquetFile(corpus.shard_path(0)).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [256, 64]
    assert ROW_GROUP_ROWS == 256


def test_a_worker_gets_the_same_corpus(corpus: Corpus) -> None:
    # What a data loader does to send its data set to a worker process.
    assert pickle.loads(pickle.dumps(corpus)).take([3, 1]) == corpus.take([3, 1])


def test_the_fingerprint_is_of_what_decides_vectors(tmp_path: Path) -> None:
    base = make(tmp_path / "a")
    assert make(tmp_path / "elsewhere").fingerprint == base.fingerprint
    assert make(tmp_path / "b", held_out_fraction=0.0).rows == base.rows
    for change in ({"rows_per_shard": 640}, {"seed": 1}, {"texts": 100}):
        assert make(tmp_path / str(change), **change).fingerprint != base.fingerprint


def test_the_digest_knows_texts_roles_and_their_limits() -> None:
    lists = [
        (["ab", "c"], ["passage", "passage"]),
        (["a", "bc"], ["passage", "passage"]),
        (["c", "ab"], ["passage", "passage"]),
        (["ab", "c"], ["passage", "question"]),
        (["ab", "c", ""], ["passage", "passage", "passage"]),
        (["ab9\npassage 1\nc"], ["passage"]),
    ]
    assert len({text_digest(*one) for one in lists}) == len(lists)


def test_changed_texts_are_noticed(corpus: Corpus) -> None:
    table = corpus.read_shard(1)
    texts = table["text"].to_pylist()
    texts[5] += "!"
    pq.write_table(table.set_column(0, "text", [texts]), corpus.shard_path(1))
    corpus.check_shard(0)
    with pytest.raises(PipeError, match=r"spans-00001\.parquet does not hold the texts"):
        corpus.check_shard(1)


def swap(corpus: Corpus, one: int, two: int) -> None:
    paths = corpus.shard_path(one), corpus.shard_path(two)
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)


def test_take_gives_no_texts_of_another_shard(corpus: Corpus) -> None:
    sound = Corpus.open(corpus.directory)
    before = sound.take([0])
    swap(corpus, 0, 1)
    for opened in (corpus, pickle.loads(pickle.dumps(sound))):
        for shard in (0, 1):
            with pytest.raises(PipeError, match=f"spans-0000{shard}.parquet does not hold"):
                opened.take([corpus.shard_range(shard)[3]])
    swap(corpus, 0, 1)
    assert corpus.take([0]) == before


def test_take_checks_a_shard_once(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    original = Corpus.check_shard

    def counted(self: Corpus, shard: int) -> None:
        checked.append(shard)
        original(self, shard)

    monkeypatch.setattr(Corpus, "check_shard", counted)
    rows = np.random.default_rng(0).permutation(corpus.rows)
    fresh = Corpus.open(corpus.directory, cached_groups=0)
    for part in np.array_split(rows, 5):
        fresh.take(part)
    assert sorted(checked) == list(range(corpus.num_shards))


def test_the_digest_of_a_file_does_not_depend_on_its_row_groups(corpus: Corpus) -> None:
    expected = corpus.shard_range(0), corpus.text_digest(0)
    for size in (7, 256, 10_000):
        pq.write_table(corpus.read_shard(0), corpus.shard_path(0), row_group_size=size)
        assert file_digest(corpus.shard_path(0)) == (len(expected[0]), expected[1])


def test_damaged_shards(corpus: Corpus) -> None:
    pq.write_table(corpus.read_shard(0).slice(0, 100), corpus.shard_path(0))
    corpus.shard_path(1).write_bytes(corpus.shard_path(1).read_bytes()[:-30])
    corpus.shard_path(2).unlink()
    for shard, message in enumerate(("holds 100 rows", "is damaged", "is missing")):
        row = corpus.shard_range(shard)[0]
        with pytest.raises(PipeError, match=f"spans-0000{shard}.parquet {message}"):
            corpus.texts(shard)
        with pytest.raises(PipeError, match=f"spans-0000{shard}.parquet {message}"):
            corpus.take([row])
    with pytest.raises(PipeError):
        corpus.take([corpus.shard_range(0)[-1]])


def test_a_file_that_is_no_shard(corpus: Corpus) -> None:
    pq.write_table(corpus.read_shard(0).drop_columns(["role"]), corpus.shard_path(0))
    with pytest.raises(PipeError, match="lacks the columns role"):
        corpus.texts(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": "many"}, "damaged .rows"),
        ({"rows": 1}, "damaged"),
        ({"text_digests": []}, "damaged"),
        ({"fingerprint": "0"}, "fingerprint does not belong"),
        ({"surprise": 1}, "damaged .surprise"),
        ({"format_version": 99}, "format version 99 and this program reads 1"),
        ({"rows_per_shard": 65}, "damaged .rows_per_shard"),
    ],
)
def test_damaged_manifests(corpus: Corpus, change: dict[str, object], message: str) -> None:
    path = corpus.directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(PipeError, match=message):
        Corpus.open(corpus.directory)


@pytest.mark.parametrize("content", ["[]", "{}", "", "{"])
def test_manifests_that_are_none(corpus: Corpus, content: str) -> None:
    (corpus.directory / "manifest.json").write_text(content)
    with pytest.raises(PipeError, match=r"manifest\.json is"):
        Corpus.open(corpus.directory)


def test_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match="no finished corpus"):
        Corpus.open(tmp_path)
