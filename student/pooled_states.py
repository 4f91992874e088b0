"""Whether a stage reads its pooled states instead of computing them, and from where."""

from pathlib import Path
from typing import Final

import numpy as np

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.fingerprint import digest_of_files
from student.config import TrainingConfig
from student.encode import StudentEncoder
from student.model import Student
from student.order import TrainingOrder
from student.pooled_cache import PooledCache
from student.pooled_source import TeacherStates
from student.row_set import Rows
from student.stage_config import StageConfig
from student.stage_rows import fitting_steps
from student.used_rows import drawn_rows
from teacher_cache.open_store import RemoteStore
from teacher_cache.store import TeacherStore

LEAST_COSINE: Final = 0.999
"""Between a student's pooled state and the teacher's stored one; rounding to float16 and to
bfloat16 leaves more, another pooling, prompt or length much less."""

_CHECKED_TEXTS: Final = 32


def require_frozen(student: Student, stage: StageConfig, number: int) -> None:
    """Check that a stage's pooled states do not change while it trains.

    Args:
        student: The student, with what trains chosen.
        stage: The stage.
        number: Its number, from 1.

    Raises:
        PipeError: The stage wants them kept, and something under ``text`` trains or is dropped
            out; or it wants a teacher's, and is not the first.
    """
    wanted = _option(stage)
    if not wanted:
        return
    if any(parameter.requires_grad for parameter in student.text.parameters()):
        raise PipeError(
            f"stage {number} ({stage.name}) has {wanted} and trains "
            f"{stage.trained}, so the pooled states change at every step; expected "
            "nothing under text to train, so take the option off, or train heads alone."
        )
    if student.dropout:
        raise PipeError(
            f"stage {number} ({stage.name}) has {wanted}, and student.dropout is "
            f"{student.dropout}, so the pooled states are others at every step; set "
            "student.dropout to 0, or take the option off."
        )
    if stage.pooled_from is not None and number != 1:
        raise PipeError(
            f"stage {number} ({stage.name}) has {wanted}; expected that of stage 1 alone, whose "
            "backbone is still the start's; use cache_pooled there."
        )


def cached_states(
    student: Student,
    stage: StageConfig,
    training: TrainingConfig,
    order: TrainingOrder,
    corpus: Corpus,
    before: Path,
    root: Path,
) -> PooledCache:
    """Describe the pooled states of the rows that a stage's steps and its closed form draw.

    Args:
        student: The student.
        stage: The stage.
        training: How training runs, with every ``auto`` settled.
        order: The stage's order.
        corpus: The corpus.
        before: The saved student that the stage begins from.
        root: Where the states belong.

    Returns:
        The states, to be filled by every rank.
    """
    steps = max(stage.steps, fitting_steps(stage, order.batch_size, len(order.rows)))
    decided = {
        "student": digest_of_files(before),
        "prompts": student.prompts.model_dump(mode="json"),
        "max_tokens": student.max_tokens,
        "precision": training.precision,
        "attention": training.attention,
    }
    return PooledCache(root, corpus, drawn_rows(order, range(steps)), student.hidden, decided)


def teacher_states(
    student: Student,
    teacher: str,
    store: TeacherStore,
    order: TrainingOrder,
    corpus: Corpus,
    where: Path | RemoteStore,
) -> TeacherStates:
    """Take a factored teacher's stored states for the student's own, after comparing some.

    Args:
        student: The student, on the device to compute on.
        teacher: The teacher's name; it is in the stage's target.
        store: The store.
        order: The stage's order; its first rows are compared.
        corpus: The corpus.
        where: The store directory, or where the store lies and the cache for it.

    Returns:
        The states.

    Raises:
        PipeError: The teacher's storage is not factored, its state has another width than the
            student's, or the student does not give its states.
    """
    states = TeacherStates(corpus.directory, where, teacher)
    steps = range(min(order.steps_per_epoch, -(-_CHECKED_TEXTS // order.batch_size)))
    rows: Rows = np.concatenate([order.batch(step) for step in steps])[:_CHECKED_TEXTS]
    stored_BH = store.read_states(teacher, rows)
    if stored_BH.shape[1] != student.hidden:
        raise PipeError(
            f"found states of {stored_BH.shape[1]} numbers of teacher {teacher}, expected the "
            f"{student.hidden} of the student's pooled state; take pooled_from off, or start "
            "from the teacher's own backbone."
        )
    own_BH = StudentEncoder(student, head=None, normalize=False).encode(*corpus.take(rows))
    norms_B = np.linalg.norm(own_BH, axis=1) * np.linalg.norm(stored_BH, axis=1)
    cosines_B = np.einsum("bh,bh->b", own_BH, stored_BH) / norms_B
    if not (cosines_B >= LEAST_COSINE).all():  # NaN compares false
        raise PipeError(
            f"the student's pooled states have a cosine of {float(cosines_B.min()):.4f} to the "
            f"stored states of teacher {teacher}, expected at least {LEAST_COSINE} on each of "
            f"{len(rows)} texts; start from the teacher's backbone with its prompts and "
            "max_tokens, or use cache_pooled."
        )
    return states


def _option(stage: StageConfig) -> str:
    if stage.pooled_from is not None:
        return f"pooled_from = {stage.pooled_from!r}"
    return "cache_pooled" if stage.cache_pooled else ""
