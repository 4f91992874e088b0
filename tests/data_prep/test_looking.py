"""Looking into a corpus: the rows asked for, and numbers that add up."""

import json
from pathlib import Path

import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError, UsageError
from data_prep.looking import look, parse_rows, random_rows, rows_of
from data_prep.overview import BYTES_PER_TOKEN, OVERVIEW, overview
from data_prep.prepare import prepare
from tests.data_prep.helpers import corpus_config, silent, two_sources


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    directory = tmp_path_factory.mktemp("corpus")
    config = corpus_config(
        two_sources(directory / "data"),
        cut_fraction=0.3,
        held_out_fraction=0.1,
        word_shuffle_fraction=0.1,
        rows_per_shard=320,
    )
    prepare(config, directory / "out", silent)
    return Corpus.open(directory / "out")


def test_rows_are_the_corpus(corpus: Corpus) -> None:
    rows = list(look(corpus, range(corpus.rows)))
    assert [row.text for row in rows] == corpus.take(range(corpus.rows))[0]
    assert [row.row for row in rows] == list(range(corpus.rows))
    assert sum(row.held_out for row in rows) == corpus.held_out_rows
    assert sum(row.words_shuffled for row in rows) == corpus.manifest.counts["words_shuffled"]
    backwards = list(look(corpus, reversed(range(corpus.rows))))
    assert backwards == rows[::-1]


def test_rows_of_a_source(corpus: Corpus) -> None:
    for source in corpus.manifest.sources:
        numbers = [int(row) for rows in rows_of(corpus, source.name) for row in rows]
        assert len(numbers) == source.spans
        assert numbers == sorted(numbers)
        assert {row.source for row in look(corpus, numbers)} == {source.name}
    with pytest.raises(UsageError, match=r"found source 'web', expected one of articles, quest"):
        next(rows_of(corpus, "web"))


@pytest.mark.parametrize("source", [None, "questions"])
def test_drawn_rows(corpus: Corpus, source: str | None) -> None:
    drawn = random_rows(corpus, 20, 5, source)
    assert drawn == random_rows(corpus, 20, 5, source)
    assert drawn != random_rows(corpus, 20, 6, source)
    assert len(set(drawn)) == 20
    assert drawn == sorted(drawn)
    every = random_rows(corpus, 10**6, 5, source)
    expected = corpus.rows if source is None else corpus.manifest.sources[1].spans
    assert len(every) == expected
    if source is not None:
        assert {row.source for row in look(corpus, drawn)} == {source}


def test_numbers_of_rows() -> None:
    assert parse_rows("3, 0-1,7-7", 8) == [range(3, 4), range(2), range(7, 8)]
    for text in ("", "a", "-1", "3-1", "1-", "1.5", "1,,2"):
        with pytest.raises(UsageError, match="expected numbers and ranges such as"):
            parse_rows(text, 8)
    with pytest.raises(UsageError, match="found row 8, and the corpus has rows 0 to 7"):
        parse_rows("0-8", 8)


def test_the_overview_adds_up(corpus: Corpus) -> None:
    parts = overview(corpus).parts
    rows = list(look(corpus, range(corpus.rows)))
    assert [part.source for part in parts] == ["articles", "questions"]
    for part in parts:
        mine = [row for row in rows if row.source == part.source and row.role == part.role]
        assert part.texts == len(mine)
        assert part.sentences == sum(row.num_sentences for row in mine)
        assert part.characters == sum(len(row.text) for row in mine)
        tokens = [len(row.text.encode()) / BYTES_PER_TOKEN for row in mine]
        assert part.tokens == pytest.approx(sum(tokens), rel=0.1)
        assert part.long_texts == sum(count > 512 for count in tokens)


def test_the_overview_is_kept_for_the_texts_it_was_made_of(corpus: Corpus) -> None:
    made = overview(corpus)
    path = corpus.directory / OVERVIEW
    content = json.loads(path.read_text())
    content["parts"][0]["texts"] = 7
    path.write_text(json.dumps(content))
    assert overview(corpus).parts[0].texts == 7
    path.write_text(json.dumps(content | {"fingerprint": "another"}))
    assert overview(corpus) == made
    path.write_text("{")
    assert overview(corpus) == made
    assert overview(corpus) == made


def test_a_missing_shard_is_a_sentence(corpus: Corpus, tmp_path: Path) -> None:
    lost = Corpus(tmp_path, corpus.manifest)
    with pytest.raises(PipeError, match="is missing; run `pipe prep` again"):
        list(look(lost, [0]))
    with pytest.raises(PipeError, match="is missing"):
        overview(lost)
