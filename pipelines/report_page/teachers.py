"""What a run's store holds of each teacher."""

from collections.abc import Iterator
from pathlib import Path

from data_prep.errors import PipeError
from pipelines.captions_progress import captions_progress
from pipelines.report_page.facts import Found, TeacherFacts
from pipelines.run import Run
from pipelines.suggestions import in_run
from student.card_front import public_name
from student.config import CAPTIONS_TEACHER
from teacher_cache.config import TeacherConfig
from teacher_cache.progress import TeacherProgress, teacher_progress
from teacher_cache.storage import columns_of
from teacher_cache.store import TeacherStore


def gather_teachers(run: Run) -> Found[tuple[TeacherFacts, ...]]:
    """Look at the store; no vector is read.

    Args:
        run: The run.

    Returns:
        The recipe's teachers and, of a recipe with image-caption pairs, the one of the captions.
    """
    notes: list[str] = []
    store = _open(run.store, notes)
    broken = bool(notes)
    facts = [_teacher(run, teacher, store, broken, notes) for teacher in run.recipe.teachers]
    if run.recipe.pairs is not None:
        facts += _captions(run, notes)
    return Found(tuple(facts), tuple(notes))


def _open(directory: Path, notes: list[str]) -> TeacherStore | None:
    if not (directory / "manifest.json").exists():
        return None
    try:
        return TeacherStore.open(directory, check_commits=False)
    except PipeError as error:
        notes.append(str(error))
        return None


def _teacher(
    run: Run, teacher: TeacherConfig, store: TeacherStore | None, broken: bool, notes: list[str]
) -> TeacherFacts:
    name = teacher.name
    known = store is not None and name in store.teachers
    if store is not None and known and store.entry(name).fingerprint != teacher.fingerprint:
        notes.append(
            f"The store's vectors of {name} were made with other settings than the recipe has."
        )
    progress = teacher_progress(store, name) if store is not None else None
    if not broken:  # else nobody can tell what it has
        _say_what_is_left(run, name, progress, notes)
    return TeacherFacts(
        name=name,
        model=public_name(teacher.model)[0],
        license=teacher.license,
        dim=teacher.dim,
        weight=teacher.weight,
        storage=teacher.storage,
        progress=progress,
        complete_bytes=_complete_bytes(store, name if known else None),
    )


def _captions(run: Run, notes: list[str]) -> Iterator[TeacherFacts]:
    try:
        progress = captions_progress(run)
    except PipeError as error:
        notes.append(str(error))
        return
    store = _open(run.pairs_store, notes)
    known = store is not None and CAPTIONS_TEACHER in store.teachers
    yield TeacherFacts(
        name=f"{CAPTIONS_TEACHER} (of captions)",
        model="the student of the last stage on texts",
        license="",
        dim=store.entry(CAPTIONS_TEACHER).config.dim if store is not None and known else None,
        weight=None,
        storage=store.entry(CAPTIONS_TEACHER).config.storage if store is not None and known else "",
        progress=progress,
        complete_bytes=_complete_bytes(store, CAPTIONS_TEACHER if known else None),
    )


def _say_what_is_left(
    run: Run, name: str, progress: TeacherProgress | None, notes: list[str]
) -> None:
    teach = in_run("pipe teach", run.directory)
    if progress is None or not progress.done:
        notes.append(f"There are no vectors of {name} yet; `{teach}` encodes the corpus.")
        return
    if progress.done < progress.shards - progress.bad:
        notes.append(
            f"{progress.done:,} of {progress.shards:,} shards are encoded by {name}; "
            f"`{teach}` goes on."
        )
    if progress.bad:
        notes.append(
            f"{progress.bad:,} shards of {name} are damaged; "
            f"`{in_run('pipe store repair', run.directory)}` sets them aside."
        )


def _complete_bytes(store: TeacherStore | None, teacher: str | None) -> int | None:
    """Bytes of all rows of a teacher that the store has."""
    if store is None or teacher is None:
        return None
    columns, dtype = columns_of(store.entry(teacher))
    return store.layout.rows * columns * dtype.itemsize
