"""Making a corpus: from sources to shards and a manifest, the same bytes however often it stops."""

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from data_prep.config import CorpusConfig
from data_prep.errors import PipeError
from data_prep.files import exclusive, write_json
from data_prep.fingerprint import explain_change
from data_prep.manifest import (
    MANIFEST,
    CorpusManifest,
    Dropped,
    SourceRecord,
    fingerprint,
    read_manifest,
)
from data_prep.records import Span
from data_prep.selection import Selection, select
from data_prep.shards import shard_name, text_digest, write_shard

_SHARD = re.compile(r"spans-\d{5,}\.parquet")
_LEFT_BEHIND = re.compile(r"\.(?:spans-\d{5,}\.parquet|manifest\.json)\..*\.tmp")


def prepare(config: CorpusConfig, directory: Path, report: Callable[[str], None]) -> CorpusManifest:
    """Make a corpus, or finish one that was interrupted, or see that it stands.

    Shards are written whole, and the manifest last. As every byte follows from the configuration
    and the documents, an interrupted corpus is simply made again, with the same bytes. A finished
    corpus is read again from its sources only if one of its shards has gone.

    Args:
        config: The corpus wanted.
        directory: Where it belongs; made if need be.
        report: Gets lines of progress.

    Returns:
        The manifest.

    Raises:
        PipeError: A corpus of another configuration stands there, a source cannot be read or has
            too few spans, another process is at work there, or the disk refuses a file.
    """
    with exclusive(directory, "is preparing"):
        standing = standing_corpus(config, directory)
        if standing is not None:
            gone = _missing_shards(standing, directory)
            if not gone:
                report(f"the corpus stands: {_summary(standing)}")
                return standing
            report(f"{len(gone)} shards of the corpus are missing and are made again")
        selection = select(config, report)
        shards = _shards(selection.spans, config.rows_per_shard)
        manifest = _manifest(config, selection, shards)
        if (
            standing is not None
            and manifest.model_copy(update={"config": standing.config}) != standing
        ):
            told = {"rows", "sources", "dropped", "counts"}
            changes = explain_change(
                standing.model_dump(include=told), manifest.model_dump(include=told)
            )
            raise PipeError(
                f"the sources of {directory} have changed since the corpus was made "
                f"({changes or 'other texts'}); bring the former documents back, or use another "
                "--run."
            )
        try:
            _write(manifest, shards, directory)
        except OSError as error:
            raise PipeError(
                f"the corpus cannot be written to {directory} ({error.strerror or error}); make "
                "room or correct the permissions, and run the same command again."
            ) from None
    report(f"wrote the corpus: {_summary(manifest)}")
    return manifest


def standing_corpus(config: CorpusConfig, directory: Path) -> CorpusManifest | None:
    """Find a finished corpus and check that it is the one asked for.

    Args:
        config: What is asked for.
        directory: Where it would be.

    Returns:
        Its manifest; None if no corpus is finished there.

    Raises:
        PipeError: It is of another configuration, or its manifest is damaged.
    """
    if not (directory / MANIFEST).exists():
        return None
    manifest = read_manifest(directory)
    was, now = manifest.config, config.model_dump(mode="json")
    with suppress(ValidationError):
        # Settings that are newer than the corpus had their defaults when it was made.
        was = CorpusConfig.model_validate(was).model_dump(mode="json")
    if changes := explain_change(was, now):
        raise PipeError(
            f"{directory} holds a corpus of another configuration: {changes}. Set them back, use "
            f"another --run, or remove {directory} and everything that was made from it."
        )
    return manifest


def _missing_shards(manifest: CorpusManifest, directory: Path) -> list[int]:
    shards = range(len(manifest.text_digests))
    return [shard for shard in shards if not (directory / shard_name(shard)).is_file()]


def _shards(spans: list[Span], rows_per_shard: int) -> list[list[Span]]:
    return [spans[first : first + rows_per_shard] for first in range(0, len(spans), rows_per_shard)]


def _manifest(
    config: CorpusConfig, selection: Selection, shards: list[list[Span]]
) -> CorpusManifest:
    spans, pools = selection.spans, selection.pools
    digests = tuple(
        text_digest((span.text for span in shard), (span.role for span in shard))
        for shard in shards
    )
    taken = Counter(span.source for span in spans)
    roles = Counter(span.role for span in spans)
    held_out = {(span.source, span.doc_id) for span in spans[: selection.held_out_rows]}
    documents = Counter((span.source, span.doc_id) for span in spans)
    return CorpusManifest(
        rows=len(spans),
        rows_per_shard=config.rows_per_shard,
        held_out_rows=selection.held_out_rows,
        seed=config.seed,
        sources=tuple(
            SourceRecord(
                name=source.name,
                path=source.path,
                role=source.role,
                weight=source.weight,
                license=source.license,
                documents=pools[source.name].documents,
                spans=taken[source.name],
                available=len(pools[source.name].spans),
            )
            for source in config.sources
        ),
        dropped=Dropped(
            empty=sum(pool.empty for pool in pools.values()),
            duplicate=sum(pool.duplicate for pool in pools.values()),
        ),
        counts={
            "documents": len(documents),
            "held_out_documents": len(held_out),
            "passages": roles["passage"],
            "questions": roles["question"],
            "sentences": sum(span.num_sentences for span in spans),
            "words_shuffled": sum(span.words_shuffled for span in spans),
        },
        text_digests=digests,
        fingerprint=fingerprint(len(spans), config.rows_per_shard, digests),
        config=config.model_dump(mode="json"),
    )


def _write(manifest: CorpusManifest, shards: list[list[Span]], directory: Path) -> None:
    """Write what is missing, remove what an interrupted run left, and the manifest last."""
    finished = (directory / MANIFEST).exists()
    names = [shard_name(shard) for shard in range(len(shards))]
    for path in sorted(directory.iterdir()):
        stale_shard = _SHARD.fullmatch(path.name) and path.name not in names
        if stale_shard or _LEFT_BEHIND.fullmatch(path.name):
            path.unlink()
    for name, spans in zip(names, shards, strict=True):
        if not (finished and (directory / name).is_file()):
            write_shard(directory / name, spans)
    if not finished:
        write_json(directory / MANIFEST, manifest.model_dump(mode="json"))


def _summary(manifest: CorpusManifest) -> str:
    sources = ", ".join(f"{source.name} {source.spans:,}" for source in manifest.sources)
    return (
        f"{manifest.rows:,} rows in {len(manifest.text_digests)} shards ({sources}), "
        f"{manifest.held_out_rows:,} held out"
    )
