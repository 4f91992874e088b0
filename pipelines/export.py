"""Exporting a run's student with a model card written from the run."""

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_prep.errors import PipeError
from pipelines.card import card_facts, card_vision
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from student.card import model_card
from student.card_terms import restrictions
from student.export import export, write_card
from student.export_record import ExportRecord, weights_digest
from student.export_whole import export_whole
from student.identity import StageIdentity, recorded_identity
from student.model import Student


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        directory: Where it is.
        stage: The stage whose student it is.
        head: The head in use.
        restrictions: Which origins of the weights forbid commercial use, in half a sentence; empty
            if none is known to.
    """

    directory: Path
    stage: int
    head: str
    restrictions: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {"export": str(self.directory), "stage": self.stage, "head": self.head}


def export_student(
    run: Run,
    directory: Path | None = None,
    head: str | None = None,
    *,
    images: bool = False,
    name: str | None = None,
    keep: bool = False,
) -> Exported:
    """Write the last finished stage's student as a sentence-transformers directory.

    Args:
        run: The run.
        directory: Where it goes; None puts it into the run.
        head: The head it uses; None takes the default that the student was trained with, or its
            first head where it has no such head yet.
        images: Whether the vision encoder and all heads go with it, as a model that loads after
            ``import student.registered``; else it is the text side alone, which loads anywhere.
        name: The model's name in the card, such as its name on the hub; None takes the recipe's.
        keep: Whether an export of the same weights and head stays, with what was put into it, such
            as ONNX, and only its card is written anew.

    Returns:
        What was exported.

    Raises:
        PipeError: No stage is finished, the head does not exist, the student has no vision encoder
            where one is wanted, the stage's record is broken, or the directory holds something
            else.
    """
    quiet_libraries()
    places = run.students
    number = places.last_finished(len(run.recipe.stages))
    if not number:
        raise PipeError("no stage is finished; run `pipe distill --stage 1` first.")
    if number < len(run.recipe.stages):
        say(f"stage {number} is the last that is finished; exporting its student")
    recorded = _recorded(run, number)
    student = Student.load(places.final(number))
    record = ExportRecord(
        version=version("jasper-distill"),
        recipe=run.recipe.name,
        stage=number,
        weights=weights_digest(places.final(number)),
        head=_head(student, head, number),
    )
    told = card_facts(run, student, recorded, record, name)
    facts = told.facts
    if images and student.vision is None:
        raise PipeError(
            f"the student of stage {number} has no vision encoder, expected one to export with "
            'images; train a stage with inputs = "images" first, or export without --images.'
        )
    target = directory or (run.export_of_images if images else run.export)
    if images:
        facts = replace(facts, vision=card_vision(run, number, student, recorded))
    if keep and _fits(target, record, images=images):
        say(f"{target} is of these weights already; its card alone is written anew")
        write_card(target, model_card(facts), told.beside)
    elif images:
        export_whole(student, target, model_card(facts), record, told.beside)
    else:
        export(student, target, model_card(facts), record, told.beside)
    return Exported(target, number, record.head, restrictions(facts))


def _fits(directory: Path, record: ExportRecord, *, images: bool) -> bool:
    """Whether an export is what would be written; that of texts alone has a module of its own."""
    of_texts = (directory / "1_Pooling").is_dir()
    return ExportRecord.read(directory) == record and of_texts != images


def _recorded(run: Run, number: int) -> StageIdentity:
    """What a stage was begun under, with the corpus and the teachers of the stages on texts."""
    places = run.students
    recorded = recorded_identity(places, number)
    last = recorded
    while last is not None and last.stages[-1].inputs == "images":
        number -= 1
        last = recorded_identity(places, number)
    if recorded is None or last is None:
        raise PipeError(f"{places.identity(number)} is missing; run `pipe distill` again.")
    return recorded.model_copy(update={"corpus": last.corpus, "teachers": last.teachers})


def _head(student: Student, wanted: str | None, number: int) -> str:
    """The head to export: the one asked for, else the default, else the first."""
    heads = [name for name, _ in student.named_heads()]
    if not heads:
        raise PipeError(f"the student of stage {number} has no head to export; train one first.")
    if wanted is None and student.default_head not in heads:
        say(
            f"the student of stage {number} has no head {student.default_head!r} yet; exporting "
            f"its head {heads[0]!r}"
        )
        return heads[0]
    chosen = wanted or student.default_head
    if chosen not in heads:
        raise PipeError(
            f"the student of stage {number} has no head {chosen!r}; its heads are "
            f"{', '.join(heads)}, so choose one of them with --head."
        )
    return chosen
