"""The store: every teacher's vector of every row of a corpus, written once, read for weeks."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from data_prep.fingerprint import explain_change
from teacher_cache.arrays import shard_path
from teacher_cache.commits import CommitLog
from teacher_cache.config import TeacherConfig
from teacher_cache.layout import ShardLayout
from teacher_cache.linear_head import LinearHead
from teacher_cache.manifest import Commit, StoreManifest, TeacherEntry
from teacher_cache.manifest_file import create_manifest, read_manifest
from teacher_cache.reader import ShardReader
from teacher_cache.roster import Roster
from teacher_cache.shard_check import check_file, sound_blocks
from teacher_cache.shard_file import ShardShape
from teacher_cache.shard_source import LocalShards, ShardSource
from teacher_cache.storage import Storage, Stored
from teacher_cache.target import target_scales
from teacher_cache.writer import ShardWriter

if TYPE_CHECKING:
    from data_prep.corpus import Corpus


class TeacherStore:
    """The vectors of any number of teachers for the rows of one corpus.

    On disk: ``manifest.json``; ``vectors.zarr``, a Zarr v3 group with one array per teacher;
    ``commits/<teacher>/<shard>.json``. Only committed rows exist.

    Attributes:
        directory: Where it lies.
        layout: Its shards.
        corpus_fingerprint: Of the corpus whose rows these are.
        roster: Its teachers, and what stands around their shards.
    """

    def __init__(
        self, directory: Path, manifest: StoreManifest, shards: ShardSource | None = None
    ) -> None:
        """Use ``create`` or ``open``.

        Args:
            directory: The store's directory.
            manifest: What it says about itself.
            shards: Where its shards' files come from; None: from the directory.
        """
        self.directory = directory
        self.layout = ShardLayout(manifest.rows, manifest.rows_per_shard)
        self.corpus_fingerprint = manifest.corpus_fingerprint
        self._commits = CommitLog(directory / "commits", self.layout)
        self.roster = Roster(directory, manifest, self._commits)
        self._shards = shards or LocalShards(directory / "vectors.zarr")
        self._reader = ShardReader(self.layout, self._commits, self._shards, self.roster.storage)
        self._writer = ShardWriter(directory, self._commits, self._reader)

    def __reduce__(self) -> tuple[object, tuple[Path, StoreManifest, ShardSource]]:
        # A worker process maps the shards itself.
        return (type(self), (self.directory, self.roster.manifest, self._shards))

    @classmethod
    def create(cls, directory: Path, corpus: "Corpus") -> Self:
        """Make an empty store for a corpus, or open the one that stands there.

        Args:
            directory: Where it belongs.
            corpus: The corpus.

        Returns:
            The store.

        Raises:
            PipeError: A store of another corpus stands there, or it is damaged.
        """
        create_manifest(directory, corpus.fingerprint, corpus.rows, corpus.rows_per_shard)
        return cls.open(directory, corpus)

    @classmethod
    def open(
        cls,
        directory: Path,
        corpus: "Corpus | None" = None,
        *,
        check_commits: bool = True,
        shards: ShardSource | None = None,
    ) -> Self:
        """Open a store and check what can be checked without reading vectors.

        Args:
            directory: Where it lies.
            corpus: The corpus that it should belong to, if that is at hand.
            check_commits: Whether to check the array's metadata and every commit record;
                ``verify`` opens without, to report all that is wrong.
            shards: Where the shards' files come from; None: from the directory.

        Returns:
            The store.

        Raises:
            PipeError: There is none, it is damaged, it belongs to another corpus, or a commit does
                not agree with its teacher, its rows or the corpus's texts.
        """
        store = cls(directory, read_manifest(directory), shards)
        if corpus is not None:
            store.check_corpus(corpus)
        if check_commits:
            store.roster.check_group()
            for entry in store.teachers.values():
                store.roster.check_array(entry)
                if store.roster.has_head(entry):  # `teach` restores one that was set aside
                    store.roster.check_head(entry)
                store._check_commits(entry, corpus)
        return store

    @property
    def corpus_identity(self) -> dict[str, object]:
        """What two stores of one corpus have in common: its fingerprint, its rows, its shards."""
        return {
            "fingerprint": self.corpus_fingerprint,
            "rows": self.layout.rows,
            "rows_per_shard": self.layout.rows_per_shard,
        }

    def check_corpus(self, corpus: "Corpus") -> None:
        """Check that the store was made from this corpus.

        Args:
            corpus: The corpus.

        Raises:
            PipeError: It was made from another.
        """
        found = self.corpus_identity
        wanted = {
            "fingerprint": corpus.fingerprint,
            "rows": corpus.rows,
            "rows_per_shard": corpus.rows_per_shard,
        }
        if found != wanted:
            raise PipeError(
                f"the store in {self.directory} was made from another corpus "
                f"({explain_change(found, wanted)}); use the corpus that it was made from, or "
                "another --run for this one."
            )

    def _check_commits(self, entry: TeacherEntry, corpus: "Corpus | None") -> None:
        for shard in sorted(self._commits.shards(entry.config.name)):
            commit = self._commits.read(entry, shard)
            if corpus is None or commit is None:
                continue
            if commit.text_digest != corpus.text_digest(shard):
                raise PipeError(
                    f"the vectors of {entry.config.name} for shard {shard} were made from texts "
                    f"with digest {commit.text_digest[:12]}, expected the corpus's "
                    f"{corpus.text_digest(shard)[:12]}; `pipe store repair` sets the shard aside, "
                    "and `pipe teach` encodes it again."
                )

    @property
    def teachers(self) -> Mapping[str, TeacherEntry]:
        """The store's teachers by name, in the order of their names."""
        return self.roster.teachers

    def entry(self, teacher: str) -> TeacherEntry:
        """Look up a teacher.

        Args:
            teacher: Its name.

        Returns:
            Its settings and their fingerprint.

        Raises:
            PipeError: The store does not have it.
        """
        return self.roster.entry(teacher)

    def storage(self, teacher: str) -> Storage:
        """Say how a teacher's vectors are kept.

        Args:
            teacher: Its name.

        Returns:
            Its storage.

        Raises:
            PipeError: The store does not have it, or its last layer is missing or damaged.
        """
        return self.roster.storage(self.entry(teacher))

    def add_teacher(self, config: TeacherConfig, head: LinearHead | None = None) -> TeacherEntry:
        """Make room for a teacher; nothing happens if the store has it with the same settings.

        Args:
            config: Its settings.
            head: Its last layer, if its storage is ``factored``; one that stands needs none.

        Returns:
            Its entry in the manifest.

        Raises:
            PipeError: The store has it with other settings, or a last layer is wanting.
        """
        return self.roster.add(config, head)

    def committed(self, teacher: str) -> frozenset[int]:
        """List the shards that exist, as they stand on disk now.

        Args:
            teacher: The teacher's name.

        Returns:
            Their numbers.

        Raises:
            PipeError: The store does not have this teacher.
        """
        return self._commits.shards(self.entry(teacher).config.name)

    def missing(self, teacher: str) -> list[int]:
        """List the shards that are still to be encoded.

        Args:
            teacher: The teacher's name.

        Returns:
            Their numbers, ascending.

        Raises:
            PipeError: The store does not have this teacher.
        """
        return self.layout.missing(self.committed(teacher))

    def commit(self, teacher: str, shard: int) -> Commit | None:
        """Read a shard's commit record.

        Args:
            teacher: The teacher's name.
            shard: The shard's number.

        Returns:
            The record; None if the shard is not committed.

        Raises:
            PipeError: The record is damaged or belongs to something else.
        """
        return self._commits.read(self.entry(teacher), shard)

    def write_shard(
        self,
        teacher: str,
        shard: int,
        vectors: npt.NDArray[np.floating],
        text_digest: str,
        seconds: float | None = None,
        engine: str | None = None,
    ) -> Commit:
        """Store and commit a shard's vectors, unless it is committed already.

        Args:
            teacher: The teacher's name.
            shard: The shard's number.
            vectors: (n, dim), float32 or float16, unit rows, which are normalised in float32; for a
                factored teacher its pooled states, (n, state_dim).
            text_digest: Of the texts that were encoded, ``Corpus.text_digest(shard)``.
            seconds: How long encoding took, if that is known.
            engine: What ran the teacher, a row of ``engines.ENGINES``, if that is known.

        Returns:
            The shard's commit.

        Raises:
            PipeError: Wrong shape, or a vector is not finite or not of unit norm.
        """
        entry = self.entry(teacher)
        storage = self.roster.storage(entry)
        return self._writer.write(entry, storage, shard, vectors, text_digest, seconds, engine)

    def adopt_shard(self, commit: Commit, path: Path) -> bool:
        """Take over a shard from another store, unless it is committed here.

        Args:
            commit: Its record there, of a teacher that this store has.
            path: Its file, checked with ``check_file``; it stays where it is.

        Returns:
            Whether it has been taken over.

        Raises:
            PipeError: The store does not have the teacher, or cannot be written to.
        """
        return self._writer.adopt(commit, path, self.entry(commit.teacher))

    def shape(self, teacher: str, shard: int) -> ShardShape:
        """Say what a shard's file holds.

        Args:
            teacher: The teacher's name.
            shard: The shard's number.

        Returns:
            Its rows, columns and type.

        Raises:
            PipeError: The store does not have this teacher, or there is no such shard.
        """
        return self._reader.shape(self.entry(teacher), shard)

    def check_file(self, path: Path, commit: Commit) -> None:
        """Check all of a shard's file, wherever it lies, against its commit.

        Args:
            path: The file.
            commit: Its record, of a teacher that this store has.

        Raises:
            PipeError: The file is not whole, or not what was committed.
        """
        check_file(path, self.shape(commit.teacher, commit.shard), commit)

    def check_blocks(self, teacher: str, commit: Commit) -> Iterator[tuple[int, Stored]]:
        """Check all of a shard's file in its place against its commit, in bounded memory.

        Args:
            teacher: The teacher's name.
            commit: The shard's record.

        Yields:
            The place of a block's first row, and its rows as they are stored, (n, columns).

        Raises:
            PipeError: The file is missing, not whole, or, after the last block, not what was
                committed.
        """
        entry = self.entry(teacher)
        path = self._shards.path(entry, commit)
        return sound_blocks(path, self._reader.shape(entry, commit.shard), commit)

    def check_shard(self, teacher: str, shard: int) -> None:
        """Check a committed shard without reading its vectors: record, file, index, checksums.

        Args:
            teacher: The teacher's name.
            shard: The shard's number.

        Raises:
            PipeError: It is not committed, its record is damaged, or its file is missing, not
                whole, or not the one that was committed.
        """
        self._reader.check(self.entry(teacher), shard, chunks=False)

    def check_chunks(self, teachers: Sequence[str] | None = None) -> None:
        """Read every committed chunk against its record now, so that later reads check nothing.

        Without this a chunk is checked when one of its 64 rows is first read: right for training,
        which reads whole blocks, and slow for the first random rows of a store.

        Args:
            teachers: Of which teachers; all if None.

        Raises:
            PipeError: A shard is damaged.
        """
        for name in teachers or self.teachers:
            for shard in sorted(self.committed(name)):
                self._reader.check(self.entry(name), shard, chunks=True)

    def shard_path(self, teacher: str, shard: int) -> Path:
        """Say where the file of a shard belongs.

        Args:
            teacher: The teacher's name.
            shard: The shard's number.

        Returns:
            The path in this store's directory, whether or not there is a file.
        """
        return shard_path(self.directory / "vectors.zarr" / teacher, shard)

    def commit_path(self, teacher: str, shard: int) -> Path:
        """Say where the record of a shard belongs.

        Args:
            teacher: The teacher's name.
            shard: The shard's number.

        Returns:
            The path, whether or not there is a file.
        """
        return self._commits.path(teacher, shard)

    def sweep_scratch(self) -> None:
        """Remove what writers that were killed more than an hour ago have left."""
        self._writer.sweep()

    def expect(self, rows: npt.NDArray[np.integer], teachers: Sequence[str] | None = None) -> None:
        """Say which rows will be read next, so that a remote store fetches them; returns at once.

        Args:
            rows: Row numbers, in the order in which they will be asked for.
            teachers: Of which teachers; all if None.

        Raises:
            PipeError: A row does not exist, or a commit is damaged.
        """
        self._reader.expect([self.entry(name) for name in teachers or self.teachers], rows)

    def read_stored(self, teacher: str, rows: npt.NDArray[np.integer]) -> Stored:
        """Read one teacher's rows as they are stored.

        Args:
            teacher: The teacher's name.
            rows: Row numbers in any order, shape (n,).

        Returns:
            (n, columns) of the teacher's storage type: (n, dim) float16 by default. Read-only where
            it is a view of the file.

        Raises:
            PipeError: A row does not exist, is not committed, or its shard is damaged.
        """
        return self._reader.stored(self.entry(teacher), np.asarray(rows))

    def read_states(self, teacher: str, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Read the pooled states that a factored teacher's vectors are made from.

        Args:
            teacher: The teacher's name.
            rows: Row numbers in any order, shape (n,).

        Returns:
            (n, state_dim) float32, not normalised.

        Raises:
            PipeError: The teacher's storage is not factored; or as ``read_stored``.
        """
        entry = self.entry(teacher)
        if entry.head is None:
            raise PipeError(
                f"found the storage {entry.config.storage!r} of teacher {teacher}, expected "
                '"factored", which alone keeps pooled states; encode the teacher so, or do '
                "without its states."
            )
        return self.read_stored(teacher, rows).astype(np.float32)

    def read_teacher(self, teacher: str, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Read one teacher's vectors.

        Args:
            teacher: The teacher's name.
            rows: Row numbers in any order, shape (n,).

        Returns:
            (n, dim) float32, unit rows.

        Raises:
            PipeError: A row does not exist, is not committed, or its shard is damaged.
        """
        return self.read(rows, [teacher])

    def read(
        self,
        rows: npt.NDArray[np.integer],
        teachers: Sequence[str] | None = None,
        weights: Sequence[float] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Read targets: the teachers' unit vectors side by side, as one unit vector.

        Teacher k is scaled by sqrt(w_k / sum of w), so that the similarity of two targets is the
        weighted mean of the teachers' similarities. With equal weights this is the division by
        sqrt(k) that follows from concatenating and normalising (paper, section 2.1).

        Args:
            rows: Row numbers in any order, shape (n,).
            teachers: Names in the order of the columns; all in the order of their names if None.
            weights: One positive number per teacher; equal if None.

        Returns:
            (n, T) float32, T the sum of the teachers' dims.

        Raises:
            PipeError: A row does not exist, is not committed, or its shard is damaged.
        """
        rows = np.asarray(rows)
        entries = [self.entry(name) for name in teachers or self.teachers]
        scales = target_scales(len(entries), weights)
        out = np.empty((len(rows), sum(entry.config.dim for entry in entries)), np.float32)
        self._reader.scaled(entries, scales, rows, out)
        return out
