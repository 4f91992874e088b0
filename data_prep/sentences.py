"""Sentence boundaries."""

from sentencex import segment

# sentencex 1.0 panics where whitespace of more than one byte stands between a capital letter and
# a full stop ("plan A\u00a0."). Boundaries are looked for in a copy, as long as the text, in which
# such whitespace is ASCII.
_LINE_ENDS = "\x85\u2028\u2029"
_BLANKS = "\xa0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_ASCII_WHITESPACE = dict.fromkeys(_LINE_ENDS, "\n") | dict.fromkeys(_BLANKS, " ")


def sentences(text: str, language: str = "en", plain: bool = False) -> list[str]:
    """Split a text into sentences and lose nothing.

    Whitespace stays with the sentence it follows (at the start of the text, with the one it
    precedes), so a sentence is blank only if the whole text is.

    Args:
        text: Any text without lone surrogates.
        language: ISO 639-1 code of the rules to use.
        plain: Whether the text is known to be plain; see ``data_prep.characters``.

    Returns:
        The sentences; joined, they are the text. Empty for the empty text.

    >>> sentences("Dr. Smith agreed.  Nobody else did.")
    ['Dr. Smith agreed.  ', 'Nobody else did.']
    """
    pieces: list[str] = segment(language, text if plain else _with_ascii_whitespace(text))
    if "".join(pieces) == text and not any(map(str.isspace, pieces)):
        return pieces
    found: list[str] = []
    start = 0
    for piece in pieces:
        sentence = text[start : start + len(piece)]
        start += len(piece)
        if found and (sentence.isspace() or found[-1].isspace()):
            found[-1] += sentence
        else:
            found.append(sentence)
    if start < len(text):
        found.append(text[start:])
    return found


def _with_ascii_whitespace(text: str) -> str:
    if not (text.isascii() or text.isprintable()):  # of all blanks, ASCII's alone is printable
        # One character after the other: quicker than any search for all of them.
        for mark, plain in _ASCII_WHITESPACE.items():
            if mark in text:
                text = text.replace(mark, plain)
    return text
