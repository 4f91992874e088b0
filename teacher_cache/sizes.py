"""How much of a disk a teacher's vectors take."""

from teacher_cache.config import TeacherConfig
from teacher_cache.manifest import TeacherEntry
from teacher_cache.storage import columns_of
from teacher_cache.store import TeacherStore

_NEED_A_HEAD = {"factored"}


def row_bytes(teacher: TeacherConfig, store: TeacherStore | None = None) -> int | None:
    """Say how many bytes a row of a teacher takes.

    Args:
        teacher: Its settings.
        store: The store, if there is one.

    Returns:
        Bytes; None if only the loaded model could tell, because its pooled states are stored.
    """
    if store is not None and teacher.name in store.teachers:
        entry = store.entry(teacher.name)
    elif teacher.storage in _NEED_A_HEAD:
        return None
    else:
        entry = TeacherEntry.of(teacher)
    columns, dtype = columns_of(entry)
    return columns * dtype.itemsize
