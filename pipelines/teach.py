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
from teacher_cache.verify import require_whole


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
    store = TeacherStore.create(run.store, corpus)
    for teacher in teachers:
        require_whole(store, teacher.name)
        # What changed is refused before a model is loaded, and what cannot be loaded is not
        # recorded, so that a mended recipe finds no wrong entry.
        if teacher.name in store.teachers:
            store.add_teacher(teacher)
            if not store.missing(teacher.name):
                say(f"{teacher.name} ({teacher.license}): every shard is committed")
                continue
        say(f"{teacher.name} ({teacher.license}): loading the model and checking it")
        fill(store, corpus, teacher, load_encoder(teacher), say)
