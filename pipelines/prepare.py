"""Everything that a run reads: its corpus, and its image-caption pairs if the recipe has some."""

from data_prep.executors import Executor
from data_prep.manifest import MANIFEST
from data_prep.pairs.prepare import prepare_pairs
from data_prep.prepare import prepare
from pipelines.report import say
from pipelines.run import Run
from pipelines.sessions import session


def prepare_run(run: Run, executor: Executor) -> None:
    """Make the corpus and the pairs, or finish them, or see that they stand.

    Args:
        run: The run.
        executor: Who makes the corpus.

    Raises:
        PipeError: As for ``prepare`` and ``prepare_pairs``.
    """
    with session(run.directory, "corpus", worked=not (run.corpus / MANIFEST).exists()):
        prepare(run.recipe.corpus, run.corpus, say, executor)
    if run.recipe.pairs is not None:
        with session(run.directory, "pairs", worked=not (run.pairs / MANIFEST).exists()):
            prepare_pairs(run.recipe.pairs, run.pairs, say)
