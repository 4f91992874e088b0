"""The commit records of a store: only committed rows exist."""

import re
from datetime import UTC, datetime
from pathlib import Path

from data_prep.errors import PipeError
from data_prep.files import refuse_links
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest import Commit, TeacherEntry, WrittenBy, read_record, write_record
from teacher_cache.placing import place_if_absent
from teacher_cache.shard_file import ROWS_PER_CHUNK

_FILE_NAME = re.compile(r"([0-9]{5,})\.json")


def record_name(shard: int) -> str:
    """Name the record of a shard.

    Args:
        shard: The shard's number.

    Returns:
        For example ``00001.json``.
    """
    return f"{shard:05d}.json"


class CommitLog:
    """Reads and writes ``commits/<teacher>/<shard>.json``, one file per shard.

    Every call looks at the disk: other workers commit at the same time.
    """

    def __init__(self, directory: Path, layout: ShardLayout) -> None:
        """Point at the records.

        Args:
            directory: The store's ``commits``; it need not exist.
            layout: The store's shards.
        """
        self.directory = directory
        self.layout = layout

    def path(self, teacher: str, shard: int) -> Path:
        """Say where a shard's record belongs.

        Args:
            teacher: The teacher's name.
            shard: The shard's number.

        Returns:
            The path, whether or not there is a file.
        """
        return self.directory / teacher / record_name(shard)

    def shards(self, teacher: str) -> frozenset[int]:
        """List the shards that have a record, by name alone.

        Args:
            teacher: The teacher's name.

        Returns:
            Their numbers.

        Raises:
            PipeError: The records' directory, or the one around it, is a symbolic link.
        """
        directory = self.directory / teacher
        refuse_links(directory, self.directory.parent)
        if not directory.is_dir():
            return frozenset()
        names = (_FILE_NAME.fullmatch(path.name) for path in directory.iterdir())
        shards = ((int(name[1]), name[0]) for name in names if name)
        return frozenset(shard for shard, name in shards if name == record_name(shard))

    def read(self, entry: TeacherEntry, shard: int) -> Commit | None:
        """Read a shard's record and check that it belongs to this teacher and these rows.

        Args:
            entry: The teacher.
            shard: The shard's number.

        Returns:
            The record; None if the shard is not committed.

        Raises:
            PipeError: The record is damaged, or is another teacher's or another shard's.
        """
        teacher = entry.config.name
        path = self.path(teacher, shard)
        refuse_links(path, self.directory.parent)
        if not path.exists():
            return None
        commit = read_record(path, Commit)
        rows = self.layout.range_of(shard)
        for what, found, expected in (
            ("teacher", commit.teacher, teacher),
            ("teacher fingerprint", commit.teacher_fingerprint, entry.fingerprint),
            ("shard", commit.shard, shard),
            ("first row", commit.first_row, rows.start),
            ("number of rows", commit.num_rows, len(rows)),
            ("number of checksums", len(commit.chunks_crc32c), -(-len(rows) // ROWS_PER_CHUNK)),
        ):
            if found != expected:
                raise PipeError(
                    f"found the {what} {found} in {path}, expected {expected}; it was written for "
                    "something else: `pipe store repair` sets it aside, and "
                    "`pipe teach` encodes the shard again."
                )
        return commit

    def new(
        self,
        entry: TeacherEntry,
        shard: int,
        text_digest: str,
        vectors_digest: str,
        chunks_crc32c: list[int],
        seconds: float | None,
        engine: str | None = None,
    ) -> Commit:
        """Make the record of a shard that this process has written.

        Args:
            entry: The teacher.
            shard: The shard's number.
            text_digest: Of its texts.
            vectors_digest: Of its stored rows.
            chunks_crc32c: Of each of its chunks.
            seconds: How long encoding took, if that is known.
            engine: What ran the teacher, if that is known.

        Returns:
            The record, not written yet.
        """
        rows = self.layout.range_of(shard)
        return Commit(
            teacher=entry.config.name,
            teacher_fingerprint=entry.fingerprint,
            shard=shard,
            first_row=rows.start,
            num_rows=len(rows),
            text_digest=text_digest,
            vectors_digest=vectors_digest,
            chunks_crc32c=chunks_crc32c,
            seconds=None if seconds is None else round(seconds, 3),
            engine=engine,
            written_by=WrittenBy.this_process(),
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )

    def write_if_absent(self, commit: Commit, scratch: Path) -> bool:
        """Commit a shard, unless another worker has.

        Args:
            commit: The record.
            scratch: A directory of this writer's own, on the store's file system.

        Returns:
            Whether this record is now the shard's.
        """
        draft = scratch / "commit.json"
        write_record(draft, commit)
        return place_if_absent(draft, self.path(commit.teacher, commit.shard))

    def replace(self, commit: Commit) -> None:
        """Put a record in the place of one that does not describe the shard's file.

        Args:
            commit: The record that does.
        """
        write_record(self.path(commit.teacher, commit.shard), commit)
