"""First stage: a unit's documents are read, cleaned and cut, and lie on disk as sorted runs."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from data_prep.cleaning import Cleaner
from data_prep.config import CorpusConfig
from data_prep.executors import Begun
from data_prep.left_out import noting
from data_prep.records import Document
from data_prep.runs import RunWriter
from data_prep.scratch import Scratch, Written
from data_prep.sources import read_piece
from data_prep.spans import Cutter
from data_prep.units import Unit
from data_prep.writing import told_disk_errors

STAGE = "runs"


@dataclass(frozen=True, slots=True)
class ReadUnits:
    """Makes the worker of this stage.

    Attributes:
        config: The corpus wanted, with its formats resolved.
        corpus: Its directory.
        units: All of its units.
    """

    config: CorpusConfig
    corpus: Path
    units: tuple[Unit, ...]

    def __call__(self) -> Callable[[int], Begun[dict[str, Any]]]:
        """Make the worker where it runs.

        Returns:
            Takes the number of a unit; gives the record that ``read_unit`` gives.
        """
        cleaner, scratch = Cleaner(self.config), Scratch(self.corpus)

        def work(number: int) -> Begun[dict[str, Any]]:
            with told_disk_errors(self.corpus):
                written, record = read_unit(self.units[number], self.config, cleaner, scratch)
            return Begun(partial(_finish, self.corpus, number, written, record), written.remove)

        return work


def read_unit(
    unit: Unit, config: CorpusConfig, cleaner: Cleaner, scratch: Scratch
) -> tuple[Written, dict[str, Any]]:
    """Read a unit, and write its spans.

    Args:
        unit: The unit.
        config: The corpus wanted.
        cleaner: Mends and drops documents and spans.
        scratch: Where the spans go.

    Returns:
        What was written, to be put in place before its record, and the record: ``documents`` read,
        how many of them were ``normalised`` and ``shortened``, spans ``dropped`` by reason,
        ``rows`` of each run, and the bytes of their texts.

    Raises:
        PipeError: A document cannot be read.
        OSError: The disk refuses a file.
    """
    name = config.sources[unit.source].name
    runs = RunWriter(scratch, unit.number, unit.source, name)
    cutter = Cutter(config)
    dropped: Counter[str] = Counter()
    number = normalised = shortened = 0
    with runs.written, noting(scratch.left_out(unit.number)) as note:
        for document in _documents(unit, config):
            number += 1
            cleaned = cleaner.clean(document)
            if isinstance(cleaned, str):
                dropped[cleaned] += 1
                if document.problem is not None:
                    note(cleaned, source=document.source, problem=document.problem)
                continue
            spans, texts, held_out, places = cutter.cut(cleaned)
            if not spans:
                dropped["empty"] += 1
                continue
            normalised += cleaned.normalised
            shortened += cleaned.shortened
            for span, text, place in zip(spans, texts, places, strict=True):
                if (reason := cleaner.keeps(text)) is None:
                    runs.add(span, held_out, place)
                    continue
                dropped[reason] += 1
                if (overlap := cleaner.overlap(text)) is not None:
                    note(reason, source=span.source, doc_id=span.doc_id, **asdict(overlap))
        runs.flush()
    return runs.written, {
        "documents": number,
        "normalised": normalised,
        "shortened": shortened,
        "dropped": dict(dropped),
        "rows": runs.rows,
        "text_bytes": runs.text_bytes,
    }


def _finish(corpus: Path, number: int, written: Written, record: dict[str, Any]) -> dict[str, Any]:
    """Put a unit's runs in place, and then its record."""
    with told_disk_errors(corpus):
        written.put_in_place()
        Scratch(corpus).finish(STAGE, number, record)
    return record


def _documents(unit: Unit, config: CorpusConfig) -> Iterator[Document]:
    source = config.sources[unit.source]
    pieces = (read_piece(source, piece) for piece in unit.pieces)
    return islice(chain.from_iterable(pieces), unit.documents)
