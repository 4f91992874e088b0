"""The store: every teacher's vector of every row of a corpus, written once, read for weeks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from data_prep.fingerprint import explain_change
from teacher_cache.commits import CommitLog
from teacher_cache.config import TeacherConfig
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest import Commit, StoreManifest, TeacherEntry
from teacher_cache.reader import ShardReader, target_scales
from teacher_cache.roster import Roster, create_manifest, read_manifest
from teacher_cache.writer import ShardWriter

if TYPE_CHECKING:
    from data_prep.corpus import Corpus


class TeacherStore:
    """The vectors of any number of teachers for the rows of one corpus.

    On disk: ``manifest.json``; ``vectors.zarr``, a Zarr v3 group with one (rows, dim) float16 array
    per teacher; ``commits/<teacher>/<shard>.json``. Only committed rows exist.

    Attributes:
        directory: Where it lies.
        layout: Its shards.
        corpus_fingerprint: Of the corpus whose rows these are.
    """

    def __init__(self, directory: Path, manifest: StoreManifest) -> None:
        """Use ``create`` or ``open``.

        Args:
            directory: The store's directory.
            manifest: What it says about itself.
        """
        self.directory = directory
        self.layout = ShardLayout(manifest.rows, manifest.rows_per_shard)
        self.corpus_fingerprint = manifest.corpus_fingerprint
        self._commits = CommitLog(directory / "commits", self.layout)
        self._roster = Roster(directory, manifest, self._commits)
        self._writer = ShardWriter(directory, self.layout, self._commits)
        self._reader = ShardReader(directory / "vectors.zarr", self.layout, self._commits)

    def __reduce__(self) -> tuple[object, tuple[Path, StoreManifest]]:
        # A worker process maps the shards itself.
        return (type(self), (self.directory, self._roster.manifest))

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
        cls, directory: Path, corpus: "Corpus | None" = None, *, check_commits: bool = True
    ) -> Self:
        """Open a store and check what can be checked without reading vectors.

        Args:
            directory: Where it lies.
            corpus: The corpus that it should belong to, if that is at hand.
            check_commits: Whether to check the array's metadata and every commit record;
                ``verify`` opens without, to report all that is wrong.

        Returns:
            The store.

        Raises:
            PipeError: There is none, it is damaged, it belongs to another corpus, or a commit does
                not agree with its teacher, its rows or the corpus's texts.
        """
        store = cls(directory, read_manifest(directory))
        if corpus is not None:
            store.check_corpus(corpus)
        if check_commits:
            for entry in store.teachers.values():
                store.check_array(entry.config.name)
                store._check_commits(entry, corpus)
        return store

    def check_corpus(self, corpus: "Corpus") -> None:
        """Check that the store was made from this corpus.

        Args:
            corpus: The corpus.

        Raises:
            PipeError: It was made from another.
        """
        found = {
            "fingerprint": self.corpus_fingerprint,
            "rows": self.layout.rows,
            "rows_per_shard": self.layout.rows_per_shard,
        }
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

    def check_array(self, teacher: str) -> None:
        """Check that a teacher's Zarr array is the one that the manifest describes.

        Args:
            teacher: The teacher's name.

        Raises:
            PipeError: It is missing, damaged, or made for something else.
        """
        self._roster.check_array(self.entry(teacher))

    def _check_commits(self, entry: TeacherEntry, corpus: "Corpus | None") -> None:
        for shard in sorted(self._commits.shards(entry.config.name)):
            commit = self._commits.read(entry, shard)
            if corpus is None or commit is None:
                continue
            if commit.text_digest != corpus.text_digest(shard):
                raise PipeError(
                    f"the vectors of {entry.config.name} for shard {shard} were made from texts "
                    f"with digest {commit.text_digest[:12]}, expected the corpus's "
                    f"{corpus.text_digest(shard)[:12]}; remove "
                    f"{self._commits.path(entry.config.name, shard)} and the shard's file, and "
                    "encode it again."
                )

    @property
    def teachers(self) -> Mapping[str, TeacherEntry]:
        """The store's teachers by name, in the order of their names."""
        return self._roster.teachers

    def entry(self, teacher: str) -> TeacherEntry:
        """Look up a teacher.

        Args:
            teacher: Its name.

        Returns:
            Its settings and their fingerprint.

        Raises:
            PipeError: The store does not have it.
        """
        return self._roster.entry(teacher)

    def add_teacher(self, config: TeacherConfig) -> TeacherEntry:
        """Make room for a teacher; nothing happens if the store has it with the same settings.

        Args:
            config: Its settings.

        Returns:
            Its entry in the manifest.

        Raises:
            PipeError: The store has it with other settings.
        """
        return self._roster.add(config)

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
        self, teacher: str, shard: int, vectors: npt.NDArray[np.floating], text_digest: str
    ) -> Commit:
        """Store and commit a shard's vectors, unless it is committed already.

        Args:
            teacher: The teacher's name.
            shard: The shard's number.
            vectors: (n, dim), float32 or float16, unit rows; they are normalised in float32 and
                stored as float16.
            text_digest: Of the texts that were encoded, ``Corpus.text_digest(shard)``.

        Returns:
            The shard's commit.

        Raises:
            PipeError: Wrong shape, or a vector is not finite or not of unit norm.
        """
        return self._writer.write(self.entry(teacher), shard, vectors, text_digest)

    def sweep_scratch(self) -> None:
        """Remove what writers that were killed more than an hour ago have left."""
        self._writer.sweep()

    def read_teacher(self, teacher: str, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float16]:
        """Read one teacher's vectors as they are stored.

        Args:
            teacher: The teacher's name.
            rows: Row numbers in any order, shape (n,).

        Returns:
            (n, dim) float16; a read-only view when the rows run without gaps in one shard.

        Raises:
            PipeError: A row does not exist, is not committed, or its shard is damaged.
        """
        return self._reader.halves(self.entry(teacher), np.asarray(rows))

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
