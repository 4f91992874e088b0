"""Encoding the corpus with the recipe's teachers."""

from collections.abc import Sequence

from data_prep.corpus import Corpus
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from teacher_cache.config import TeacherConfig
from teacher_cache.engines import check_engine, load_for_corpus
from teacher_cache.fill import fill
from teacher_cache.store import TeacherStore


def teach(run: Run, teachers: Sequence[TeacherConfig], engine: str = "transformers") -> None:
    """Encode every missing shard of some teachers; what is committed is not encoded again.

    Args:
        run: The run.
        teachers: Which teachers.
        engine: What runs them, a row of ``teacher_cache.engines.ENGINES``.

    Raises:
        PipeError: The store belongs to another corpus, a teacher's settings changed, a teacher
            cannot be loaded or run on the engine, or its vectors are unsound.
    """
    quiet_libraries()
    for teacher in teachers:
        check_engine(engine, teacher)
    corpus = Corpus.open(run.corpus)
    store = TeacherStore.create(run.store, corpus)
    for teacher in teachers:
        # What changed is refused before a model is loaded, and what cannot be loaded is not
        # recorded, so that a mended recipe finds no wrong entry.
        if teacher.name in store.teachers:
            store.add_teacher(teacher)
            if not store.missing(teacher.name):
                say(f"{teacher.name} ({teacher.license}): every shard is committed")
                continue
        say(f"{teacher.name} ({teacher.license}): loading the model and checking it")
        fill(store, corpus, teacher, load_for_corpus(engine, teacher, corpus, say), say)
