"""Where the shards' files come from: the store's directory, or a cache of a remote store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from data_prep.files import refuse_links
from teacher_cache.arrays import shard_path
from teacher_cache.manifest import Commit, TeacherEntry

MOST_MAPPED: Final = 256
"""Shards mapped at a time; each holds a file descriptor, of which a process has about 1024."""


class ShardSource(Protocol):
    """Finds or fetches the file of a committed shard; goes to worker processes by pickle."""

    @property
    def most_mapped(self) -> int:
        """Shards that a reader may keep mapped; what is mapped takes room until it is let go."""

    def path(self, entry: TeacherEntry, commit: Commit) -> Path:
        """Give the local file of a shard, fetching it if need be.

        Args:
            entry: The teacher.
            commit: The shard's commit.

        Returns:
            The file; whoever maps it may go on reading when it is removed later.

        Raises:
            PipeError: It cannot be fetched, or is not what was committed.
        """

    def discard(self, entry: TeacherEntry, commit: Commit) -> bool:
        """Hear that the file that ``path`` gave is gone or damaged.

        Args:
            entry: The teacher.
            commit: The shard's commit.

        Returns:
            Whether ``path`` will give another file.
        """

    def expect(self, wanted: Sequence[tuple[TeacherEntry, Commit]]) -> None:
        """Hear which shards will be asked for next; returns at once.

        Args:
            wanted: The shards, the most urgent first.
        """


@dataclass(frozen=True)
class LocalShards:
    """The files of a store on this machine.

    Attributes:
        vectors: The directory of the Zarr group.
    """

    vectors: Path

    @property
    def most_mapped(self) -> int:
        """As ``ShardSource``."""
        return MOST_MAPPED

    def path(self, entry: TeacherEntry, commit: Commit) -> Path:
        """As ``ShardSource``.

        Raises:
            PipeError: A symbolic link stands in the way.
        """
        path = shard_path(self.vectors / entry.config.name, commit.shard)
        refuse_links(path, self.vectors.parent)
        return path

    def discard(self, entry: TeacherEntry, commit: Commit) -> bool:
        """As ``ShardSource``: there is no other file, and this one is not touched."""
        return False

    def expect(self, wanted: Sequence[tuple[TeacherEntry, Commit]]) -> None:
        """As ``ShardSource``: nothing to fetch."""
