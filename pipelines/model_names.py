"""What tables call the models that an evaluation compares, and results are filed under."""

from typing import Final

from teacher_cache.config import TeacherConfig

START: Final = "start"


def teacher_name(config: TeacherConfig) -> str:
    """What tables call a teacher; one called ``start`` is told apart from the start.

    Args:
        config: Its settings.
    """
    return f"teacher {config.name}" if config.name == START else config.name


def head_name(head: str) -> str:
    """What tables call a student under one of its heads, and results are filed under.

    Args:
        head: The head's name.
    """
    return f"student {head}"
