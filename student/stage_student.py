"""The student of a stage: the one before it, with what the stage adds, trains and computes."""

import torch

from data_prep.draws import draw
from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from student.attention import use_attention
from student.compiled import compile_layers
from student.config import StudentConfig, TrainingConfig
from student.distillation import Distillation, Report
from student.identity import start_settings, vision_settings
from student.jasper_format import HEAD, require_heads
from student.lora import add_adapters
from student.model import Student
from student.parts import train_only
from student.pooled_states import require_frozen
from student.recompute import checkpoint_layers
from student.start import load_start
from student.vision import VisionEncoder
from student.vision_config import VisionConfig

_HEADS = "heads"


def stage_student(
    run: Distillation,
    number: int,
    training: TrainingConfig,
    report: Report,
    begun: StudentConfig | None = None,
) -> tuple[Student, list[str]]:
    """Load the student of the stage before and make it this stage's.

    Args:
        run: The distillation.
        number: The stage, from 1.
        training: How training runs, with every ``auto`` settled.
        report: Takes a line for the user.
        begun: The recipe's student when the stage was begun, if it was.

    Returns:
        The student, on the device where it trains, and the names of its new heads.

    Raises:
        PipeError: The stage before is not finished, the start cannot be loaded, or the stage's
            parts, heads, adapters or kernel do not fit the student.
    """
    stage = run.stages[number - 1]
    student = _student_before(run, number, report)
    used = run.student.with_wholes(h for earlier in run.stages[:number] for h in earlier.heads)
    if number == 1:  # the start has every head of its checkpoint
        for name in student.heads.keys() - (begun or run.student).own_heads:
            del student.heads[name]
    _take_heads_of_start(student, run, used, report)
    widths = {head: width for head, width in run.head_widths.items() if head in used}
    new = student.add_heads(widths, training.seed, run.student.nested)
    if stage.inputs == "images" and student.vision is None and run.student.vision is not None:
        vision = _vision_start(run, number, run.student.vision, student.hidden, training.seed)
        student.see_with(vision, training.seed)
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


def _take_heads_of_start(
    student: Student, run: Distillation, used: set[str], report: Report
) -> None:
    """Give the student the heads of a start in the released Jasper's format that it lacks yet.

    They were added to the recipe after the stage before had begun.
    """
    lacking = {name for name in used & run.student.own_heads if HEAD.match(name)}
    lacking -= student.heads.keys()
    if lacking and lacking & set(_keep_start(run, report)):
        start = Student.load(run.places.final(0))
        student.heads.update({name: h for name, h in start.heads.items() if name in lacking})


def _vision_start(
    run: Distillation, number: int, config: VisionConfig, hidden: int, seed: int
) -> VisionEncoder:
    """The vision encoder that a stage adds, kept in the run: what it sees stays as it began.

    The weights and the image processor lie outside the run, where they may change or go.
    """
    places = run.places
    kept, record = places.vision_start(number), places.vision_start_settings(number)
    settings = vision_settings(run.student) | {"hidden": hidden, "seed": seed}
    if not (kept.is_dir() and record.exists() and read_json(record) == settings):
        record.unlink(missing_ok=True)  # it must never stand beside another encoder
        VisionEncoder.from_start(config, hidden, seed).save(kept)
        write_json(record, settings)
    return VisionEncoder.load(kept)


def _keep_start(run: Distillation, report: Report) -> list[str]:
    """Keep the start in the run, so that training and evaluating elsewhere need no other model.

    Returns:
        The heads that it has, all of them, which the recipe may name later.
    """
    places, settings = run.places, start_settings(run.student)
    kept = read_json(places.start_settings) if places.start_settings.exists() else {}
    heads: list[str] | None = kept.pop(_HEADS, None)
    if heads is None and not any(HEAD.match(name) for name in run.student.heads):
        heads = []
    if heads is None or kept != settings or not places.finished(0):
        # Stage 1 was not begun from another start: its identity would have been refused.
        student = load_start(run.student)
        student.save(places.final(0))
        heads = list(student.heads)
        write_json(places.start_settings, settings | {_HEADS: heads})
        report(f"the student's start is kept in {places.final(0)}")
    require_heads(run.student.heads, heads, run.student.start)
    return heads
