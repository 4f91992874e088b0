"""What a saved student's directory says of itself; reading it loads no model and no torch."""

from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from data_prep.config import Settings
from data_prep.errors import PipeError
from data_prep.files import read_json
from teacher_cache.config import Prompts

RECORD: Final = "student.json"


class StudentRecord(Settings):
    """What a saved student's directory says of itself.

    Attributes:
        format_version: Version of this layout.
        max_tokens: Longer texts are cut off here.
        prompts: Text in front of each text, by role.
        heads: Width of each head.
        nested: For a head without weights of its own, the head whose first numbers it is.
        default_head: The head that an export uses.
        dropout: Dropout probability while training.
        vision: Whether there is a vision encoder.
    """

    format_version: int = Field(default=1, ge=1, le=1)
    max_tokens: int
    prompts: Prompts
    heads: dict[str, int]
    nested: dict[str, str] = Field(default_factory=dict)
    default_head: str
    dropout: float
    vision: bool = False


def read_record(directory: Path) -> StudentRecord:
    """Read what a saved student says of itself.

    Args:
        directory: What ``save_student`` wrote.

    Returns:
        The record.

    Raises:
        PipeError: The directory is not a saved student.
    """
    try:
        return StudentRecord.model_validate(read_json(directory / RECORD))
    except ValidationError as error:
        raise PipeError(
            f"{directory / RECORD} does not describe a student "
            f"({error.error_count()} wrong fields); restore it or train the stage again."
        ) from None
