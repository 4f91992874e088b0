"""How much of a disk a teacher's vectors take."""

from teacher_cache.config import TeacherConfig
from teacher_cache.manifest import TeacherEntry
from teacher_cache.storage import STORAGES
from teacher_cache.store import TeacherStore

_NEED_A_HEAD = {"factored"}


def row_bytes(teacher: TeacherConfig, store: TeacherStore | None = None) -> int | None:
    """Say how many bytes a row of a teacher takes.

    Args:
        teacher: Its settings.
        store: The store, if there is one.

    Returns:
        Bytes; None if only the loaded model could tell, because its pooled states are stored.

    Raises:
        PipeError: The store has its last layer, and that is damaged.
    """
    if store is not None and teacher.name in store.teachers:
        storage = store.storage(teacher.name)
    elif teacher.storage in _NEED_A_HEAD:
        return None
    else:
        storage = STORAGES[teacher.storage](TeacherEntry.of(teacher), None)
    return storage.columns * storage.dtype.itemsize
