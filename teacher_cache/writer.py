"""Writing a shard: checked, put in place whole, then committed; safe against kills and rivals.

A shard's file is placed once and never replaced after its commit. A writer that finds a file in
its place (a killed writer's, or a rival's that is about to commit) keeps it if it holds the vectors
that this writer has, up to the differences between machines, and commits that file. The digest in a
commit is always computed from the file in place, so a commit describes the file beside it, whoever
wrote which. The array's attributes tie its files to the corpus and the teacher, so that a file
without a commit is still known to come from the same texts and settings.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.arrays import shard_path, write_scratch_shard
from teacher_cache.commits import CommitLog
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest import Commit, TeacherEntry
from teacher_cache.placing import place_if_absent
from teacher_cache.shard_file import map_shard

NORM_TOLERANCE = 1e-2
"""How far from 1 a vector's norm may be; bfloat16 keeps it within 4e-3."""

SAME_VECTOR_COSINE = 0.999
"""Two machines' vectors of one text are at least this close; other texts' are nowhere near."""

_ABANDONED_AFTER = 3600.0
"""Seconds after which scratch is a killed writer's; placing a shard takes seconds."""

_MOST_ATTEMPTS = 5


def unit_halves(
    vectors: npt.NDArray[np.floating], rows: range, entry: TeacherEntry
) -> npt.NDArray[np.float16]:
    """Check a shard's vectors and bring them to the form that is stored.

    Args:
        vectors: (n, dim), float32 or float16, unit rows up to ``NORM_TOLERANCE``.
        rows: The n rows that they belong to.
        entry: The teacher.

    Returns:
        (n, dim) float16, normalised in float32 before rounding.

    Raises:
        PipeError: Wrong shape or type, or a vector is not finite or not of unit norm.
    """
    name, expected = entry.config.name, (len(rows), entry.config.dim)
    if vectors.shape != expected or vectors.dtype not in (np.float32, np.float16):
        raise PipeError(
            f"found vectors of shape {vectors.shape} and type {vectors.dtype} from {name}, expected"
            f" {expected} and float32 or float16; check the teacher's `dim` and its encoder."
        )
    single = vectors.astype(np.float32, copy=False)
    norms = np.sqrt(np.einsum("nd,nd->n", single, single))
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))  # NaN compares false
    if wrong.size:
        first = int(wrong[0])
        finite = bool(np.isfinite(single[first]).all())
        found = f"norm {norms[first]:.4g}" if finite else "NaN or infinity"
        raise PipeError(
            f"found {found} in the vector of row {rows[first]} from {name} ({wrong.size} such rows "
            f"in rows {rows.start} to {rows.stop - 1}), expected unit vectors; look at the row's "
            "text in the corpus and at the teacher's dtype. Nothing of this shard was written."
        )
    halves: npt.NDArray[np.float16] = (single / norms[:, None]).astype(np.float16)
    return halves


def digest_of_vectors(halves: npt.NDArray[np.float16]) -> str:
    """Digest vectors independently of how they are stored.

    Args:
        halves: (n, dim) float16, little-endian.

    Returns:
        SHA-256 of the numbers, row by row, in hexadecimal.
    """
    return hashlib.sha256(np.ascontiguousarray(halves).reshape(-1).view(np.uint8).data).hexdigest()


class ShardWriter:
    """Places and commits the shards of a store."""

    def __init__(self, directory: Path, layout: ShardLayout, commits: CommitLog) -> None:
        """Point at a store.

        Args:
            directory: The store's directory.
            layout: Its shards.
            commits: Its commit records.
        """
        self._vectors = directory / "vectors.zarr"
        self._scratch = directory / "scratch"
        self._layout = layout
        self._commits = commits

    def write(
        self,
        entry: TeacherEntry,
        shard: int,
        vectors: npt.NDArray[np.floating],
        text_digest: str,
    ) -> Commit:
        """Write a shard, unless it is committed already.

        Args:
            entry: The teacher.
            shard: The shard's number.
            vectors: Its vectors, (n, dim), float32 or float16, unit rows.
            text_digest: Of the texts that were encoded.

        Returns:
            The shard's commit: this writer's, or that of a rival who was first.

        Raises:
            PipeError: The vectors are unsound, or a rival commits quite different ones.
        """
        halves = unit_halves(vectors, self._layout.range_of(shard), entry)
        with self._own_scratch(entry, shard) as scratch:
            for attempt in range(_MOST_ATTEMPTS):
                standing = self._commits.read(entry, shard)
                if standing is not None:
                    return standing
                source = write_scratch_shard(
                    scratch / f"array-{attempt}", self._layout.rows_per_shard, halves
                )
                digest = self._claim(entry, shard, source, halves, scratch)
                if digest is None:
                    continue
                commit = self._commits.new(entry, shard, text_digest, digest)
                if self._commits.write_if_absent(commit, scratch):
                    return commit
                standing = self._commits.read(entry, shard)
                if standing is not None and standing.vectors_digest == digest:
                    return standing
                # One of the two files was moved aside before its commit; go by what stands there.
                in_place = self._in_place(entry, shard)
                if in_place is not None and digest_of_vectors(in_place) == digest:
                    self._commits.replace(commit)
                    return commit
        raise PipeError(
            f"another worker keeps placing different vectors of {entry.config.name} for shard "
            f"{shard}, expected equal ones from equal settings; stop one of the two and compare "
            "their software versions."
        )

    def _claim(
        self,
        entry: TeacherEntry,
        shard: int,
        source: Path,
        halves: npt.NDArray[np.float16],
        scratch: Path,
    ) -> str | None:
        """Make sure that a file with these vectors is in place; its vectors' digest, or None."""
        target = shard_path(self._vectors / entry.config.name, shard)
        mine = place_if_absent(source, target)
        found = self._in_place(entry, shard)
        if found is not None:
            digest = digest_of_vectors(found)
            if mine or digest == digest_of_vectors(halves):
                return digest
            # A rival on another machine commits within seconds; what is older is a dead one's.
            recent = time.time() - target.stat().st_mtime < _ABANDONED_AFTER
            if recent and _same_vectors(found, halves):
                return digest
        # Nobody's: not committed, and not what the settings that the array is tied to give.
        if self._commits.read(entry, shard) is None and target.exists():
            target.replace(Path(tempfile.mkdtemp(dir=scratch)) / "shard")
        return None

    def _in_place(self, entry: TeacherEntry, shard: int) -> npt.NDArray[np.float16] | None:
        """The vectors (n, dim) of the file that stands in a shard's place, if it is whole."""
        path = shard_path(self._vectors / entry.config.name, shard)
        rows = len(self._layout.range_of(shard))
        try:
            mapped = map_shard(path, rows, self._layout.rows_per_shard, entry.config.dim)
        except PipeError:
            return None
        return mapped.take(slice(0, rows))

    @contextmanager
    def _own_scratch(self, entry: TeacherEntry, shard: int) -> Iterator[Path]:
        path = self._scratch / "none"
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
        """Remove the scratch of writers that were killed more than an hour ago."""
        if not self._scratch.is_dir():
            return
        for path in self._scratch.iterdir():
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(path, ignore_errors=True)


def _same_vectors(one: npt.NDArray[np.float16], other: npt.NDArray[np.float16]) -> bool:
    left, right = one.astype(np.float32), other.astype(np.float32)
    return bool((np.einsum("nd,nd->n", left, right) >= SAME_VECTOR_COSINE).all())
