"""The captions of pairs as a corpus's spans, and the manifest that describes them."""

from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from typing import Final

import pyarrow as pa

from data_prep.manifest import CorpusManifest, SourceRecord, fingerprint
from data_prep.pairs.config import PairsConfig
from data_prep.pairs.records import Pair
from data_prep.pairs.scan import Scan
from data_prep.pairs.selection import PairSelection
from data_prep.records import Span
from data_prep.shards import SCHEMA, text_digest

_ROLE: Final = "passage"


def captions_table(pairs: Sequence[Pair], lengths: Sequence[int]) -> pa.Table:
    """Make a shard's captions.

    Args:
        pairs: Its rows, in order.
        lengths: How many sentences each caption has.

    Returns:
        A table of ``data_prep.shards.SCHEMA``.
    """
    spans = [_span(pair, number) for pair, number in zip(pairs, lengths, strict=True)]
    columns = {name: [getattr(span, name) for span in spans] for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA)


def captions_manifest(
    config: PairsConfig,
    selection: PairSelection,
    scans: dict[str, Scan],
    shards: list[list[Pair]],
    lengths: list[list[int]],
) -> CorpusManifest:
    """Describe the captions of a corpus before they are written.

    Args:
        config: What was asked for.
        selection: The rows, and what was left out.
        scans: What each source offered, by its name.
        shards: The rows, divided.
        lengths: How many sentences each caption has, divided likewise.

    Returns:
        The manifest.
    """
    digests = tuple(
        text_digest((pair.caption for pair in shard), repeat(_ROLE, len(shard))) for shard in shards
    )
    rows = selection.rows
    taken = Counter(pair.source for pair in rows)
    skipped = sum((one.skipped for one in scans.values()), Counter[str]())
    left_out = {name: number for name, number in selection.dropped.items() if name != "duplicate"}
    return CorpusManifest(
        rows=len(rows),
        rows_per_shard=config.rows_per_shard,
        held_out_rows=selection.held_out_rows,
        seed=config.seed,
        sources=tuple(
            SourceRecord(
                name=source.name,
                path=source.path,
                role=_ROLE,
                weight=1.0,
                license=source.license,
                documents=scans[source.name].records,
                spans=taken[source.name],
                available=len(scans[source.name].pairs),
            )
            for source in config.sources
        ),
        dropped={
            "empty": skipped.pop("empty_caption", 0),
            "duplicate": selection.dropped["duplicate"],
        },
        counts={
            "images": len({pair.digest for pair in rows}),
            "labelled": sum(pair.label is not None for pair in rows),
            "sentences": sum(map(sum, lengths)),
            **{f"left_out_{name}": number for name, number in left_out.items()},
            **{f"skipped_{name}": number for name, number in skipped.items()},
        },
        text_digests=digests,
        fingerprint=fingerprint(len(rows), config.rows_per_shard, digests),
        config=config.model_dump(mode="json"),
    )


def _span(pair: Pair, num_sentences: int) -> Span:
    return Span(
        text=pair.caption,
        doc_id=pair.doc_id,
        source=pair.source,
        role=_ROLE,
        first_sentence=0,
        num_sentences=num_sentences,
        words_shuffled=False,
    )
