"""The captions of image-caption pairs, encoded once by the student that learns to see (2.5)."""

from importlib.metadata import version

from data_prep.errors import PipeError
from data_prep.pairs.corpus import PairCorpus
from pipelines.quiet import quiet_libraries
from pipelines.run import Run
from student.config import CAPTIONS_TEACHER
from student.export import export
from student.export_record import ExportRecord, weights_digest
from student.model import Student
from teacher_cache import models
from teacher_cache.config import TeacherConfig
from teacher_cache.store import TeacherStore

_CARD = "The text side of a student, as the teacher of its own vision encoder.\n"


def last_text_stage(run: Run) -> int:
    """The stage whose student encodes the captions; 0 where the recipe has no stage on texts.

    Args:
        run: The run.
    """
    return sum(stage.inputs == "texts" for stage in run.recipe.stages)


def captions_teacher(run: Run) -> TeacherConfig:
    """The student as a teacher like any other: a sentence-transformers directory.

    The store keeps its pooled states, from which every head's vectors follow.

    Args:
        run: The run.

    Returns:
        The teacher; its model is written on the first call.

    Raises:
        PipeError: The last stage on texts is not finished.
    """
    number = last_text_stage(run)
    final = run.students.final(number)
    if not run.students.finished(number):
        raise PipeError(
            f"the captions are encoded by the student of stage {number}, which is not in {final}; "
            f"run `pipe distill --stage {number}` first."
        )
    weights = weights_digest(final)
    kept = ExportRecord.read(run.pairs_teacher)
    if kept is not None and kept.weights == weights:
        head = kept.head
    else:
        quiet_libraries()
        student = Student.load(final)
        head = student.default_head
        if head not in dict(student.named_heads()):
            head = student.named_heads()[0][0]
        record = ExportRecord(version("jasper-distill"), run.recipe.name, number, weights, head)
        export(student, run.pairs_teacher, _CARD, record)
    return TeacherConfig(
        name=CAPTIONS_TEACHER,
        kind="sentence-transformers",
        model=str(run.pairs_teacher),
        sha256=models.weights_digest(run.pairs_teacher),
        dim=_width(run, head),
        max_tokens=run.recipe.student.max_tokens,
        prompts=run.recipe.student.prompts,
        storage="factored",
        license=run.recipe.student.license,
    )


def captions_taught(run: Run) -> bool:
    """Whether every caption is encoded, by whatever student.

    Args:
        run: The run, whose recipe has pairs.

    Raises:
        PipeError: The pairs are not prepared, or the store is broken.
    """
    captions = PairCorpus.open(run.pairs).captions
    if not (run.pairs_store / "manifest.json").exists():
        return False
    store = TeacherStore.open(run.pairs_store, captions)
    if CAPTIONS_TEACHER not in store.teachers:
        return False
    return len(store.committed(CAPTIONS_TEACHER)) == captions.num_shards


def _width(run: Run, head: str) -> int:
    width = run.recipe.student.heads[head]
    return run.recipe.target_width if width == "target" else width
