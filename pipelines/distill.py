"""Training the stages of a run from its store."""

from pathlib import Path

from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from student.distillation import Distillation
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
    distillation = Distillation(
        corpus=run.corpus,
        store=store or run.store,
        places=run.students,
        teachers=recipe.target_teachers,
        student=recipe.student,
        losses=recipe.losses,
        stages=recipe.stages,
        training=recipe.training,
        rows=rows,
        sets=Path(recipe.evaluation.sets) if recipe.evaluation.sets else None,
    )
    return run_stage(distillation, number, say, ranks)
