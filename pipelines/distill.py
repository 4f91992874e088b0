"""Training the stages of a run from its store."""

from contextlib import nullcontext
from pathlib import Path

from pipelines.captions import captions_taught, captions_teacher
from pipelines.captions_commands import of_captions
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from pipelines.sessions import session
from student.distillation import Distillation, StageData
from student.ranks import ALONE, Ranks
from student.stage_rows import RowChoice
from student.stages import run_stage
from teacher_cache.open_store import RemoteStore


def distill(
    run: Run,
    number: int,
    rows: RowChoice = "all",
    store: Path | RemoteStore | None = None,
    ranks: Ranks = ALONE,
) -> Path:
    """Train one stage, from its last checkpoint if it was interrupted.

    Args:
        run: The run.
        number: The stage, from 1.
        rows: Which rows a stage takes that was not begun: ``all``, or those of the shards that are
            ``available`` now.
        store: Where the vectors are read from; None takes the run's own store.
        ranks: The processes that train together; all call this.

    Returns:
        The directory of the stage's final student.

    Raises:
        PipeError: As ``student.stages.run_stage``.
    """
    quiet_libraries()
    recipe = run.recipe
    pairs = _pairs(run, number, ranks)
    logging = recipe.logging
    if not logging.group:
        logging = logging.model_copy(update={"group": recipe.name})
    distillation = Distillation(
        texts=StageData(run.corpus, store or run.store, recipe.target_teachers),
        places=run.students,
        student=recipe.student,
        losses=recipe.losses,
        stages=recipe.stages,
        training=recipe.training,
        rows=rows,
        sets=Path(recipe.evaluation.sets) if recipe.evaluation.sets else None,
        pairs=pairs,
        logging=logging,
    )
    worked = ranks.first and number <= len(recipe.stages) and not run.students.finished(number)
    with (
        of_captions() if pairs is not None else nullcontext(),
        session(run.directory, f"stage {number}", worked=worked, processes=ranks.count),
    ):
        return run_stage(distillation, number, say, ranks)


def _pairs(run: Run, number: int, ranks: Ranks) -> StageData | None:
    """The image-caption pairs for a stage on images, with every caption's vector there."""
    if number > len(run.recipe.stages) or run.recipe.stages[number - 1].inputs == "texts":
        return None
    if run.recipe.pairs is None or run.recipe.student.vision is None:
        return None  # refused with a sentence where the stage begins
    if ranks.first:
        captions_teacher(run)  # before the others ask for it
        if not captions_taught(run):
            # What runs a teacher is not imported where there is nothing to encode.
            from pipelines.teach import teach_captions  # noqa: PLC0415

            teach_captions(run)
    ranks.wait()
    return StageData(run.pairs, run.pairs_store, (captions_teacher(run),))
