"""The captions of image-caption pairs, encoded once by the student that learns to see (2.5)."""

from importlib.metadata import version

from data_prep.errors import PipeError
from data_prep.pairs.corpus import PairCorpus
from pipelines.captions_commands import of_captions
from pipelines.quiet import quiet_libraries
from pipelines.run import Run
from student.config import CAPTIONS_TEACHER
from student.export import export
from student.export_record import ExportRecord, weights_digest
from student.model import Student
from teacher_cache import models
from teacher_cache.config import TeacherConfig
from teacher_cache.file_lock import locked
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
        The teacher; its model is written on the first call, by one of several processes.

    Raises:
        PipeError: The last stage on texts is not finished, or was trained anew since the captions
            were encoded.
    """
    number = last_text_stage(run)
    final = run.students.final(number)
    if not run.students.finished(number):
        raise PipeError(
            f"the captions are encoded by the student of stage {number}, which is not in {final}; "
            f"run `pipe distill --stage {number}` first."
        )
    head = _exported_head(run, number)  # before the weights are looked at: it writes them
    teacher = TeacherConfig(
        name=CAPTIONS_TEACHER,
        kind="sentence-transformers",
        model=str(run.pairs_teacher),
        dim=_width(run, head),
        sha256=models.weights_digest(run.pairs_teacher),
        max_tokens=run.recipe.student.max_tokens,
        prompts=run.recipe.student.prompts,
        storage="factored",
        license=run.recipe.student.license,
    )
    _require_same_student(run, teacher, number)
    return teacher


def _exported_head(run: Run, number: int) -> str:
    """Export a stage's student for the captions, unless it is; return the head in use."""
    final = run.students.final(number)
    weights = weights_digest(final)

    def kept() -> ExportRecord | None:
        record = ExportRecord.read(run.pairs_teacher)
        return record if record is not None and record.weights == weights else None

    if found := kept():
        return found.head
    lock = run.pairs_teacher.with_name(".teacher.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock):
        if found := kept():  # by whoever was inside before
            return found.head
        quiet_libraries()
        student = Student.load(final)
        head = student.default_head
        if head not in dict(student.named_heads()):
            head = student.named_heads()[0][0]
        record = ExportRecord(version("jasper-distill"), run.recipe.name, number, weights, head)
        export(student, run.pairs_teacher, _CARD, record)
    return head


def _require_same_student(run: Run, teacher: TeacherConfig, number: int) -> None:
    """Refuse a store of captions that another student of the same stage has encoded."""
    if not (run.pairs_store / "manifest.json").exists():
        return
    try:
        taught = TeacherStore.open(run.pairs_store, check_commits=False).teachers
    except PipeError:
        return  # whoever reads the store says what is wrong with it
    if CAPTIONS_TEACHER not in taught or taught[CAPTIONS_TEACHER].config.sha256 == teacher.sha256:
        return
    stages = run.recipe.stages
    begun = [
        run.students.stage(later)
        for later in range(number + 1, len(stages) + 1)
        if run.students.stage(later).exists()
    ]
    raise PipeError(
        f"stage {number} was trained anew since the captions were encoded, so their vectors are "
        "those of another student; remove "
        f"{' and '.join(map(str, [run.pairs_store, *begun]))} to encode the captions again"
        f"{', and to train on them,' if begun else ''} with the student of today."
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
    with of_captions():
        store = TeacherStore.open(run.pairs_store, captions)
    if CAPTIONS_TEACHER not in store.teachers:
        return False
    return len(store.committed(CAPTIONS_TEACHER)) == captions.num_shards


def _width(run: Run, head: str) -> int:
    width = run.recipe.student.heads[head]
    return run.recipe.target_width if width == "target" else width
