"""What decides a student's vectors, so that results are told from those of other weights."""

from pathlib import Path

from data_prep.fingerprint import digest
from student.export_record import weights_digest
from student.student_record import read_record
from teacher_cache.config import Prompts

REVISION_DIGITS = 40
"""As many as a commit has, which mteb takes a revision for."""


def results_revision(weights: str, prompts: Prompts, max_tokens: int) -> str:
    """Name what decides a student's vectors, as mteb's results are filed under it.

    Args:
        weights: Digest of the student's weights.
        prompts: Its prompts.
        max_tokens: Where it cuts texts off.

    Returns:
        40 hexadecimal digits.
    """
    return digest([weights, prompts.model_dump(), max_tokens])[:REVISION_DIGITS]


def saved_revision(directory: Path) -> str:
    """Name what decides the vectors of a student on disk, as ``results_revision`` does.

    Args:
        directory: A saved student.

    Returns:
        40 hexadecimal digits.
    """
    record = read_record(directory)
    return results_revision(weights_digest(directory), record.prompts, record.max_tokens)
