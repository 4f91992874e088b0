"""The student as it is before training, from a checkpoint of another model."""

from student.backbone import load_backbone, load_tokenizer, require_positions, require_vocabulary
from student.config import StudentConfig
from student.jasper_format import is_jasper, read_heads, require_heads
from student.model import Student
from teacher_cache.models import model_directory


def load_start(config: StudentConfig) -> Student:
    """Load the student as it is before training: the start's layers, and no head.

    Args:
        config: The recipe's student.

    Returns:
        A student without heads; where the start is a released Jasper, with all of its own.

    Raises:
        PipeError: The start is not there or cannot be loaded, or lacks a head that the recipe
            calls as a released Jasper does.
    """
    directory = model_directory(config.start, config.revision, config.sha256, "student.start")
    backbone = load_backbone(directory, layers=config.layers, dropout=config.dropout)
    require_positions(backbone, config.max_tokens)
    tokenizer = load_tokenizer(directory)
    require_vocabulary(backbone, tokenizer)
    student = Student(
        backbone,
        tokenizer,
        max_tokens=config.max_tokens,
        prompts=config.prompts,
        default_head=config.default_head,
        dropout=config.dropout,
    )
    if is_jasper(directory):
        student.heads.update(read_heads(directory, student.hidden))
        require_heads(config.heads, student.heads.keys(), directory)
    return student
