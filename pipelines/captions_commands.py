"""The commands for the store of captions, in the place of those for the store of the corpus."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from data_prep.errors import PipeError
from student.config import CAPTIONS_TEACHER

TEACH: Final = f"pipe teach --teacher {CAPTIONS_TEACHER}"
_COMMANDS: Final = {
    "`pipe store repair`": "`pipe store repair --pairs`",
    "`pipe store verify`": "`pipe store verify --pairs`",
    "`pipe teach`": f"`{TEACH}`",
}


def for_captions(sentence: str) -> str:
    """Let a sentence about a store name the commands for that of the captions.

    Args:
        sentence: What is said of any store.

    >>> for_captions("`pipe store repair` makes it again.")
    '`pipe store repair --pairs` makes it again.'
    """
    for command, other in _COMMANDS.items():
        sentence = sentence.replace(command, other)
    return sentence


@contextmanager
def of_captions() -> Iterator[None]:
    """Let every error of the block name the commands for the store of the captions."""
    try:
        yield
    except PipeError as error:
        error.args = (for_captions(str(error)),)
        raise
