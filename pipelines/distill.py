"""Training the stages of a run from its store."""

from pathlib import Path

from pipelines.report import say
from pipelines.run import Run
from student.stages import Distillation, fast_precision, run_stage


def distill(run: Run, number: int) -> Path:
    """Train one stage, from its last checkpoint if it was interrupted.

    Args:
        run: The run.
        number: The stage, from 1.

    Returns:
        The directory of the stage's final student.

    Raises:
        PipeError: As ``student.stages.run_stage``.
    """
    recipe = run.recipe
    # "auto" is settled for this machine, and stands so in what the stage was begun with.
    precision = fast_precision(recipe.training.precision)
    distillation = Distillation(
        corpus=run.corpus,
        store=run.store,
        places=run.students,
        teachers={teacher.name: teacher.weight for teacher in recipe.teachers},
        student=recipe.student,
        losses=recipe.losses,
        stages=recipe.stages,
        training=recipe.training.model_copy(update={"precision": precision}),
    )
    return run_stage(distillation, number, say)
