"""Cleaning: one way to write a text, bounds, and nothing else lost."""

import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.cleaning import CONTAMINATED, EMPTY, REASONS, SHORT, Cleaner, normalise, shorten
from data_prep.config import CorpusConfig, SourceConfig
from data_prep.records import Document, Span
from tests.data_prep.helpers import corpus_config, write_jsonl

TROUBLE = st.text(
    alphabet="ab e\u0301\u00e9\r\n\t\x00\x07\x0b\x1c\x7f\x85\u2028\ufeff中.!", max_size=60
)


def config(**changes: object) -> CorpusConfig:
    source = SourceConfig(name="web", path="x.jsonl", language="de")
    return corpus_config([source], **changes)


def document(text: str) -> Document:
    return Document("web", "a", text, "passage")


def span(text: str) -> Span:
    return Span(text, "a", "web", "passage", 0, 1, False)


@given(st.one_of(st.text(max_size=60), TROUBLE))
def test_a_normal_text_is_normal(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    controls = {each for each in once if unicodedata.category(each) == "Cc"}
    assert controls <= {"\n", "\t"}


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), max_size=40))
def test_nothing_but_control_characters_is_lost(text: str) -> None:
    kept = unicodedata.normalize("NFC", text.translate({0xFEFF: None, 0x2028: "\n", 0x2029: "\n"}))
    assert normalise(text) == kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\x00b\x07c\x1b[0m", "abc[0m"),
        ("\ufeffa\tb\xa0c", "a\tb\xa0c"),
        ("e\x07\u0301", "\u00e9"),
    ],
)
def test_one_way_to_write_a_text(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text(alphabet="ab .!?\n中", max_size=80), st.integers(1, 90))
def test_a_shortened_text_is_the_beginning_of_it(text: str, most: int) -> None:
    short = shorten(text, most)
    assert len(short) <= most
    assert text.startswith(short)
    assert (short == text) or len(text) > most
    assert bool(short.strip()) or not text[:most].strip()


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (100, "One stone. Two stones. Three."),
        (25, "One stone. Two stones."),
        (15, "One stone."),
        (9, "One"),
        (3, "One"),
        (2, "On"),
    ],
)
def test_a_long_text_ends_with_a_sentence(most: int, expected: str) -> None:
    assert shorten("One stone. Two stones. Three.", most) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [("", EMPTY), (" \n\x07", EMPTY), ("\u2028", EMPTY), ("a", SHORT), (" e\u0301 ", SHORT)],
)
def test_documents_that_are_left_out(text: str, found: str) -> None:
    assert Cleaner(config()).clean(document(text)) == found
    assert found in REASONS


def test_documents_that_are_mended() -> None:
    cleaner = Cleaner(config(max_characters=12))
    assert cleaner.clean(document("good")) == document("good")
    mended = cleaner.clean(document("cafe\u0301\r\n"))
    assert mended == Document("web", "a", "caf\u00e9\n", "passage", normalised=True)
    short = cleaner.clean(document("Ein Satz. Noch ein Satz."))
    assert short == Document("web", "a", "Ein Satz.", "passage", shortened=True)


def test_spans_that_are_left_out(tmp_path) -> None:
    run = "one two three four five six seven eight nine ten eleven twelve thirteen"
    write_jsonl(tmp_path / "sts.jsonl", [{"sentence1": f"It says: {run}.", "score": 1}])
    cleaner = Cleaner(config(decontaminate=(str(tmp_path),), min_characters=3))
    assert cleaner.keeps("ab") == SHORT
    assert cleaner.keeps("abc") is None
    taken = f"He said ONE, {run[4:]} and so on."
    assert cleaner.keeps(taken) == CONTAMINATED
    overlap = cleaner.overlap(taken)
    assert overlap is not None
    assert (overlap.ngram, overlap.evaluation_set) == (run, "sts.jsonl")
    copy = pickle.loads(pickle.dumps(cleaner))
    assert copy.overlap(taken) == overlap
    assert Cleaner(config()).keeps(taken) is None
