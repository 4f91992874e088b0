"""Encoding the corpus with the recipe's teachers."""

from collections.abc import Sequence

from data_prep.corpus import Corpus
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import load_encoder
from teacher_cache.fill import fill
from teacher_cache.store import TeacherStore


def open_store(run: Run) -> TeacherStore:
    """Open the run's store, made for the run's corpus if it is not there yet.

    Args:
        run: The run.

    Returns:
        The store.

    Raises:
        PipeError: There is no corpus, or the store belongs to another one.
    """
    corpus = Corpus.open(run.corpus)
    if (run.store / "manifest.json").exists():
        return TeacherStore.open(run.store, corpus)
    return TeacherStore.create(run.store, corpus)


def teach(run: Run, teachers: Sequence[TeacherConfig]) -> None:
    """Encode every missing shard of some teachers; what is committed is not encoded again.

    Args:
        run: The run.
        teachers: Which teachers.

    Raises:
        PipeError: The store belongs to another corpus, a teacher's settings changed, a teacher
            cannot be loaded, or its vectors are unsound.
    """
    quiet_libraries()
    corpus = Corpus.open(run.corpus)
    store = open_store(run)
    for teacher in teachers:
        # What changed is refused before a model is loaded, and a finished teacher loads none.
        store.add_teacher(teacher)
        if store.missing(teacher.name):
            say(f"{teacher.name} ({teacher.license}): loading the model and checking it")
            fill(store, corpus, teacher, load_encoder(teacher), say)
        else:
            say(f"{teacher.name} ({teacher.license}): every shard is committed")
