"""The errors that a user can mend."""


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
