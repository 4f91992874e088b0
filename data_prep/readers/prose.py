"""Prose out of documentation: paragraphs of running English, without lists, examples and code."""

import re

MIN_WORDS = 8
"""Fewest words of a document."""

# A heading after which a docstring lists rather than tells (numpy, Google and Sphinx styles).
_SECTION = re.compile(
    r"(?im)^(?:args|arguments|parameters|params|other parameters|attributes|returns?|yields?"
    r"|raises|methods|examples?|usage|references|see also|inputs?|outputs?|shape|keyword arguments"
    r"|constants|functions|classes|properties|fields|call arguments|kwargs):?[ \t]*$"
    r"|^(?:args?|parameters|returns?|yields?|raises|examples?|usage):\s"
    r"|^[:@](?:param|type|return|rtype|raise|arg|keyword|var|ivar|cvar)"
)
_ROLE = re.compile(r":(?:[a-z]+:)*[a-z]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`_{0,2}|\[([^\]\[]+)\]\([^)\s]*\)")
_LITERAL = re.compile(r"`{1,2}([^`]*)`{1,2}_{0,2}")
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*?(?=[ \t]*\S)")
# Not text: doctests, directives, tables, rules, bullets and definitions.
_NOT_PROSE = re.compile(r"\s|>>>|\.\.|[|+=~^#*•<{\[$%&@\\`]{2}|[-=*]\s|\d+[.)]\s|[*•|#{}@<$%]|-{2}")
_COMMON_WORDS = (
    "a an and are as at be been but by can do does for from has have if in into is it its may must "
    "no not of on or same should so than that the their them then there these they this to was "
    "were when where which while will with without would you"
)
_COMMON = frozenset(_COMMON_WORDS.split())


def prose_of(documentation: str) -> str | None:
    r"""Keep the running prose of a docstring or a page of documentation.

    Args:
        documentation: Text without common indentation, as ``inspect.cleandoc`` leaves it.

    Returns:
        Its paragraphs of prose, each on one line and without reStructuredText marks, with an
        empty line between them; None if fewer than ``MIN_WORDS`` words are left or if they do not
        read like English sentences.

    >>> prose_of("Return the number of words that stand\nin the text.\n\nArgs:\n    text: Any.")
    'Return the number of words that stand in the text.'
    """
    section = _SECTION.search(documentation)
    if section is not None:
        documentation = documentation[: section.start()]
    paragraphs = [
        plain
        for paragraph in _PARAGRAPHS.split(documentation)
        if (plain := _plain(paragraph)) is not None
    ]
    prose = "\n\n".join(paragraphs)
    return prose if len(prose.split()) >= MIN_WORDS else None


def _plain(paragraph: str) -> str | None:
    """Unwrap a paragraph; None if it is a heading, a list, a table or code."""
    if not paragraph or _NOT_PROSE.match(paragraph):
        return None
    lines = paragraph.splitlines()
    if any(line.startswith((" ", "\t", "- ", "* ", ">>>", "===", "---", "***")) for line in lines):
        return None
    text = " ".join(paragraph.split())
    if "`" in text or "](" in text:
        text = _ROLE.sub(r"\1", text)
        text = _LINK.sub(lambda match: match[1] or match[2], text)
        text = _LITERAL.sub(r"\1", text)
    if text.endswith("::"):
        text = text[:-1]
    return text if _reads_like_english(text) else None


def _reads_like_english(text: str) -> bool:
    """Say whether most tokens are plain words, and enough of them those of any English sentence."""
    tokens = text.split()
    words = [token.strip(".,;:!?()\"'") for token in tokens]
    plain = sum(_WORD.fullmatch(word) is not None for word in words)
    common = sum(word.lower() in _COMMON for word in words)
    return plain >= 0.7 * len(tokens) and common >= max(1, 0.12 * len(tokens))
