"""Encoding the corpus with the recipe's teachers."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.executors import Executor
from data_prep.pairs.corpus import PairCorpus
from pipelines.captions import captions_teacher
from pipelines.captions_commands import of_captions
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from pipelines.sessions import session
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import Encoder
from teacher_cache.encoders.tower_options import AS_USUAL, TowerOptions
from teacher_cache.engines import check_engine, load_for_corpus
from teacher_cache.fill import fill_share
from teacher_cache.store import TeacherStore
from teacher_cache.verify import require_whole
from teacher_cache.workers import ALONE, Worker


def teach(
    run: Run,
    teachers: Sequence[TeacherConfig],
    worker: Worker = ALONE,
    executor: Executor | None = None,
    engine: str = "transformers",
    options: TowerOptions = AS_USUAL,
) -> None:
    """Encode every missing shard of some teachers; what is committed is not encoded again.

    Args:
        run: The run.
        teachers: Which teachers.
        worker: Which of several this is, each with its share of the shards.
        executor: Who encodes; this process by default.
        engine: What runs the teachers, a row of ``teacher_cache.engines.ENGINES``.
        options: How their transformers are computed.

    Raises:
        PipeError: The store belongs to another corpus, a teacher's settings changed, a teacher
            cannot be loaded or run on the engine, or its vectors are unsound.
    """
    corpus = Corpus.open(run.corpus)
    _fill(run, run.store, corpus, teachers, worker, executor, engine, options)


def teach_captions(
    run: Run,
    worker: Worker = ALONE,
    executor: Executor | None = None,
    engine: str = "transformers",
    options: TowerOptions = AS_USUAL,
) -> None:
    """Encode every caption of the image-caption pairs that is not encoded yet.

    Args:
        run: The run.
        worker: As for ``teach``.
        executor: As for ``teach``.
        engine: As for ``teach``.
        options: As for ``teach``.

    Raises:
        PipeError: The recipe has no pairs, they are not prepared, or the last stage on texts is
            not finished, or was trained anew since captions were encoded.
    """
    if run.recipe.pairs is None:
        raise PipeError(
            "the recipe has no image-caption pairs; add [pairs], as docs/images.md says."
        )
    captions = PairCorpus.open(run.pairs).captions
    teachers = [captions_teacher(run)]
    with of_captions():
        _fill(run, run.pairs_store, captions, teachers, worker, executor, engine, options)


def _fill(
    run: Run,
    directory: Path,
    corpus: Corpus,
    teachers: Sequence[TeacherConfig],
    worker: Worker,
    executor: Executor | None,
    engine: str,
    options: TowerOptions,
) -> None:
    for teacher in teachers:
        check_engine(engine, teacher, options)
    store = TeacherStore.create(directory, corpus)
    for teacher in teachers:
        require_whole(store, teacher.name, worker)
        load = partial(_load, teacher, engine, corpus, options)
        worked = bool(worker.share(_missing(store, teacher.name)))
        with session(run.directory, f"teacher {teacher.name}", worked=worked):
            fill_share(store, corpus, teacher, load, say, worker, executor, engine)


def _missing(store: TeacherStore, teacher: str) -> list[int]:
    committed = store.committed(teacher) if teacher in store.teachers else ()
    return store.layout.missing(committed)


def _load(teacher: TeacherConfig, engine: str, corpus: Corpus, options: TowerOptions) -> Encoder:
    quiet_libraries()
    say(f"{teacher.name}: loading the model and checking it")
    return load_for_corpus(engine, teacher, corpus, say, options=options)
