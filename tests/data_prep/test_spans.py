"""Spans: every sentence once, limits kept, fractions as asked, randomness from identity."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.config import CorpusConfig, SourceConfig
from data_prep.draws import below, bound, draw
from data_prep.records import Document, Span
from data_prep.sentences import sentences
from data_prep.spans import Cutter, shuffle_words
from tests.data_prep.helpers import corpus_config

LONG = " ".join(f"This is sentence number {number} of the text." for number in range(100))


def config(source: dict[str, Any] | None = None, **changes: Any) -> CorpusConfig:
    return corpus_config([SourceConfig(name="web", **(source or {}))], **changes)


def document(number: int = 0, text: str = LONG, role: str = "passage") -> Document:
    return Document("web", f"doc-{number}", text, role)  # type: ignore[arg-type]


def cut(text: Document, limits: CorpusConfig) -> list[Span]:
    return Cutter(limits).cut(text).spans


def words(spans: list[Span]) -> list[str]:
    return [word for span in spans for word in span.text.split()]


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(0, 8))
def test_a_cut_document_keeps_every_sentence_in_order(seed: int, least: int, more: int) -> None:
    limits = config(seed=seed, cut_fraction=1.0, min_sentences=least, max_sentences=least + more)
    spans = cut(document(), limits)
    assert words(spans) == LONG.split()
    place = 0
    for span in spans:
        assert span.first_sentence == place
        assert len(sentences(span.text)) == span.num_sentences <= least + more
        assert span.num_sentences >= least or span is spans[-1]
        place += span.num_sentences
    assert place == 100


def test_run_lengths_are_uniform() -> None:
    limits = config(cut_fraction=1.0)
    runs = [cut(document(number), limits)[:-1] for number in range(200)]
    lengths = Counter(span.num_sentences for spans in runs for span in spans)
    assert sorted(lengths) == list(range(1, 11))
    mean = sum(lengths.values()) / 10
    assert all(abs(count - mean) < 5 * mean**0.5 for count in lengths.values())


def test_an_uncut_document_is_one_span_with_its_inner_whitespace() -> None:
    (span,) = cut(document(text="  \n One  thing.\n\n\tAnother. \n"), config())
    assert span.text == "One  thing.\n\n\tAnother."
    assert (span.first_sentence, span.num_sentences, span.words_shuffled) == (0, 2, False)


@pytest.mark.parametrize("blank", ["", " \n\t\u3000\xa0"])
def test_a_blank_document_has_no_span(blank: str) -> None:
    assert cut(document(text=blank), config(cut_fraction=1.0)) == []


def test_the_fraction_of_documents_is_cut() -> None:
    several = sum(len(cut(document(n), config(cut_fraction=0.3))) > 1 for n in range(2000))
    assert abs(several - 600) < 5 * (2000 * 0.3 * 0.7) ** 0.5


def test_questions_are_cut_only_if_their_source_says_so() -> None:
    question = document(role="question")
    assert len(cut(question, config({"role": "question"}, cut_fraction=1.0))) == 1
    assert len(cut(question, config({"role": "question", "cut_fraction": 1.0}))) > 1
    assert len(cut(document(), config({"cut_fraction": 0.0}, cut_fraction=1.0))) == 1


def test_the_fraction_of_spans_is_shuffled_and_no_word_is_lost() -> None:
    limits = config(cut_fraction=1.0, max_sentences=2, word_shuffle_fraction=0.1)
    plain = config(cut_fraction=1.0, max_sentences=2)
    spans = [span for n in range(30) for span in cut(document(n), limits)]
    originals = [span for n in range(30) for span in cut(document(n), plain)]
    shuffled = [span for span in spans if span.words_shuffled]
    assert abs(len(shuffled) - 0.1 * len(spans)) < 5 * (0.09 * len(spans)) ** 0.5
    for span, original in zip(spans, originals, strict=True):
        assert sorted(span.text.split()) == sorted(original.text.split())
        assert (span.text != original.text) == span.words_shuffled


@pytest.mark.parametrize("text", ["Word.", "same same same"])
def test_what_cannot_be_shuffled_is_not_said_to_be(text: str) -> None:
    (span,) = cut(document(text=text), config(word_shuffle_fraction=1.0))
    assert span.text == text
    assert not span.words_shuffled


@given(st.text(alphabet="ab \n\t\xa0c.", max_size=40), st.integers(0, 9))
def test_shuffling_moves_words_and_leaves_whitespace(text: str, seed: int) -> None:
    shuffled = shuffle_words(text, seed, "doc")
    assert Counter(shuffled.split()) == Counter(text.split())
    assert sum(map(str.isspace, shuffled)) == sum(map(str.isspace, text))
    assert shuffle_words("one  two", seed, "doc") == "two  one"


def test_randomness_is_from_seed_source_and_document_alone() -> None:
    limits = config(cut_fraction=0.5, word_shuffle_fraction=0.2)
    forwards = {n: cut(document(n), limits) for n in range(50)}
    backwards = {n: cut(document(n), limits) for n in reversed(range(50))}
    assert forwards == backwards
    other_seed = limits.model_copy(update={"seed": 1})
    assert any(forwards[n] != cut(document(n), other_seed) for n in range(50))


def test_draws_are_pinned() -> None:
    # A corpus must come out the same with every later version of this program.
    assert draw(0, "cut", "web", "doc-1") == 1671680625932230994
    assert below(10, 0) == 0
    assert below(10, 2**64 - 1) == 9


@pytest.mark.parametrize(
    ("fraction", "number", "happens"),
    [
        (0.0, 0, False),
        (1.0, 2**64 - 1, True),
        (0.5, 2**63 - 1, True),
        (0.5, 2**63, False),
        (2**-70, 0, True),
        (2**-70, 1, False),
    ],
)
def test_what_happens_to_a_fraction_of_all_draws(fraction, number, happens) -> None:
    assert (number.to_bytes(8) < bound(fraction)) is happens
