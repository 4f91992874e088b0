"""Whether a store's vectors are those of the teachers that a recipe names."""

from collections.abc import Iterable

from data_prep.errors import PipeError
from data_prep.fingerprint import explain_change
from teacher_cache.config import TeacherConfig
from teacher_cache.store import TeacherStore


def require_taught(store: TeacherStore, teachers: Iterable[TeacherConfig]) -> None:
    """Refuse a store whose vectors were made by other teachers of the same names.

    Args:
        store: The store.
        teachers: The teachers whose vectors will be read, with the settings of today.

    Raises:
        PipeError: The store lacks a teacher, or has it with settings that give other vectors; what
            changed is named, from what to what.
    """
    for teacher in teachers:
        name = teacher.name
        if name not in store.teachers:
            raise PipeError(
                f"the store has no teacher {name!r}; it has {', '.join(store.teachers) or 'none'}. "
                f"Run `pipe teach --teacher {name}` first."
            )
        entry = store.teachers[name]
        if entry.fingerprint != teacher.fingerprint:
            change = explain_change(entry.config.identity(), teacher.identity())
            raise PipeError(
                f"the vectors of teacher {name} in the store were made with other settings than "
                f"the recipe's: {change}; put the old settings back, or give the new teacher "
                "another name and run `pipe teach`."
            )
