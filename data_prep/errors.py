"""The errors that a user can mend."""

import errno
from typing import Final

_DISK_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_FULL_WORDS: Final = ("No space left on device", "File too large", "Disk quota exceeded")


class PipeError(Exception):
    """A mistake or a state that the user can mend, told in one sentence.

    The message says what was found, what was expected and what to do. The command line prints it
    without a traceback and exits with ``exit_code``.
    """

    exit_code = 1


class UsageError(PipeError):
    """The command, the recipe or an option is wrong; nothing has been started."""

    exit_code = 2


def first_line(error: BaseException) -> str:
    """The first line of a library's error, for a sentence of ours.

    Args:
        error: The error.
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def is_disk_full(error: BaseException | None) -> bool:
    """Say whether an error, or what caused it, is a full disk; libraries wrap it in their own.

    Args:
        error: The error.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return True
        if any(words in str(error) for words in _DISK_FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False
