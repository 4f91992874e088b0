"""Sentence boundaries: nothing is lost, nothing is blank, nothing panics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.sentences import sentences

TROUBLE = st.text(
    alphabet=" \n\r\t\x0b\x1c\x85\u2028\u2029\xa0\u3000.!?。aAb1'\"()é中😀•-", max_size=40
)


@given(st.one_of(st.text(max_size=60), TROUBLE))
def test_joined_they_are_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text


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
