"""Writing a shard: checked, put in place whole, then committed; safe against kills and rivals.

A shard's file is placed once and never replaced after its commit. A writer that finds a file in
its place (a killed writer's, or a rival's that is about to commit) keeps it if it holds the vectors
that this writer has, up to the differences between machines, and commits that file. The digest in a
commit is always computed from the file in place, so a commit describes the file beside it, whoever
wrote which. The array's attributes tie its files to the corpus and the teacher, so that a file
without a commit is still known to come from the same texts and settings.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from data_prep.files import refuse_link, refuse_links, sync
from teacher_cache.arrays import shard_path
from teacher_cache.commits import CommitLog
from teacher_cache.manifest import Commit, TeacherEntry
from teacher_cache.mapped_shard import MappedShard, map_shard
from teacher_cache.packing import check_rows
from teacher_cache.placing import place_if_absent
from teacher_cache.reader import ShardReader
from teacher_cache.shard_check import check_file, digest_of_rows
from teacher_cache.shard_file import ShardShape, write_shard
from teacher_cache.storage import Storage, Stored

SAME_VECTOR_COSINE = 0.999
"""Two machines' vectors of one text are at least this close; other texts' are nowhere near."""

_ABANDONED_AFTER = 3600.0
"""Seconds after which scratch is a killed writer's; placing a shard takes seconds."""

_MOST_ATTEMPTS = 5


class ShardWriter:
    """Places and commits the shards of a store."""

    def __init__(self, directory: Path, commits: CommitLog, reader: ShardReader) -> None:
        """Point at a store.

        Args:
            directory: The store's directory.
            commits: Its commit records.
            reader: Says what a shard's file holds.
        """
        self._vectors = directory / "vectors.zarr"
        self._scratch = directory / "scratch"
        self._commits = commits
        self._reader = reader

    def write(
        self,
        entry: TeacherEntry,
        storage: Storage,
        shard: int,
        given: npt.NDArray[np.floating],
        text_digest: str,
        seconds: float | None,
        engine: str | None,
    ) -> Commit:
        """Write a shard, unless it is committed already.

        Args:
            entry: The teacher.
            storage: How its vectors are kept.
            shard: The shard's number.
            given: What the encoder gave, (n, storage.inputs), float32 or float16.
            text_digest: Of the texts that were encoded.
            seconds: How long encoding took, if that is known.
            engine: What ran the teacher, if that is known.

        Returns:
            The shard's commit: this writer's, or that of a rival who was first.

        Raises:
            PipeError: The vectors are unsound, or a rival commits quite different ones.
        """
        shape = self._reader.shape(entry, shard)
        refuse_links(self._place(entry, shard), self._vectors.parent)
        stored = check_rows(storage, given, self._commits.layout.range_of(shard), entry)
        with self._own_scratch(entry, shard) as scratch:
            for attempt in range(_MOST_ATTEMPTS):
                standing = self._commits.read(entry, shard)
                if standing is not None:
                    return standing
                source = scratch / f"shard-{attempt}"
                write_shard(source, stored, shape)
                claimed = self._claim(entry, storage, shape, shard, source, stored, scratch)
                if claimed is None:
                    continue
                digest, checksums = claimed
                commit = self._commits.new(
                    entry, shard, text_digest, digest, checksums, seconds, engine
                )
                if self._commits.write_if_absent(commit, scratch):
                    return commit
                standing = self._commits.read(entry, shard)
                if standing is not None and standing.vectors_digest == digest:
                    return standing
                # One of the two files was moved aside before its commit; go by what stands there.
                found = self._in_place(entry, shard, shape)
                if found is not None and digest_of_rows(*found.chunks()) == digest:
                    self._commits.replace(commit)
                    return commit
        raise PipeError(
            f"another worker keeps placing different vectors of {entry.config.name} for shard "
            f"{shard}, expected equal ones from equal settings; stop one of the two and compare "
            "their software versions."
        )

    def adopt(self, commit: Commit, path: Path, entry: TeacherEntry) -> bool:
        """Take over a shard that another store has committed, unless it is committed here.

        Args:
            commit: Its record there.
            path: A checked file of it, which stays where it is.
            entry: The teacher.

        Returns:
            Whether it has been taken over.

        Raises:
            PipeError: The store cannot be written to.
        """
        target = self._place(entry, commit.shard)
        refuse_links(target, self._vectors.parent)
        with self._own_scratch(entry, commit.shard) as scratch:
            for _ in range(_MOST_ATTEMPTS):
                if self._commits.read(entry, commit.shard) is not None:
                    return False
                source = scratch / "shard"
                if not source.exists():
                    self._bring(path, source, entry, commit)
                if not place_if_absent(source, target) and not self._is_committed_as(
                    entry, commit, target
                ):
                    # Left by a writer that was killed before its commit.
                    self._set_aside(target, scratch)
                    continue
                if self._commits.write_if_absent(commit, scratch):
                    return True
        return False

    def _bring(self, path: Path, source: Path, entry: TeacherEntry, commit: Commit) -> None:
        """Bring a file to a writer's scratch.

        One of another store is copied: were it linked, damage to one would be damage to both.
        """
        if path.is_relative_to(self._scratch):
            _link_or_copy(path, source)
        else:
            shutil.copyfile(path, source)
            check_file(source, self._reader.shape(entry, commit.shard), commit)

    def _is_committed_as(self, entry: TeacherEntry, commit: Commit, path: Path) -> bool:
        try:
            check_file(path, self._reader.shape(entry, commit.shard), commit)
        except PipeError:
            return False
        return True

    def _claim(
        self,
        entry: TeacherEntry,
        storage: Storage,
        shape: ShardShape,
        shard: int,
        source: Path,
        stored: Stored,
        scratch: Path,
    ) -> tuple[str, list[int]] | None:
        """Make sure that a file with these rows stands; what its commit says of it, or None."""
        target = self._place(entry, shard)
        mine = place_if_absent(source, target)
        found = self._in_place(entry, shard, shape)
        if found is not None:
            if not mine:  # its writer may have been killed before its name was durable
                sync(target)
                sync(target.parent)
            digest = digest_of_rows(*found.chunks())
            if mine or digest == digest_of_rows(stored):
                return digest, [*found.checksums]
            # A rival on another machine commits within seconds; what is older is a dead one's.
            recent = time.time() - target.stat().st_mtime < _ABANDONED_AFTER
            theirs = found.take(slice(0, shape.rows))
            if recent and _same_vectors(storage, entry, theirs, stored):
                return digest, [*found.checksums]
        # Nobody's: not committed, and not what the settings that the array is tied to give.
        if self._commits.read(entry, shard) is None and target.exists():
            self._set_aside(target, scratch)
        return None

    def _place(self, entry: TeacherEntry, shard: int) -> Path:
        return shard_path(self._vectors / entry.config.name, shard)

    @staticmethod
    def _set_aside(target: Path, scratch: Path) -> None:
        with suppress(FileNotFoundError):  # a rival was faster
            target.replace(Path(tempfile.mkdtemp(dir=scratch)) / "shard")

    def _in_place(self, entry: TeacherEntry, shard: int, shape: ShardShape) -> MappedShard | None:
        """A shard's file, if it is whole."""
        try:
            mapped = map_shard(self._place(entry, shard), shape)
            mapped.check()
        except PipeError:
            return None
        return mapped

    @contextmanager
    def _own_scratch(self, entry: TeacherEntry, shard: int) -> Iterator[Path]:
        path = self._scratch / "none"
        refuse_link(self._scratch)
        try:
            self._scratch.mkdir(exist_ok=True)
            prefix = f"{entry.config.name}-{shard:05d}-"
            path = Path(tempfile.mkdtemp(dir=self._scratch, prefix=prefix))
            yield path
        except OSError as error:
            raise PipeError(
                f"shard {shard} of {entry.config.name} could not be written ({error}), expected "
                "room and permission there; make room, and the same command goes on."
            ) from error
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the scratch of writers that were killed more than an hour ago.

        Raises:
            PipeError: The scratch is a symbolic link.
        """
        refuse_link(self._scratch)
        if not self._scratch.is_dir():
            return
        for path in self._scratch.iterdir():
            with suppress(FileNotFoundError):  # a writer that has finished meanwhile
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    shutil.rmtree(path, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _same_vectors(storage: Storage, entry: TeacherEntry, one: Stored, other: Stored) -> bool:
    left, right = (np.empty((len(one), entry.config.dim), np.float32) for _ in range(2))
    storage.unpack(one, 1.0, left)
    storage.unpack(other, 1.0, right)
    return bool((np.einsum("nd,nd->n", left, right) >= SAME_VECTOR_COSINE).all())
