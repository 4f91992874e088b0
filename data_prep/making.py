"""The stages of a corpus, one after the other, and the manifest that comes out of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from data_prep import duplicates, order, reading, writing
from data_prep.cleaning import UNREADABLE
from data_prep.config import CorpusConfig
from data_prep.duplicates import DropDuplicates, number_of_parts
from data_prep.fingerprint import digest
from data_prep.left_out import gather
from data_prep.manifest import CorpusManifest, SourceRecord, fingerprint
from data_prep.order import Order, decide
from data_prep.quantities import size
from data_prep.reading import ReadUnits
from data_prep.shards import shard_name
from data_prep.sources import no_document
from data_prep.stages import Stages
from data_prep.units import Unit, plan_units, reading_digest, resolved, size_of
from data_prep.writing import WriteShards


class Making:
    """Makes one corpus.

    Args:
        config: The corpus wanted.
        directory: Where it belongs.
        stages: Carry the tasks out.
        gone: The shards that are missing of a corpus that stands; None if none stands.
    """

    def __init__(
        self, config: CorpusConfig, directory: Path, stages: Stages, gone: Sequence[int] | None
    ) -> None:
        self._config = resolved(config)
        self._asked = config
        self._directory = directory
        self._stages = stages
        self._gone = gone

    @cached_property
    def _units(self) -> list[Unit]:
        return plan_units(self._config)

    def manifest(self) -> CorpusManifest:
        """Do everything that is not done yet, but for the manifest's own file.

        Returns:
            The manifest.

        Raises:
            PipeError: A source cannot be read or has too few spans, or the disk refuses a file.
            OSError: The disk refuses a file.
        """
        for source in self._config.sources:
            self._report(f"reading {source.name}" + (f" from {source.path}" if source.path else ""))
        scratch, later = self._stages.scratch, (order.STAGE, writing.STAGE)
        read = reading_digest(self._config, self._units)
        scratch.begin(reading.STAGE, read, duplicates.STAGE, *later)
        units = self._read()
        offers = self._offers(units)
        ordered = digest({"read": read, "config": self._asked.model_dump(mode="json")})
        scratch.begin(order.STAGE, ordered, writing.STAGE)
        rows = self._order(units, offers)
        gone = None if self._gone is None else list(self._gone)
        scratch.begin(writing.STAGE, digest({"order": ordered, "gone": gone}))
        shards = self._shards(rows, units)
        return self._manifest(units, offers, rows, shards)

    def list_left_out(self) -> None:
        """Write the lists of what was left out, beside the manifest."""
        scratch = self._stages.scratch
        gather((scratch.left_out(unit.number) for unit in self._units), self._directory)

    def _report(self, line: str) -> None:
        self._stages.report(line)

    def _read(self) -> list[dict[str, Any]]:
        self._forget_skipped()
        sizes = [sum(map(size_of, unit.pieces)) for unit in self._units]
        maker = ReadUnits(self._config, self._directory, tuple(self._units))
        records = self._stages.run(reading.STAGE, sizes, maker, "read {:.0%} of the sources")
        for number, source in enumerate(self._config.sources):
            parts = self._of_source(number, records)
            documents = sum(record["documents"] for record in parts)
            if not documents:
                raise no_document(source)
            dropped = sum((Counter(record["dropped"]) for record in parts), Counter[str]())
            reasons = "".join(f", {count:,} {name}" for name, count in sorted(dropped.items()))
            self._report(
                f"{source.name}: {documents:,} documents, "
                f"{sum(sum(record['rows']) for record in parts):,} spans of "
                f"{size(sum(record['text_bytes'] for record in parts))}"
                + (f" (left out: {reasons[2:]})" if reasons else "")
            )
        return records

    def _forget_skipped(self) -> None:
        """Read again what was skipped where a source now says to stop."""
        scratch = self._stages.scratch
        for unit in self._units:
            record = scratch.record(reading.STAGE, unit.number)
            skipped = record is not None and record["dropped"].get(UNREADABLE)
            if skipped and self._config.sources[unit.source].on_error == "stop":
                scratch.forget(reading.STAGE, unit.number)

    def _of_source(self, source: int, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            record
            for unit, record in zip(self._units, records, strict=True)
            if unit.source == source
        ]

    def _offers(self, units: list[dict[str, Any]]) -> list[dict[str, Any]]:
        runs = [
            (number, run) for number, unit in enumerate(units) for run in range(len(unit["rows"]))
        ]
        parts = number_of_parts(sum(sum(unit["rows"]) for unit in units))
        maker = DropDuplicates(self._directory, tuple(runs), parts)
        what = "looked for duplicates in {:.0%} of the spans"
        records = self._stages.run(duplicates.STAGE, [1] * parts, maker, what)
        dropped = sum(record["duplicate"] for record in records)
        self._report(f"{dropped:,} spans are duplicates and are left out")
        return records

    def _available(self, offers: list[dict[str, Any]]) -> dict[str, int]:
        return {
            source.name: sum(record["available"].get(str(number), 0) for record in offers)
            for number, source in enumerate(self._config.sources)
        }

    def _order(self, units: list[dict[str, Any]], offers: list[dict[str, Any]]) -> Order:
        scratch = self._stages.scratch
        record = scratch.record(order.STAGE, 0)
        if record is None:
            decided = decide(self._config, self._available(offers), len(offers), scratch)
            record = asdict(decided)
            scratch.finish(order.STAGE, 0, record)
        return Order(**(record | {"taken": tuple(record["taken"])}))

    def _shards(self, rows: Order, units: list[dict[str, Any]]) -> list[dict[str, Any]]:
        total, per_shard = sum(rows.taken), self._config.rows_per_shard
        count = -(-total // per_shard)
        gone = None if self._gone is None else set(self._gone)
        spans = sum(sum(unit["rows"]) for unit in units)
        maker = WriteShards(
            self._directory,
            total,
            per_shard,
            sum(unit["text_bytes"] for unit in units) / spans,
            frozenset() if gone is None else frozenset(range(count)) - gone,
            gone is not None,
        )
        tasks = maker.tasks()
        if gone is None:
            self._forget_lost(tasks)
        what = "wrote {:.0%} of the rows"
        records = self._stages.run(writing.STAGE, [len(task) for task in tasks], maker, what)
        return [shard for record in records for shard in record["shards"]]

    def _forget_lost(self, tasks: list[range]) -> None:
        """Write shards again whose record is there and whose files somebody has removed."""
        for task, shards in enumerate(tasks):
            if not all((self._directory / shard_name(shard)).is_file() for shard in shards):
                self._stages.scratch.forget(writing.STAGE, task)

    def _manifest(
        self,
        units: list[dict[str, Any]],
        offers: list[dict[str, Any]],
        rows: Order,
        shards: list[dict[str, Any]],
    ) -> CorpusManifest:
        config, available = self._asked, self._available(offers)
        digests = tuple(record["digest"] for record in shards)
        dropped = sum((Counter(record["dropped"]) for record in units), Counter(empty=0))
        dropped["duplicate"] += sum(record["duplicate"] for record in offers)
        counts = sum((Counter(record["counts"]) for record in shards), Counter[str]())
        return CorpusManifest(
            rows=sum(rows.taken),
            rows_per_shard=config.rows_per_shard,
            held_out_rows=rows.held_out_rows,
            seed=config.seed,
            sources=tuple(
                SourceRecord(
                    name=source.name,
                    path=source.path,
                    role=source.role,
                    weight=source.weight,
                    license=source.license,
                    documents=sum(record["documents"] for record in self._of_source(number, units)),
                    spans=rows.taken[number],
                    available=available[source.name],
                )
                for number, source in enumerate(config.sources)
            ),
            dropped={name: dropped[name] for name in sorted({"empty", "duplicate", *dropped})},
            counts={
                "documents": rows.documents,
                "held_out_documents": rows.held_out_documents,
                "normalised": sum(record["normalised"] for record in units),
                "shortened": sum(record["shortened"] for record in units),
                **{
                    name: counts[name]
                    for name in ("passages", "questions", "sentences", "words_shuffled")
                },
            },
            text_digests=digests,
            fingerprint=fingerprint(sum(rows.taken), config.rows_per_shard, digests),
            config=config.model_dump(mode="json"),
        )
