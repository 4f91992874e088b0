"""A student on disk: its record, its backbone, its heads and its vision encoder."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from data_prep.errors import PipeError, first_line
from data_prep.files import atomic_directory, write_json
from student.backbone import load_backbone, load_tokenizer
from student.student_record import RECORD, StudentRecord, read_record
from student.vision import VisionEncoder
from student.weights import own_storage

if TYPE_CHECKING:
    from student.model import Student

_HEADS = "heads.safetensors"
_BACKBONE = "backbone"
_VISION = "vision"

_Student = TypeVar("_Student", bound="Student")


def load_student(kind: type[_Student], directory: Path) -> _Student:
    """Load a saved student.

    Args:
        kind: The student's class.
        directory: What ``save_student`` wrote.

    Returns:
        The student, in evaluation mode.

    Raises:
        PipeError: The directory is not a saved student, or a file in it is broken.
    """
    record = read_record(directory)
    student = kind(
        load_backbone(directory / _BACKBONE, dropout=record.dropout),
        load_tokenizer(directory / _BACKBONE),
        max_tokens=record.max_tokens,
        prompts=record.prompts,
        default_head=record.default_head,
        dropout=record.dropout,
    )
    for name, width in record.heads.items():
        if name in record.nested:
            student.nested[name] = record.nested[name], width
        else:
            student.heads[name] = nn.Linear(student.hidden, width)
    try:
        if record.heads:
            student.heads.load_state_dict(load_file(directory / _HEADS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PipeError(
            f"{directory / _HEADS} does not hold the heads {', '.join(record.heads)} "
            f"({first_line(error)}); restore it or train the stage again."
        ) from None
    if record.vision:
        student.vision = VisionEncoder.load(directory / _VISION)
    return student.eval()


def save_student(student: "Student", directory: Path) -> None:
    """Write a student in float32 safetensors; the directory appears whole or not at all.

    Args:
        student: The student.
        directory: Where it belongs; a directory there is replaced.
    """
    record = StudentRecord(
        max_tokens=student.max_tokens,
        prompts=student.prompts,
        heads={name: head.out_features for name, head in student.named_heads()},
        nested={name: whole for name, (whole, _) in student.nested.items()},
        default_head=student.default_head,
        dropout=student.dropout,
        vision=student.vision is not None,
    )
    with atomic_directory(directory) as unfinished:
        weights = own_storage(student.text.state_dict())
        student.text.save_pretrained(unfinished / _BACKBONE, state_dict=weights)
        student.tokenizer.save_pretrained(unfinished / _BACKBONE)
        if student.heads:
            save_file(own_storage(student.heads.state_dict()), unfinished / _HEADS)
        if student.vision is not None:
            student.vision.save(unfinished / _VISION)
        write_json(unfinished / RECORD, record.model_dump(mode="json"))
