"""Training the stages of a run from its store."""

from pathlib import Path

from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from student.stages import Distillation, run_stage
from teacher_cache.open_store import RemoteStore


def distill(run: Run, number: int, store: Path | RemoteStore | None = None) -> Path:
    """Train one stage, from its last checkpoint if it was interrupted.

    Args:
        run: The run.
        number: The stage, from 1.
        store: Where the vectors are read from; None takes the run's own store.

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
        teachers={teacher.name: teacher.weight for teacher in recipe.teachers},
        student=recipe.student,
        losses=recipe.losses,
        stages=recipe.stages,
        training=recipe.training,
    )
    return run_stage(distillation, number, say)
