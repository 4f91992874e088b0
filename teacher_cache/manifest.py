"""What the store says about itself: its manifest and the commit records, read strictly."""

import socket
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_prep.errors import PipeError
from data_prep.files import write_json
from data_prep.fingerprint import digest
from teacher_cache.config import TeacherConfig

FORMAT_VERSION: Final = 1

_Digest = Field(pattern=r"^[0-9a-f]{64}$")


class Record(BaseModel):
    """A frozen record that refuses unknown keys and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


RecordT = TypeVar("RecordT", bound=Record)


class TeacherEntry(Record):
    """A teacher as the store knows it.

    Attributes:
        config: The settings that its vectors were made with.
        fingerprint: Digest of the settings that decide the vectors.
    """

    config: TeacherConfig
    fingerprint: str = _Digest

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fingerprint != digest(self.config.identity()):
            raise ValueError("the teacher's fingerprint does not belong to its settings")
        return self

    @classmethod
    def of(cls, config: TeacherConfig) -> Self:
        """Make the entry of a teacher.

        Args:
            config: Its settings.

        Returns:
            The settings with their fingerprint.
        """
        return cls(config=config, fingerprint=digest(config.identity()))


class StoreManifest(Record):
    """What a store holds vectors of, and from whom.

    Attributes:
        format_version: Version of the format on disk.
        corpus_fingerprint: Of the corpus whose rows these are.
        rows: Rows of the corpus, and of every array.
        rows_per_shard: Rows of a shard, a multiple of 64.
        teachers: One entry per teacher, by name.
    """

    format_version: Literal[1] = FORMAT_VERSION
    corpus_fingerprint: str = _Digest
    rows: int = Field(gt=0)
    rows_per_shard: int = Field(gt=0, multiple_of=64)
    teachers: dict[str, TeacherEntry] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, entry in self.teachers.items():
            if name != entry.config.name:
                raise ValueError(f"the entry {name!r} describes the teacher {entry.config.name!r}")
        return self


class WrittenBy(Record):
    """Who wrote a shard.

    Attributes:
        host: The machine's name.
        version: The version of this package.
    """

    host: str
    version: str

    @classmethod
    def this_process(cls) -> Self:
        """Say who is writing now.

        Returns:
            This machine and this package.
        """
        try:
            installed = metadata.version("jasper-distill")
        except metadata.PackageNotFoundError:
            installed = "unpackaged"
        return cls(host=socket.gethostname(), version=installed)


class Commit(Record):
    """The record that makes a shard exist.

    Attributes:
        format_version: Version of the format on disk.
        teacher: The teacher's name.
        teacher_fingerprint: The teacher's fingerprint.
        shard: The shard's number.
        first_row: Its first row.
        num_rows: Its rows.
        text_digest: Of the texts that were encoded, as in the corpus manifest.
        vectors_digest: SHA-256 of the (num_rows, dim) float16 vectors, little-endian, row by row.
        written_by: Who wrote it.
        created: When, ISO 8601, UTC.
    """

    format_version: Literal[1] = FORMAT_VERSION
    teacher: str
    teacher_fingerprint: str = _Digest
    shard: int = Field(ge=0)
    first_row: int = Field(ge=0)
    num_rows: int = Field(gt=0)
    text_digest: str = _Digest
    vectors_digest: str = _Digest
    written_by: WrittenBy
    created: str


def read_record(path: Path, kind: type[RecordT]) -> RecordT:
    """Read a record.

    Args:
        path: A JSON file.
        kind: What it must hold.

    Returns:
        The record.

    Raises:
        PipeError: The file is missing, is not JSON, or holds something else.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise PipeError(f"{path} is missing; expected a {kind.__name__} there.") from None
    except (OSError, ValidationError) as error:
        raise PipeError(
            f"found in {path} {_first_fault(error)}, expected a whole {kind.__name__}; restore the "
            "file from a copy, or remove it and run the command that makes it again."
        ) from None


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically; equal records give equal bytes.

    Args:
        path: Where it belongs.
        record: What to write.
    """
    write_json(path, record.model_dump(mode="json"))


def _first_fault(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return str(error)
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"a fault at {place!r} ({fault['msg']})" if place else f"a fault ({fault['msg']})"
