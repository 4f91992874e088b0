"""The image-caption pairs of a run."""

from collections.abc import Callable

from data_prep.pairs.prepare import prepare_pairs
from pipelines.run import Run


def prepare_run_pairs(run: Run, report: Callable[[str], None]) -> None:
    """Make the run's pairs, or see that they stand; nothing where the recipe has none.

    Args:
        run: The run.
        report: Gets lines of progress.

    Raises:
        PipeError: As for ``data_prep.pairs.prepare.prepare_pairs``.
    """
    if run.recipe.pairs is not None:
        prepare_pairs(run.recipe.pairs, run.pairs, report)
