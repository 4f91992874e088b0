"""A corpus follows from its configuration and documents: same bytes, exact mixture, no leaks."""

import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from data_prep.config import CorpusConfig, SourceConfig
from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.prepare import prepare
from tests.data_prep.helpers import (
    articles,
    corpus_config,
    file_bytes,
    silent,
    two_sources,
    write_jsonl,
)

CUT = {"cut_fraction": 0.3, "word_shuffle_fraction": 0.05, "held_out_fraction": 0.1}


@pytest.fixture
def config(tmp_path: Path) -> CorpusConfig:
    return corpus_config(two_sources(tmp_path / "data"), **CUT)


def columns(directory: Path) -> list[dict[str, object]]:
    corpus = Corpus.open(directory)
    return [
        row for shard in range(corpus.num_shards) for row in corpus.read_shard(shard).to_pylist()
    ]


def test_two_runs_give_the_same_bytes(config: CorpusConfig, tmp_path: Path) -> None:
    first = prepare(config, tmp_path / "a", silent)
    second = prepare(config, tmp_path / "b", silent)
    assert first == second
    assert file_bytes(tmp_path / "a") == file_bytes(tmp_path / "b")


def test_rows_do_not_depend_on_the_order_of_the_documents(tmp_path: Path) -> None:
    records = [
        *articles(200),
        {"id": "twin-1", "text": "Twins."},
        {"id": "twin-2", "text": "Twins."},
    ]
    manifests = []
    for name, order in (("forwards", records), ("backwards", records[::-1])):
        (tmp_path / name).mkdir()
        path = write_jsonl(tmp_path / name / "x.jsonl", order)
        source = SourceConfig(name="articles", path=str(path), id_field="id")
        manifests.append(prepare(corpus_config([source], **CUT), tmp_path / f"{name}-out", silent))
    assert manifests[0].fingerprint == manifests[1].fingerprint
    assert columns(tmp_path / "forwards-out") == columns(tmp_path / "backwards-out")


def test_the_manifest_counts_what_is_there(config: CorpusConfig, tmp_path: Path) -> None:
    manifest = prepare(config, tmp_path / "out", silent)
    rows = columns(tmp_path / "out")
    taken = Counter(row["source"] for row in rows)
    assert len(rows) == manifest.rows
    assert {source.name: source.spans for source in manifest.sources} == taken
    assert abs(taken["articles"] - 4 * taken["questions"]) <= 4
    assert [source.documents for source in manifest.sources] == [600, 300]
    assert manifest.sources[0].available - taken["articles"] < 4  # the scarcer of the two
    assert manifest.sources[1].license == "CC0"
    assert manifest.counts["words_shuffled"] == sum(bool(row["words_shuffled"]) for row in rows) > 0
    assert manifest.counts["questions"] == sum(row["role"] == "question" for row in rows)
    assert len({row["text"] for row in rows}) == len(rows)
    assert CorpusConfig.model_validate(manifest.config) == config


def test_held_out_documents_come_first_and_are_nowhere_else(
    config: CorpusConfig, tmp_path: Path
) -> None:
    manifest = prepare(config, tmp_path / "out", silent)
    names = [(row["source"], row["doc_id"]) for row in columns(tmp_path / "out")]
    held_out = manifest.held_out_rows
    assert manifest.rows * 0.1 <= held_out < manifest.rows * 0.1 + 12
    assert not set(names[:held_out]) & set(names[held_out:])


def test_nothing_held_out(config: CorpusConfig, tmp_path: Path) -> None:
    changed = config.model_copy(update={"held_out_fraction": 0.0})
    assert prepare(changed, tmp_path / "out", silent).held_out_rows == 0


def test_rows_are_shuffled_across_sources_and_documents(
    config: CorpusConfig, tmp_path: Path
) -> None:
    manifest = prepare(config, tmp_path / "out", silent)
    rows = columns(tmp_path / "out")[manifest.held_out_rows :]
    half = len(rows) // 2
    asked = [sum(row["role"] == "question" for row in part) for part in (rows[:half], rows[half:])]
    assert abs(asked[0] - asked[1]) < 5 * (half * 0.2 * 0.8 * 2) ** 0.5
    neighbours = sum(a["doc_id"] == b["doc_id"] for a, b in pairwise(rows))
    assert neighbours < 10


def test_a_smaller_corpus_is_part_of_a_larger_one(config: CorpusConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "all", silent)
    prepare(config.model_copy(update={"texts": 200}), tmp_path / "some", silent)
    some = {str(row["text"]) for row in columns(tmp_path / "some")}
    assert len(some) == 200
    assert some < {str(row["text"]) for row in columns(tmp_path / "all")}


def test_which_spans_are_taken_is_independent_of_their_order(tmp_path: Path) -> None:
    # Were it not, the rows taken would be the first ones, and the order of rows no longer random.
    path = write_jsonl(tmp_path / "x.jsonl", articles(1000))
    source = SourceConfig(name="articles", path=str(path), id_field="id")
    prepare(corpus_config([source]), tmp_path / "all", silent)
    prepare(corpus_config([source], texts=500), tmp_path / "some", silent)
    place = {row["text"]: number for number, row in enumerate(columns(tmp_path / "all"))}
    places = [place[row["text"]] for row in columns(tmp_path / "some")]
    assert places == sorted(places)
    assert abs(sum(number < 500 for number in places) - 250) < 60


def test_empty_and_duplicate_texts_are_dropped_and_counted(tmp_path: Path) -> None:
    texts = ["One.", " One. \n", "Two.", "", "  ", "Three."]
    first = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    second = write_jsonl(tmp_path / "b.jsonl", [{"text": "Two."}, {"text": "Four."}])
    sources = [SourceConfig(name=path.stem, path=str(path)) for path in (first, second)]
    manifest = prepare(corpus_config(sources, texts=2), tmp_path / "out", silent)
    assert manifest.dropped == {"empty": 2, "duplicate": 2}
    assert [(s.documents, s.available, s.spans) for s in manifest.sources] == [(6, 3, 1), (2, 1, 1)]


def test_a_finished_corpus_stands(config: CorpusConfig, tmp_path: Path) -> None:
    manifest = prepare(config, tmp_path / "out", silent)
    before = file_bytes(tmp_path / "out")
    shutil.rmtree(tmp_path / "data")
    lines: list[str] = []
    assert prepare(config, tmp_path / "out", lines.append) == manifest
    assert len(lines) == 1
    assert "stands" in lines[0]
    assert file_bytes(tmp_path / "out") == before


def test_another_configuration_is_refused(config: CorpusConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "out", silent)
    before = file_bytes(tmp_path / "out")
    changed = config.model_copy(update={"seed": 5})
    with pytest.raises(
        PipeError, match=r"seed changed from 0 to 5\. Set them back, use another --run"
    ):
        prepare(changed, tmp_path / "out", silent)
    assert file_bytes(tmp_path / "out") == before


def test_a_lost_shard_is_made_again(config: CorpusConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "out", silent)
    before = file_bytes(tmp_path / "out")
    (tmp_path / "out" / "spans-00001.parquet").unlink()
    prepare(config, tmp_path / "out", silent)
    assert file_bytes(tmp_path / "out") == before


def test_a_lost_shard_of_changed_sources_is_not(config: CorpusConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "out", silent)
    (tmp_path / "out" / "spans-00001.parquet").unlink()
    before = file_bytes(tmp_path / "out")
    two_sources(tmp_path / "data", passages=590)
    with pytest.raises(PipeError, match=r"sources of .* have changed"):
        prepare(config, tmp_path / "out", silent)
    assert file_bytes(tmp_path / "out") == before


def test_what_an_interrupted_run_of_another_size_left_is_removed(
    config: CorpusConfig, tmp_path: Path
) -> None:
    prepare(config, tmp_path / "clean", silent)
    out = tmp_path / "out"
    out.mkdir()
    for name in ("spans-09999.parquet", "spans-00000.parquet", ".spans-00001.parquet.ab.tmp"):
        (out / name).write_bytes(b"half a shard")
    (out / "notes.txt").write_text("mine")
    prepare(config, out, silent)
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    assert file_bytes(out) == file_bytes(tmp_path / "clean")


def test_another_process_at_work(config: CorpusConfig, tmp_path: Path) -> None:
    refused: list[bool] = []

    def meddle(_line: str) -> None:
        if not refused:
            with pytest.raises(PipeError, match="another process is preparing"):
                prepare(config, tmp_path / "out", silent)
            refused.append(True)

    prepare(config, tmp_path / "out", meddle)
    assert refused


def test_a_single_document_cannot_be_held_out(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", articles(1))
    config = corpus_config([SourceConfig(name="a", path=str(path))], held_out_fraction=0.1)
    with pytest.raises(PipeError, match="none is left to train on"):
        prepare(config, tmp_path / "out", silent)


def test_a_directory_that_cannot_be_made(config: CorpusConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PipeError, match="cannot be used"):
        prepare(config, tmp_path / "file" / "corpus", silent)


def test_texts_that_utf8_cannot_hold_reach_the_disk_cleaned(tmp_path: Path) -> None:
    texts = ["lone \ud800 surrogate", "a \x00 NUL", "fine"]
    path = write_jsonl(tmp_path / "x.jsonl", [{"text": text} for text in texts])
    prepare(corpus_config([SourceConfig(name="a", path=str(path))]), tmp_path / "out", silent)
    found = {str(row["text"]) for row in columns(tmp_path / "out")}
    assert found == {"lone \ufffd surrogate", "a \ufffd NUL", "fine"}
