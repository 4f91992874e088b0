"""What a store keeps of the canary: the vectors that its first worker got."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from data_prep.files import refuse_links
from data_prep.fingerprint import digest
from teacher_cache.config import TeacherConfig
from teacher_cache.manifest import Record, WrittenBy, read_record, write_record
from teacher_cache.manifest_file import exclusive


class CanaryRecord(Record):
    """A teacher's canary vectors.

    Attributes:
        format_version: Version of the format on disk and of the texts.
        teacher: The teacher's name.
        teacher_fingerprint: The teacher's fingerprint.
        texts_digest: Of the texts and their roles.
        shape: Texts and numbers in a vector.
        vectors: (n, dim) float32, little-endian, row by row, in base64.
        written_by: Who got them.
    """

    format_version: Literal[1] = 1
    teacher: str
    teacher_fingerprint: str
    texts_digest: str
    shape: list[Annotated[int, Field(gt=0)]] = Field(min_length=2, max_length=2)
    vectors: str
    written_by: WrittenBy

    @model_validator(mode="after")
    def _whole(self) -> Self:
        try:
            size = len(base64.b64decode(self.vectors, validate=True))
        except binascii.Error:
            raise ValueError("the vectors are not base64") from None
        if size != 4 * self.shape[0] * self.shape[1]:
            raise ValueError("there are not as many numbers as the shape says")
        return self

    @classmethod
    def of(
        cls,
        teacher: TeacherConfig,
        texts: Sequence[tuple[str, str]],
        vectors: npt.NDArray[np.float32],
    ) -> Self:
        """Make the record of a teacher.

        Args:
            teacher: Its settings.
            texts: The canary's n texts and their roles.
            vectors: Their vectors, (n, dim) float32.

        Returns:
            The record, written by this process.
        """
        return cls(
            teacher=teacher.name,
            teacher_fingerprint=teacher.fingerprint,
            texts_digest=digest([list(text) for text in texts]),
            shape=list(vectors.shape),
            vectors=base64.b64encode(vectors.astype("<f4").tobytes()).decode(),
            written_by=WrittenBy.this_process(),
        )

    def identity(self) -> tuple[object, ...]:
        """What must be equal for two records' vectors to be comparable.

        Returns:
            Version, teacher, settings, texts and shape.
        """
        return (
            self.format_version,
            self.teacher,
            self.teacher_fingerprint,
            self.texts_digest,
            self.shape,
        )

    def array(self) -> npt.NDArray[np.float32]:
        """Decode the vectors.

        Returns:
            (n, dim) float32.
        """
        numbers = np.frombuffer(base64.b64decode(self.vectors), "<f4")
        return numbers.astype(np.float32).reshape(self.shape)


def keep_or_read(directory: Path, path: Path, record: CanaryRecord) -> CanaryRecord | None:
    """Keep a record, unless one of the same teacher with the same settings and texts stands there.

    Args:
        directory: The store's directory.
        path: Where the record belongs.
        record: The record.

    Returns:
        The one that stands there; None if this one has been kept.

    Raises:
        PipeError: The one that stands there is damaged.
    """
    refuse_links(path, directory)
    with exclusive(directory):
        if path.exists():
            earlier = read_record(path, CanaryRecord)
            # A record of other settings is left from vectors that were removed.
            if earlier.identity() == record.identity():
                return earlier
        write_record(path, record)
    return None
