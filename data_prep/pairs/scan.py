"""Reading the sources once: every image proved, every pair noted, no image kept in memory."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from data_prep.errors import PipeError
from data_prep.pairs.config import PairsConfig, PairSourceConfig
from data_prep.pairs.images import BadImageError, decode_rgb
from data_prep.pairs.records import Found, Pair, Place, Skipped
from data_prep.pairs.sources import read_pairs
from data_prep.sources import clean

REPORT_SECONDS = 10.0


@dataclass(slots=True)
class Scan:
    """What a source offers.

    Attributes:
        records: Records read.
        pairs: The usable ones.
        skipped: How many were skipped, by reason.
        examples: The first skip of each reason, in words.
    """

    records: int = 0
    pairs: list[Pair] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


class Spool:
    """Holds images that cannot be found again on their own, in one file, until they are written.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def add(self, data: bytes) -> Place:
        """Keep an image.

        Args:
            data: Its bytes.

        Returns:
            Where they lie once ``flush`` was called.
        """
        if self._file is None:
            self._file = self.path.open("wb")
        place = Place(self.path, self._file.tell(), len(data))
        self._file.write(data)
        return place

    def flush(self) -> None:
        """Make what was added readable."""
        if self._file is not None:
            self._file.flush()

    def remove(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
        self.path.unlink(missing_ok=True)


def scan(
    source: PairSourceConfig, config: PairsConfig, spool: Spool, report: Callable[[str], None]
) -> Scan:
    """Read a source and decode every image once.

    Args:
        source: The source.
        config: The pairs' settings.
        spool: Takes the images that cannot be found again on their own.
        report: Gets a line of progress now and then, and one for every reason of a skip.

    Returns:
        Its pairs, in the source's order.

    Raises:
        PipeError: The source cannot be read or has no pair, or ``on_error`` is ``"stop"`` and
            something has to be skipped.
    """
    found = Scan()
    told = monotonic()
    for record in read_pairs(source, config):
        found.records += 1
        skipped = record if isinstance(record, Skipped) else _refusal(record, config)
        if skipped is not None:
            _count(found, skipped, config)
        elif isinstance(record, Found):
            found.pairs.extend(_pairs(record, source, spool))
        if monotonic() - told > REPORT_SECONDS:
            told = monotonic()
            report(f"{source.name}: {found.records:,} records so far")
    spool.flush()
    for reason, number in sorted(found.skipped.items()):
        report(
            f"{source.name}: {number:,} skipped as {reason}; the first: {found.examples[reason]}"
        )
    if not found.pairs:
        raise PipeError(
            f"source {source.name!r} has no usable pair among its {found.records:,} records; "
            "correct its path and its fields, or remove it from the recipe."
        )
    return found


def _refusal(record: Found, config: PairsConfig) -> Skipped | None:
    """Say why a record cannot be used, if so."""
    if not any(caption.strip() for caption in record.captions):
        return Skipped("empty_caption", f"{record.where}: found no caption, expected a text.")
    try:
        decode_rgb(record.data, max_pixels=config.max_pixels, min_side=config.min_side)
    except BadImageError as error:
        return Skipped(error.reason, f"{record.where}: {error}")
    return None


def _count(found: Scan, skipped: Skipped, config: PairsConfig) -> None:
    sentence = clean(skipped.sentence)  # it quotes names as they were found
    if config.on_error == "stop":
        raise PipeError(f'{sentence} With on_error = "skip" it would be left out.')
    found.skipped[skipped.reason] += 1
    found.examples.setdefault(skipped.reason, sentence)


def _pairs(record: Found, source: PairSourceConfig, spool: Spool) -> Iterator[Pair]:
    """Make a pair of every caption; an image of several lies in one place."""
    digest = sha256(record.data).digest()
    place = record.place or spool.add(record.data)
    for caption in record.captions:
        if caption.strip():
            yield Pair(
                source=source.name,
                doc_id=clean(record.doc_id),
                name=clean(record.name),
                caption=clean(caption).strip(),
                digest=digest,
                place=place,
                label=None if record.label is None else clean(record.label),
                held_out=record.held_out,
                group=record.group,
            )
