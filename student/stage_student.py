"""The student of a stage: the one before it, with what the stage adds, trains and computes."""

import torch

from data_prep.draws import draw
from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from student.attention import use_attention
from student.compiled import compile_layers
from student.config import TrainingConfig
from student.distillation import Distillation, Report
from student.identity import start_settings
from student.lora import add_adapters
from student.model import Student
from student.parts import train_only
from student.pooled_states import require_frozen
from student.recompute import checkpoint_layers


def stage_student(
    run: Distillation, number: int, training: TrainingConfig, report: Report
) -> tuple[Student, list[str]]:
    """Load the student of the stage before and make it this stage's.

    Args:
        run: The distillation.
        number: The stage, from 1.
        training: How training runs, with every ``auto`` settled.
        report: Takes a line for the user.

    Returns:
        The student, on the device where it trains, and the names of its new heads.

    Raises:
        PipeError: The stage before is not finished, the start cannot be loaded, or the stage's
            parts, heads, adapters or kernel do not fit the student.
    """
    stage = run.stages[number - 1]
    student = _student_before(run, number, report)
    used = run.student.with_wholes(h for earlier in run.stages[:number] for h in earlier.heads)
    widths = {head: width for head, width in run.head_widths.items() if head in used}
    new = student.add_heads(widths, training.seed, run.student.nested)
    if stage.inputs == "images" and student.vision is None and run.student.vision is not None:
        student.add_vision(run.student.vision, training.seed)
    if stage.lora:
        add_adapters(student, stage.lora, draw(training.seed, "stage", number))
    train_only(student, stage.trainable, stage.heads)
    require_frozen(student, stage, number)
    if torch.cuda.is_available():
        student.to("cuda")
    for tower in [student.text, *([student.vision.tower] if student.vision is not None else [])]:
        use_attention(tower, training.attention, or_plain=run.training.attention == "auto")
        if training.recompute == "layers":
            checkpoint_layers(tower)
        if training.compile:
            compile_layers(tower)
    student.autocast = torch.bfloat16 if training.precision == "bf16" else None
    student.recompute = training.recompute == "groups"
    return student, new


def _student_before(run: Distillation, number: int, report: Report) -> Student:
    places = run.places
    if number == 1:
        _keep_start(run, report)
    elif not places.finished(number - 1):
        raise PipeError(
            f"stage {number} begins from the final weights of stage {number - 1}, which are "
            f"not in {places.final(number - 1)}; run "
            f"`pipe distill --stage {number - 1}` first."
        )
    return Student.load(places.final(number - 1)).train()


def _keep_start(run: Distillation, report: Report) -> None:
    """Keep the start in the run, so that training and evaluating elsewhere need no other model."""
    places, settings = run.places, start_settings(run.student)
    known = places.start_settings.exists() and read_json(places.start_settings) == settings
    if not (known and places.finished(0)):
        # Stage 1 was not begun from another start: its identity would have been refused.
        Student.from_start(run.student).save(places.final(0))
        write_json(places.start_settings, settings)
        report(f"the student's start is kept in {places.final(0)}")
