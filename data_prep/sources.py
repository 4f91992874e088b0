"""Documents from sources: a table of formats, and the one way to read any of them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.readers import hub, jsonl, parquet, python_prose, text
from data_prep.readers.locate import source_files
from data_prep.records import Document


@dataclass(frozen=True, slots=True)
class Reader:
    """A row of the table of formats.

    Attributes:
        read: From a source's settings to pairs of document id and text.
        suffixes: The file names that ``format = "auto"`` takes for this format.
    """

    read: Callable[[SourceConfig], Iterator[tuple[str, str]]]
    suffixes: tuple[str, ...] = ()


FORMATS: dict[str, Reader] = {
    "jsonl": Reader(jsonl.read_jsonl, jsonl.SUFFIXES),
    "parquet": Reader(parquet.read_parquet, parquet.SUFFIXES),
    "text": Reader(text.read_text, text.SUFFIXES),
    "datasets": Reader(hub.read_datasets),
    "python-prose": Reader(python_prose.read_python_prose),
}

# NUL and lone surrogates: JSON can escape them, but neither UTF-8 (surrogates) nor many tools
# (NUL) can hold them.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def read_documents(config: SourceConfig) -> Iterator[Document]:
    """Read a source's documents.

    Args:
        config: The source.

    Yields:
        Its documents, always in the same order, at most ``max_documents``. In texts and ids, NUL
        and lone surrogates are replaced by U+FFFD.

    Raises:
        PipeError: The source is missing, damaged, empty, or not as its settings say; the message
            names the file and the line, row or byte.
    """
    reader = FORMATS[resolve_format(config)]
    found = False
    for doc_id, content in islice(reader.read(config), config.max_documents):
        found = True
        yield Document(config.name, clean(doc_id), clean(content), config.role)
    if not found:
        raise PipeError(
            f"source {config.name!r} has no document; expected at least one. Correct its path "
            "or remove it from the recipe."
        )


def clean(text: str) -> str:
    """Replace what neither UTF-8 nor parquet readers can hold.

    Args:
        text: Any string.

    Returns:
        The string with U+FFFD for every NUL and every lone surrogate.
    """
    return _UNSTORABLE.sub("\ufffd", text)


def resolve_format(config: SourceConfig) -> str:
    """Find a source's format.

    Args:
        config: The source; ``auto`` goes by the suffix of its files, and by what
            ``Dataset.save_to_disk`` leaves in a directory.

    Returns:
        A key of ``FORMATS``.

    Raises:
        PipeError: The format is unknown, or ``auto`` finds none or more than one.
    """
    if config.format in FORMATS:
        return config.format
    known = ", ".join(FORMATS)
    if config.format != "auto":
        raise PipeError(
            f"source {config.name!r} has format {config.format!r}; expected auto or one of {known}."
        )
    if config.path and hub.is_saved(Path(config.path)):
        return "datasets"
    suffixes = [suffix for reader in FORMATS.values() for suffix in reader.suffixes]
    found = {_format_of(name) for name, _ in source_files(config, suffixes)}
    if len(found) == 1 and (only := found.pop()) is not None:
        return only
    kinds = " and ".join(sorted(kind or "unknown" for kind in found)) or "unknown"
    raise PipeError(
        f"{config.path} (source {config.name!r}) holds files of format {kinds}; set its format to "
        f"one of {known}."
    )


def _format_of(name: str) -> str | None:
    for key, reader in FORMATS.items():
        if reader.suffixes and name.lower().endswith(reader.suffixes):
            return key
    return None
