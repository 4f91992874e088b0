"""Sentence boundaries: nothing is lost, nothing is blank, nothing panics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sentence_cases import CASES
from data_prep.sentences import sentences

LANGUAGES = sorted({language for language, _ in CASES} | {"ko", "th", "ur", "am", "xx"})
# What sentencex 1.0 gets wrong of the list in benchmarks/sentence_cases.py.
KNOWN = {
    "They sell apples, pears, etc. Carrots are elsewhere.",
    "It is approx. 5 km from here. Walk.",
    "Vol. 3, no. 2, pp. 10-20. That is the place.",
    "Well... I do not know.",
    "He waited… Then he left.",
    "It ended. (Nobody knew.) It began again.",
    "I use Node.js and ASP.NET daily. They work.",
    "1. Wash the rice. 2. Boil it.",
    "M. Dupont est parti. Mme Martin est restée.",
    "А. С. Пушкин родился в 1799 г. Он был поэтом.",
}

TROUBLE = st.text(
    alphabet=" \n\r\t\x0b\x1c\x85\u2028\u2029\xa0\u3000.!?。aAb1'\"()é中😀•-", max_size=40
)


@given(st.one_of(st.text(max_size=60), TROUBLE), st.sampled_from(LANGUAGES))
def test_joined_they_are_the_text(text: str, language: str) -> None:
    assert "".join(sentences(text, language)) == text


@pytest.mark.parametrize(
    ("language", "expected"),
    [case for case in CASES if "".join(case[1]) not in KNOWN],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_sentences_as_a_person_reads_them(language: str, expected: list[str]) -> None:
    found = sentences("".join(expected), language)
    assert [each.strip() for each in found] == [each.strip() for each in expected]


@given(TROUBLE.filter(lambda text: not text.isspace()))
def test_no_sentence_is_blank(text: str) -> None:
    assert all(sentence.strip() for sentence in sentences(text))


@pytest.mark.parametrize("space", "\xa0\u2003\u2028\u3000")
def test_wide_whitespace_before_a_full_stop(space: str) -> None:
    # sentencex itself panics on these.
    found = sentences(f"Nobody took plan A{space}. It rained.{space}Then it stopped.")
    assert found[-1] == "Then it stopped."
    assert f"It rained.{space}" in found[-2]


def test_boundaries_and_abbreviations() -> None:
    assert sentences("Dr. Smith left. She ran!\n\nNobody knew.") == [
        "Dr. Smith left. ",
        "She ran!\n\n",
        "Nobody knew.",
    ]
    assert sentences("") == []
