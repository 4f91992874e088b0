"""What a corpus holds, in numbers for people: by source and role, counted shard by shard."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from data_prep.config import Role
from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from data_prep.shards import read_table

OVERVIEW = "overview.json"
BYTES_PER_TOKEN: Final = 4.5
"""Of UTF-8, in a text: 4.5 to 4.8 for BERT's tokens of English questions and passages."""
LONG_TOKENS: Final = 512


class Part(BaseModel):
    """The rows of one source and role.

    Attributes:
        source: The source.
        role: The role.
        texts: How many rows.
        sentences: Sentences in them.
        characters: Characters in them.
        tokens: Tokens in them, estimated from their bytes.
        long_texts: Rows with more than 512 tokens, estimated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    role: Role
    texts: int
    sentences: int
    characters: int
    tokens: int
    long_texts: int


class Overview(BaseModel):
    """The parts of a corpus.

    Attributes:
        fingerprint: The corpus's.
        parts: By source, in the recipe's order, and role.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    parts: tuple[Part, ...]


def overview(corpus: Corpus) -> Overview:
    """Count what a corpus holds, or read what was counted before.

    Args:
        corpus: A finished corpus.

    Returns:
        The numbers. They are kept beside the manifest, since counting reads all texts; a shard at
        a time is in memory.

    Raises:
        PipeError: A shard is missing or damaged.
    """
    path = corpus.directory / OVERVIEW
    kept = _kept(path, corpus)
    if kept is not None:
        return kept
    counts: Counter[tuple[str, str, str]] = Counter()
    for shard in range(corpus.num_shards):
        columns = ["text", "source", "role", "num_sentences"]
        for row in _counted(read_table(corpus.shard_path(shard), columns)):
            for name in _FIELDS:
                counts[str(row["source"]), str(row["role"]), name] += int(row[f"{name}_sum"])
    places = {source.name: place for place, source in enumerate(corpus.manifest.sources)}
    kinds = sorted({(places[source], source, role) for source, role, _ in counts})
    parts = [
        {"source": source, "role": role} | {name: counts[source, role, name] for name in _FIELDS}
        for _, source, role in kinds
    ]
    made = Overview.model_validate({"fingerprint": corpus.fingerprint, "parts": parts})
    write_json(path, made.model_dump(mode="json"))
    return made


_FIELDS = ("texts", "sentences", "characters", "tokens", "long_texts")


def _counted(table: pa.Table) -> list[dict[str, Any]]:
    tokens = pc.divide(pc.binary_length(table["text"]), BYTES_PER_TOKEN)
    measured = pa.table(
        {
            "source": table["source"],
            "role": table["role"],
            "texts": pa.repeat(pa.scalar(1, pa.int64()), table.num_rows),
            "sentences": pc.cast(table["num_sentences"], pa.int64()),
            "characters": pc.cast(pc.utf8_length(table["text"]), pa.int64()),
            "tokens": pc.cast(pc.ceil(tokens), pa.int64()),
            "long_texts": pc.cast(pc.greater(tokens, LONG_TOKENS), pa.int64()),
        }
    )
    sums = measured.group_by(["source", "role"]).aggregate([(name, "sum") for name in _FIELDS])
    rows: list[dict[str, Any]] = sums.to_pylist()
    return rows


def _kept(path: Path, corpus: Corpus) -> Overview | None:
    """What was counted for these texts; None if it was not, or cannot be read."""
    try:
        found = Overview.model_validate(read_json(path))
    except (PipeError, ValidationError, OSError):
        return None
    return found if found.fingerprint == corpus.fingerprint else None
