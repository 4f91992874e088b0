"""A place: a directory or an fsspec URL that is laid out as a run, with its store and its corpus.

Nothing here joins a name that came from elsewhere: the names below a place are made from checked
teachers' names and from numbers.
"""

import re
from dataclasses import dataclass
from typing import Final

from data_prep.errors import UsageError
from teacher_cache.remote_files import RemoteFiles

RECIPE: Final = "recipe.toml"

_TEACHER = r"[a-z0-9][a-z0-9._-]*"
_SMALL_FILES: Final = re.compile(
    rf"manifest\.json|vectors\.zarr/zarr\.json|vectors\.zarr/{_TEACHER}/zarr\.json"
    rf"|commits/{_TEACHER}/\d{{5,}}\.json|canary/{_TEACHER}\.json|heads/{_TEACHER}\.safetensors"
)


@dataclass(frozen=True)
class Place:
    """Where a run's corpus and store lie.

    Attributes:
        location: The URL or directory that holds ``store`` and ``corpus``.
    """

    location: str

    @classmethod
    def of(cls, location: str) -> "Place":
        """Read what a user names.

        Args:
            location: A directory or an fsspec URL; that of the store itself is taken as well.

        Returns:
            The place.

        Raises:
            PipeError: The server does not answer.
            UsageError: It is empty, as an unset variable is.
        """
        if not location.strip():
            raise UsageError("found an empty name for a place, expected a directory or a URL.")
        location = location.rstrip("/")
        around = location.removesuffix("/store")
        if around != location:
            # A run may be called so, too.
            files = RemoteFiles(location)
            run = ("store/manifest.json", "corpus/manifest.json", RECIPE)
            if not files.exists("manifest.json") and any(map(files.exists, run)):
                around = location
        return cls(around or "/")

    def __str__(self) -> str:
        return self.location

    @property
    def files(self) -> RemoteFiles:
        """All of it."""
        return RemoteFiles(self.location)

    @property
    def store(self) -> RemoteFiles:
        """The store's files."""
        return self.files / "store"

    @property
    def corpus(self) -> RemoteFiles:
        """The corpus's files."""
        return self.files / "corpus"


def is_small(name: str) -> bool:
    """Whether a file of a store is one of those beside the shards.

    Args:
        name: Relative to the store.
    """
    return _SMALL_FILES.fullmatch(name) is not None


def shard_file(teacher: str, shard: int) -> str:
    """Name a shard's file, relative to the store.

    Args:
        teacher: The teacher's name.
        shard: The shard's number.
    """
    return f"vectors.zarr/{teacher}/c/{shard}/0"


def commit_file(teacher: str, shard: int) -> str:
    """Name a shard's commit record, relative to the store.

    Args:
        teacher: The teacher's name.
        shard: The shard's number.
    """
    return f"commits/{teacher}/{shard:05d}.json"


def head_file(teacher: str) -> str:
    """Name the file of a teacher's last layer, relative to the store.

    Args:
        teacher: The teacher's name.
    """
    return f"heads/{teacher}.safetensors"


def canary_file(teacher: str) -> str:
    """Name a teacher's canary record, relative to the store.

    Args:
        teacher: The teacher's name.
    """
    return f"canary/{teacher}.json"
