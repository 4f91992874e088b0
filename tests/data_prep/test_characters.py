"""Plain texts: whatever is called plain is left as it is by everything that mends a text."""

import unicodedata

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from data_prep.characters import are_plain
from data_prep.cleaning import normalise
from data_prep.sentences import sentences
from data_prep.sources import clean

EVERYTHING = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def plain_characters() -> list[str]:
    plain = are_plain(pa.array(EVERYTHING))
    return [character for character, is_plain in zip(EVERYTHING, plain, strict=True) if is_plain]


PLAIN = plain_characters()


def test_a_plain_character_stays_beside_any_other():
    text = "".join(PLAIN)
    assert clean(text) == normalise(text) == text
    # What is joined with the character before it is the end of something that comes apart.
    apart = (unicodedata.normalize("NFD", character) for character in EVERYTHING)
    ends = {end for _, *others in apart for end in others}
    assert not ends & set(PLAIN)
    assert not any(map(unicodedata.combining, PLAIN))


def test_usual_letters_are_plain():
    assert {*"aZ9.\t\n", *"éßœ", *"αж", *"“–…€", *"東かカ한", "😀"} <= set(PLAIN)
    assert not {*"\0\x0b\x1c\x7f\x85\xa0\u2003\u2028\u3000\ufeff\u0301"} & set(PLAIN)


@given(st.lists(st.sampled_from([" ", ". ", "A", "\n", "Dr. X? ", *PLAIN]), max_size=40))
def test_sentences_of_a_plain_text(characters):
    text = "".join(characters)
    assert are_plain(pa.array([text])) == [True]
    assert sentences(text, plain=True) == sentences(text)


@given(st.lists(st.text(max_size=6)))
def test_only_texts_that_stay_as_they_are_are_plain(texts):
    for text, plain in zip(texts, are_plain(pa.array(texts, pa.string())), strict=True):
        assert not plain or clean(text) == normalise(text) == text
