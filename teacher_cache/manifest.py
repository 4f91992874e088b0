"""What the store says about itself: its manifest and the commit records, read strictly.

Every record carries a digest of itself, so that a byte that changed anywhere in it is found.
"""

import json
import socket
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from data_prep.errors import PipeError
from data_prep.files import json_bytes, read_bounded, refuse_link, write_json
from data_prep.fingerprint import digest
from teacher_cache.config import TeacherConfig

FORMAT_VERSION: Final = 2

_CHECKSUM = "checksum"

MOST_ROWS: Final = 10**12
MOST_ROWS_PER_SHARD: Final = 2**20
MOST_SHARDS: Final = 10**7
MOST_COLUMNS: Final = 2**20
MOST_RECORD_BYTES: Final = 2**26
"""Bounds far beyond any real store, so that a record cannot ask for more memory than there is."""

_Crc32c = Annotated[int, Field(ge=0, lt=2**32)]
_Digest = Field(pattern=r"^[0-9a-f]{64}$")


class Record(BaseModel):
    """A frozen record that refuses unknown keys and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


RecordT = TypeVar("RecordT", bound=Record)


class HeadEntry(Record):
    """The Linear layer of a teacher whose pooled states are stored instead of its vectors.

    Attributes:
        state_dim: Numbers in a pooled state.
        digest: SHA-256 of the layer's file, ``heads/<teacher>.safetensors``.
    """

    state_dim: int = Field(gt=0, le=MOST_COLUMNS)
    digest: str = _Digest


class TeacherEntry(Record):
    """A teacher as the store knows it.

    Attributes:
        config: The settings that its vectors were made with.
        fingerprint: Digest of the settings that decide the vectors.
        head: Its last layer, if its storage is ``factored``.
    """

    config: TeacherConfig
    fingerprint: str = _Digest
    head: HeadEntry | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fingerprint != self.config.fingerprint:
            raise ValueError("the teacher's fingerprint does not belong to its settings")
        if (self.head is not None) != (self.config.storage == "factored"):
            raise ValueError("a teacher has a head if, and only if, its storage is factored")
        return self

    @classmethod
    def of(cls, config: TeacherConfig, head: HeadEntry | None = None) -> Self:
        """Make the entry of a teacher.

        Args:
            config: Its settings.
            head: Its last layer, if its storage is ``factored``.

        Returns:
            The settings with their fingerprint.
        """
        return cls(config=config, fingerprint=config.fingerprint, head=head)


class StoreManifest(Record):
    """What a store holds vectors of, and from whom.

    Attributes:
        format_version: Version of the format on disk.
        corpus_fingerprint: Of the corpus whose rows these are.
        rows: Rows of the corpus, and of every array.
        rows_per_shard: Rows of a shard, a multiple of 64.
        teachers: One entry per teacher, by name.
        metadata: SHA-256 of the Zarr metadata of each teacher's array, by teacher.
    """

    format_version: Literal[2] = FORMAT_VERSION
    corpus_fingerprint: str = _Digest
    rows: int = Field(gt=0, le=MOST_ROWS)
    rows_per_shard: int = Field(gt=0, le=MOST_ROWS_PER_SHARD, multiple_of=64)
    teachers: dict[str, TeacherEntry] = {}
    metadata: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, entry in self.teachers.items():
            if name != entry.config.name:
                raise ValueError(f"the entry {name!r} describes the teacher {entry.config.name!r}")
        if self.rows > self.rows_per_shard * MOST_SHARDS:
            raise ValueError(f"more than {MOST_SHARDS} shards")
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
        vectors_digest: SHA-256 of the rows as they are stored, little-endian, row by row.
        chunks_crc32c: The crc32c of each of the shard's chunks, in order. They tie the record to
            the file, whose chunks are checked against them when they are first read.
        seconds: How long encoding took, if that is known.
        engine: What ran the teacher, for information; None, and no key in the file, if that is not
            known, as in records of older versions.
        written_by: Who wrote it.
        created: When, ISO 8601, UTC.
    """

    format_version: Literal[2] = FORMAT_VERSION
    teacher: str
    teacher_fingerprint: str = _Digest
    shard: int = Field(ge=0)
    first_row: int = Field(ge=0)
    num_rows: int = Field(gt=0)
    text_digest: str = _Digest
    vectors_digest: str = _Digest
    chunks_crc32c: list[_Crc32c] = Field(min_length=1)
    seconds: float | None = Field(default=None, ge=0)
    engine: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    written_by: WrittenBy
    created: str

    @model_serializer(mode="wrap")
    def _as_it_was(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # An older record that another store takes over keeps its bytes.
        values: dict[str, Any] = handler(self)
        if self.engine is None:
            values.pop("engine", None)
        return values


def read_record(path: Path, kind: type[RecordT]) -> RecordT:
    """Read a record.

    Args:
        path: A JSON file.
        kind: What it must hold.

    Returns:
        The record.

    Raises:
        PipeError: The file is missing or a link, is not JSON, holds something else, or has changed
            since it was written.
    """
    try:
        refuse_link(path)
        return parse_record(read_bounded(path, MOST_RECORD_BYTES), kind)
    except FileNotFoundError:
        raise PipeError(f"{path} is missing; expected a {kind.__name__} there.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise PipeError(
            f"found in {path} {_first_fault(error)}, expected a whole {kind.__name__}; restore the "
            "file from a copy, or run `pipe store repair`."
        ) from None


def parse_record(content: bytes, kind: type[RecordT]) -> RecordT:
    """Read a record from the content of its file.

    Args:
        content: UTF-8 JSON.
        kind: What it must hold.

    Returns:
        The record.

    Raises:
        ValueError: The content is not JSON, holds something else, or has changed since it was
            written.
        RecursionError: It is nested deeper than any record.
    """
    values = json.loads(content, parse_constant=_refuse_constant)
    if not isinstance(values, dict):
        raise ValueError("no JSON object")
    found = values.pop(_CHECKSUM, None)
    # From JSON again, because strict types mean JSON's there. Unknown and wrong values first: what
    # is wrong in a file of another version says more than its checksum.
    record = kind.model_validate_json(json.dumps(values))
    if found != digest(values):
        raise ValueError("a record that does not fit its checksum")
    if content != _content(values):
        # Other blanks, a key that comes twice: nothing that ``write_record`` writes.
        raise ValueError("a record with other bytes than it was written with")
    return record


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name}, which is no JSON number")


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically; equal records give equal bytes.

    Args:
        path: Where it belongs.
        record: What to write.
    """
    write_json(path, _with_checksum(record.model_dump(mode="json")))


def _content(values: dict[str, Any]) -> bytes:
    return json_bytes(_with_checksum(values))


def _with_checksum(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, _CHECKSUM: digest(values)}


def _first_fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"a fault ({error})"
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"a fault at {place!r} ({fault['msg']})" if place else f"a fault ({fault['msg']})"
