"""What is left out of a corpus is counted and listed, and changes nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.config import CorpusConfig, SourceConfig
from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.prepare import prepare
from tests.data_prep.helpers import articles, corpus_config, file_bytes, silent, write_jsonl

RUN = "one two three four five six seven eight nine ten eleven twelve thirteen"


def source(path: Path, **settings: Any) -> SourceConfig:
    return SourceConfig(name="web", path=str(path), id_field="id", **settings)


def texts(directory: Path) -> set[str]:
    corpus = Corpus.open(directory)
    return {text for shard in range(corpus.num_shards) for text in corpus.texts(shard)[0]}


def listed(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def dirty(tmp_path: Path) -> CorpusConfig:
    """Thirty good articles, and one of each kind that is left out or mended."""
    records = [
        *articles(30),
        {"id": "short", "text": " x "},
        {"id": "empty", "text": "\x07"},
        {"id": "composed", "text": "A caf\u00e9."},
        {"id": "decomposed", "text": "A cafe\u0301.\r\n"},
        {"id": "sts", "text": f"They say: {RUN.upper()}!"},
        {"id": "long", "text": "A long sentence. " * 100},
    ]
    (tmp_path / "sets" / "sts").mkdir(parents=True)
    write_jsonl(tmp_path / "sets" / "sts" / "a.jsonl", [{"sentence1": f"{RUN} fourteen"}])
    path = write_jsonl(tmp_path / "x.jsonl", records)
    settings = {"decontaminate": (str(tmp_path / "sets"),), "max_characters": 900}
    return corpus_config([source(path)], **settings)


def test_counted_and_listed(dirty: CorpusConfig, tmp_path: Path) -> None:
    manifest = prepare(dirty, tmp_path / "out", silent)
    assert manifest.dropped == {"contaminated": 1, "duplicate": 1, "empty": 1, "short": 1}
    assert (manifest.counts["shortened"], manifest.counts["normalised"]) == (1, 1)
    assert manifest.sources[0].documents == 36
    assert manifest.rows == 32
    found = texts(tmp_path / "out")
    assert "A caf\u00e9." in found
    assert ("A long sentence. " * 52).strip() in found
    assert listed(tmp_path / "out" / "decontaminated.jsonl") == [
        {"source": "web", "doc_id": "sts", "ngram": RUN, "evaluation_set": "sts/a.jsonl"}
    ]
    assert not (tmp_path / "out" / "unreadable.jsonl").exists()


def test_shuffled_words_hide_nothing(dirty: CorpusConfig, tmp_path: Path) -> None:
    shuffled = dirty.model_copy(update={"word_shuffle_fraction": 1.0})
    manifest = prepare(shuffled, tmp_path / "out", silent)
    assert manifest.counts["words_shuffled"] == manifest.rows == 32
    assert manifest.dropped["contaminated"] == 1


def test_without_evaluation_sets_nothing_is_contaminated(
    dirty: CorpusConfig, tmp_path: Path
) -> None:
    open_config = dirty.model_copy(update={"decontaminate": ()})
    manifest = prepare(open_config, tmp_path / "out", silent)
    assert "contaminated" not in manifest.dropped
    assert manifest.rows == 33
    assert not (tmp_path / "out" / "decontaminated.jsonl").exists()


def test_skipped_records_and_files(dirty: CorpusConfig, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").rename(tmp_path / "a.jsonl")
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"id": "broken"\n')
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    stopping = dirty.model_copy(update={"sources": (source(tmp_path / "*.jsonl*"),)})
    skipping = dirty.model_copy(
        update={"sources": (source(tmp_path / "*.jsonl*", on_error="skip"),)}
    )
    with pytest.raises(PipeError, match=r"a\.jsonl, line 37: not JSON"):
        prepare(stopping, tmp_path / "out", silent)
    manifest = prepare(skipping, tmp_path / "out", silent)
    assert manifest.dropped["unreadable"] == 2
    assert manifest.rows == 32
    problems = [each["problem"] for each in listed(tmp_path / "out" / "unreadable.jsonl")]
    assert ["line 37" in problems[0], "b.jsonl.gz" in problems[1]] == [True, True]
    before = file_bytes(tmp_path / "out")
    assert prepare(stopping, tmp_path / "out", silent) == manifest
    assert file_bytes(tmp_path / "out") == before
    prepare(skipping, tmp_path / "again", silent)
    assert file_bytes(tmp_path / "again") == before


def test_what_was_skipped_is_read_again_where_it_is_to_stop(
    dirty: CorpusConfig, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "broken"\n{"id": 1, "text": "Good enough."}\n')
    path = tmp_path / "x.jsonl"
    skipping = dirty.model_copy(
        update={"sources": (source(path, on_error="skip"),), "texts": 10**6}
    )
    with pytest.raises(PipeError, match="set texts to 1 or less"):
        prepare(skipping, tmp_path / "out", silent)
    with pytest.raises(PipeError, match="line 1: not JSON"):
        prepare(dirty.model_copy(update={"texts": 1}), tmp_path / "out", silent)


def test_sentences_are_those_of_the_language_of_the_source(tmp_path: Path) -> None:
    # Only English has "z." end a sentence.
    text = "Er kam z. B. am 3. Mai an. Dann ging er."
    path = write_jsonl(tmp_path / "x.jsonl", [{"id": 1, "text": text}])
    counts = {}
    for language in ("de", "en"):
        config = corpus_config([source(path, language=language)], cut_fraction=1.0, max_sentences=1)
        counts[language] = prepare(config, tmp_path / language, silent).rows
    assert counts["de"] == 2
    assert counts["en"] > 2
