"""The record of a finished corpus."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_prep.config import Role
from data_prep.errors import PipeError
from data_prep.files import read_json
from data_prep.fingerprint import digest

FORMAT_VERSION: Final = 1
MANIFEST = "manifest.json"


class SourceRecord(BaseModel):
    """What one source gave.

    Attributes:
        name: The source.
        path: Its path, as the recipe states it.
        role: Role of its texts.
        weight: Its weight in the mixture.
        license: As the recipe states it.
        documents: Documents read.
        spans: Spans in the corpus.
        available: Spans it could have given: neither empty nor duplicates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str
    role: Role
    weight: float
    license: str | None
    documents: int = Field(ge=0)
    spans: int = Field(ge=0)
    available: int = Field(ge=0)


class CorpusManifest(BaseModel):
    """What a corpus holds; written last, so that only whole corpora have one.

    Attributes:
        format_version: Of this file and of the shards.
        rows: Rows of the corpus.
        rows_per_shard: Rows of every shard but the last, which may have fewer.
        held_out_rows: The first so many rows are never trained on.
        seed: Seed of every random choice.
        sources: What each source gave, in the recipe's order.
        dropped: How many documents and spans were left out, by reason: ``empty`` documents,
            ``duplicate`` spans (another span has the text and stays), and what cleaning left out.
        counts: Facts about the rows, for people: how many of each role, cut, shuffled, ...
        text_digests: SHA-256 of each shard's texts and roles.
        fingerprint: Digest of everything in the corpus that decides vectors: texts, roles and
            their division into shards; not paths, weights or where rows come from.
        config: The settings the corpus was made with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    rows: int = Field(gt=0)
    rows_per_shard: int = Field(gt=0, multiple_of=64)
    held_out_rows: int = Field(ge=0)
    seed: int
    sources: tuple[SourceRecord, ...]
    dropped: dict[str, Annotated[int, Field(ge=0)]]
    counts: dict[str, int]
    text_digests: tuple[str, ...]
    fingerprint: str
    config: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        shards = -(-self.rows // self.rows_per_shard)
        if len(self.text_digests) != shards:
            raise ValueError(f"{shards} shards have {len(self.text_digests)} text digests")
        if self.held_out_rows > self.rows:
            raise ValueError(f"{self.held_out_rows} of {self.rows} rows are held out")
        if self.fingerprint != fingerprint(self.rows, self.rows_per_shard, self.text_digests):
            raise ValueError("the fingerprint does not belong to the text digests")
        return self

    def summary(self) -> str:
        """Say in a line for people what the corpus holds.

        Returns:
            Its rows, shards, sources and held-out rows.
        """
        sources = ", ".join(f"{source.name} {source.spans:,}" for source in self.sources)
        return (
            f"{self.rows:,} rows in {len(self.text_digests)} shards ({sources}), "
            f"{self.held_out_rows:,} held out"
        )


def fingerprint(rows: int, rows_per_shard: int, text_digests: tuple[str, ...]) -> str:
    """Digest everything in a corpus that decides vectors.

    Args:
        rows: Rows of the corpus.
        rows_per_shard: Rows of a shard.
        text_digests: One per shard, over its texts and roles.

    Returns:
        The SHA-256 digest, in hexadecimal.
    """
    return digest(
        {"rows": rows, "rows_per_shard": rows_per_shard, "text_digests": list(text_digests)}
    )


def read_manifest(directory: Path) -> CorpusManifest:
    """Read a corpus's manifest.

    Args:
        directory: The corpus.

    Returns:
        The manifest.

    Raises:
        PipeError: There is none, it is damaged, or it is of another version.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise PipeError(
            f"{directory} holds no finished corpus ({path} is missing); run `pipe prep`."
        )
    content = read_json(path)
    version = content.get("format_version") if isinstance(content, dict) else None
    if version is not None and version != FORMAT_VERSION:
        raise PipeError(
            f"{path} is of format version {version!r} and this program reads {FORMAT_VERSION}; use "
            "the version that made it, or make the corpus again in another directory."
        )
    try:
        return CorpusManifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "it as a whole"
        raise PipeError(
            f"{path} is damaged ({field}: {first['msg']}); restore it from a copy, or remove it "
            "and run `pipe prep` again."
        ) from None
