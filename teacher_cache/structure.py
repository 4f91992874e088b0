"""What stands around the shards of a store: is it what it should be, and does it belong there?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from data_prep.errors import PipeError
from data_prep.files import refuse_links
from teacher_cache.canary_record import CanaryRecord
from teacher_cache.commits import record_name
from teacher_cache.manifest import read_record
from teacher_cache.store import TeacherStore

Kind = Literal[
    "manifest",
    "corpus",
    "group",
    "array",
    "head",
    "canary",
    "commit",
    "file",
    "values",
    "texts",
    "duplicates",
    "stray",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a store.

    Attributes:
        teacher: The teacher's name; None if it concerns the whole store.
        shard: The shard's number; None if it concerns all of the teacher's.
        kind: What is wrong: the manifest, the corpus, the Zarr group, a teacher's array, its last
            layer, its canary record, a commit record, a shard's file, the values of its vectors,
            the texts of a shard (the corpus's own if there is no teacher), vectors that are the
            same, or a file that does not belong where it is.
        message: What was found and what was expected.
        severity: A warning is worth a look; an error must not be trained on.
        path: The file that is to be set aside, relative to the store, where it is no shard's.
    """

    teacher: str | None
    shard: int | None
    kind: Kind
    message: str
    severity: Literal["error", "warning"] = "error"
    path: str | None = None


def store_problems(store: TeacherStore) -> Iterator[Problem]:
    """Check what concerns the whole store: the Zarr group, and records of unknown teachers.

    Args:
        store: The store.

    Yields:
        What is wrong.
    """
    try:
        store.roster.check_group()
    except PipeError as error:
        yield Problem(None, None, "group", str(error))
    yield from _unknown_records(store)


def structure_problems(store: TeacherStore, teacher: str) -> Iterator[Problem]:
    """Check what stands around a teacher's shards: array metadata, last layer, canary, strays.

    Args:
        store: The store.
        teacher: The teacher's name.

    Yields:
        What is wrong.
    """
    checks: list[tuple[Kind, Callable[[], None], str | None]] = [
        ("array", lambda: store.roster.check_array(store.entry(teacher)), None),
        (
            "head",
            lambda: store.roster.check_head(store.entry(teacher)),
            f"heads/{teacher}.safetensors",
        ),
        ("canary", lambda: _check_canary(store, teacher), f"canary/{teacher}.json"),
    ]
    for kind, check, path in checks:
        try:
            check()
        except PipeError as error:
            yield Problem(teacher, None, kind, str(error), path=path)
    yield from _strays(store, teacher)


def _check_canary(store: TeacherStore, teacher: str) -> None:
    path = store.directory / "canary" / f"{teacher}.json"
    refuse_links(path, store.directory)
    if not path.exists():
        return
    found = read_record(path, CanaryRecord).teacher
    if found != teacher:
        raise PipeError(
            f"found the canary vectors of {found} in {path}, expected those of {teacher}; "
            "`pipe store repair` sets them aside, and `pipe teach` gets them again."
        )


def _unknown_records(store: TeacherStore) -> Iterator[Problem]:
    """What lies in ``commits`` beside the records of the store's teachers."""
    commits = store.directory / "commits"
    if commits.is_symlink() or not commits.is_dir():
        return
    for path in sorted(commits.iterdir()):
        if path.name in store.teachers or path.name.startswith("."):
            continue
        yield Problem(
            None,
            None,
            "stray",
            f"found {path}, which belongs to no teacher of the manifest; it is not used, and "
            "`pipe teach` takes it up again if its settings are those of the recipe's teacher.",
            "warning",
        )


def _strays(store: TeacherStore, teacher: str) -> Iterator[Problem]:
    """What lies among a teacher's records and is none."""
    directory = store.commit_path(teacher, 0).parent
    if directory.is_symlink() or not directory.is_dir():
        return
    try:
        known = {record_name(shard) for shard in store.committed(teacher)}
    except PipeError:
        return  # told by whoever reads the records
    for path in sorted(directory.iterdir()):
        # A name with a dot in front is a writer's unfinished file, or the file system's.
        if path.name not in known and not path.name.startswith("."):
            message = f"found {path}, expected nothing but records such as {record_name(0)} there"
            message += "; `pipe store repair` sets it aside."
            yield Problem(teacher, None, "stray", message, path=f"commits/{teacher}/{path.name}")


def uncommitted(store: TeacherStore, teacher: str) -> int:
    """Count shard files without a record, which a writer may be about to commit.

    Args:
        store: The store.
        teacher: The teacher's name.

    Returns:
        How many there are.

    Raises:
        PipeError: The teacher's records cannot be listed.
    """
    places = store.shard_path(teacher, 0).parents[1]
    if places.is_symlink() or not places.is_dir():
        return 0
    committed = {str(shard) for shard in store.committed(teacher)}
    return sum((place / "0").is_file() for place in places.iterdir() if place.name not in committed)
