"""Making a corpus of pairs: the same bytes however often it stops."""

import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from data_prep.errors import PipeError
from data_prep.files import exclusive, write_json
from data_prep.fingerprint import explain_change
from data_prep.manifest import MANIFEST, CorpusManifest
from data_prep.pairs.captions import captions_manifest, captions_table
from data_prep.pairs.config import PairsConfig
from data_prep.pairs.manifest import (
    IMAGES,
    ImagesManifest,
    pairs_fingerprint,
    read_images_manifest,
)
from data_prep.pairs.records import Pair
from data_prep.pairs.scan import REPORT_SECONDS, Scan, Spool, scan
from data_prep.pairs.selection import select
from data_prep.pairs.shards import ImageShard, image_shard_name, pairs_digest, write_images
from data_prep.sentences import sentences
from data_prep.shards import shard_name, write_shard
from data_prep.standing import find_standing

_SPOOL = ".images.spool"
_OURS = re.compile(r"(?:spans|images)-\d{5,}\.parquet")
_LEFT_BEHIND = re.compile(
    r"\.(?:(?:spans|images)-\d{5,}\.parquet|(?:manifest|images)\.json)\..*\.tmp"
)


def prepare_pairs(
    config: PairsConfig, directory: Path, report: Callable[[str], None]
) -> CorpusManifest:
    """Make a corpus of pairs, or finish one that was interrupted, or see that it stands.

    Files are written whole, and the manifest last. As every byte follows from the configuration
    and the sources, an interrupted corpus is made again, with the same bytes; shards of images
    that it left are kept. A finished corpus is read again from its sources only if one of its
    files has gone.

    Args:
        config: The corpus wanted.
        directory: Where it belongs; made if need be.
        report: Gets lines of progress.

    Returns:
        The manifest of the captions.

    Raises:
        PipeError: A corpus of another configuration stands there, a source cannot be read or has
            too few pairs, another process is at work there, or the disk refuses a file.
    """
    with exclusive(directory, "is preparing"):
        standing = standing_pairs(config, directory)
        try:
            if standing is not None:
                standing = _restated(standing, config, directory)
                gone = _missing_files(standing, directory)
                if not gone:
                    read_images_manifest(directory, standing.fingerprint)
                    Spool(directory / _SPOOL).remove()  # of a run that was killed at its very end
                    report(f"the pairs stand: {standing.summary()}")
                    return standing
                report(f"{len(gone)} files of the pairs are missing and are made again")
            manifest = _make(config, directory, standing, report)
        except OSError as error:
            raise PipeError(
                f"the pairs cannot be written to {directory} ({error.strerror or error}); make "
                "room or correct the permissions, and run the same command again."
            ) from None
    report(f"wrote the pairs: {manifest.summary()}")
    return manifest


def standing_pairs(config: PairsConfig, directory: Path) -> CorpusManifest | None:
    """Find a finished corpus of pairs and check that it is the one asked for.

    Args:
        config: What is asked for.
        directory: Where it would be.

    Returns:
        The manifest of its captions; None if none is finished there.

    Raises:
        PipeError: It is of another configuration, or its manifest is damaged.
    """
    return find_standing(config, directory, _identity, "pairs")


def _identity(config: PairsConfig) -> dict[str, Any]:
    """All settings but for those that decide no byte of a shard: licences and ``on_error``."""
    settings = config.model_dump(mode="json", exclude={"on_error"})
    for source in settings["sources"]:
        source.pop("license")
    return settings


def _restated(manifest: CorpusManifest, config: PairsConfig, directory: Path) -> CorpusManifest:
    """Bring what a standing manifest repeats of the settings up to date."""
    licenses = {source.name: source.license for source in config.sources}
    restated = manifest.model_copy(
        update={
            "sources": tuple(
                source.model_copy(update={"license": licenses[source.name]})
                for source in manifest.sources
            ),
            "config": config.model_dump(mode="json"),
        }
    )
    if restated != manifest:
        write_json(directory / MANIFEST, restated.model_dump(mode="json"))
    return restated


def _make(
    config: PairsConfig,
    directory: Path,
    standing: CorpusManifest | None,
    report: Callable[[str], None],
) -> CorpusManifest:
    spool = Spool(directory / _SPOOL)
    try:
        scans: dict[str, Scan] = {}
        for source in config.sources:
            report(f"reading {source.name}" + (f" from {source.path}" if source.path else ""))
            scans[source.name] = found = scan(source, config, spool, report)
            report(
                f"{source.name}: {found.records:,} records, {len(found.pairs):,} pairs "
                f"({found.skipped.total():,} records skipped)"
            )
        selection = select((pair for one in scans.values() for pair in one.pairs), config)
        step = config.rows_per_shard
        rows = selection.rows
        shards = [rows[first : first + step] for first in range(0, len(rows), step)]
        lengths = [[len(sentences(pair.caption)) for pair in shard] for shard in shards]
        manifest = captions_manifest(config, selection, scans, shards, lengths)
        images = _images_manifest(manifest, shards)
        _require_same(standing, manifest, directory)
        _write(manifest, images, shards, lengths, directory, report)
    finally:
        spool.remove()
    return manifest


def _images_manifest(manifest: CorpusManifest, shards: list[list[Pair]]) -> ImagesManifest:
    digests = tuple(pairs_digest(shard) for shard in shards)
    return ImagesManifest(
        rows=manifest.rows,
        image_bytes=sum(pair.place.length for shard in shards for pair in shard),
        image_digests=digests,
        captions=manifest.fingerprint,
        fingerprint=pairs_fingerprint(manifest.fingerprint, digests),
    )


def _require_same(
    standing: CorpusManifest | None, manifest: CorpusManifest, directory: Path
) -> None:
    """Refuse to mend a corpus whose sources give other pairs by now."""
    if standing is None or manifest == standing:
        return
    told = {"rows", "sources", "dropped", "counts"}
    changes = explain_change(standing.model_dump(include=told), manifest.model_dump(include=told))
    raise _changed(directory, changes or "other captions")


def _changed(directory: Path, what: str) -> PipeError:
    return PipeError(
        f"the sources of {directory} have changed since the pairs were made ({what}); bring the "
        "former ones back, or use another --run."
    )


def _missing_files(manifest: CorpusManifest, directory: Path) -> list[str]:
    names = [IMAGES]
    for shard in range(len(manifest.text_digests)):
        names += [shard_name(shard), image_shard_name(shard)]
    return [name for name in names if not (directory / name).is_file()]


def _write(
    manifest: CorpusManifest,
    images: ImagesManifest,
    shards: list[list[Pair]],
    lengths: list[list[int]],
    directory: Path,
    report: Callable[[str], None],
) -> None:
    """Write what is missing, remove what an interrupted run left, and the manifest last."""
    finished = (directory / MANIFEST).exists()
    if finished and (directory / IMAGES).is_file():
        known = read_images_manifest(directory, manifest.fingerprint)
        if known != images:
            raise _changed(directory, "other images")
    names = {
        name
        for shard in range(len(shards))
        for name in (shard_name(shard), image_shard_name(shard))
    }
    for path in sorted(directory.iterdir()):
        stale = _OURS.fullmatch(path.name) and path.name not in names
        if stale or _LEFT_BEHIND.fullmatch(path.name):
            path.unlink()
    told = monotonic()
    for shard, (pairs, numbers) in enumerate(zip(shards, lengths, strict=True)):
        if monotonic() - told > REPORT_SECONDS:
            told = monotonic()
            report(f"{shard:,} of {len(shards):,} shards are written")
        if not (finished and (directory / shard_name(shard)).is_file()):
            write_shard(directory / shard_name(shard), [captions_table(pairs, numbers)])
        path = directory / image_shard_name(shard)
        if not _stands(path, images.image_digests[shard]):
            write_images(path, pairs)
    write_json(directory / IMAGES, images.model_dump(mode="json"))
    if not finished:
        write_json(directory / MANIFEST, manifest.model_dump(mode="json"))


def _stands(path: Path, digest: str) -> bool:
    """Whether a shard of images is there; every one that is there was put there whole."""
    if not path.is_file():
        return False
    try:
        ImageShard(path, digest)
    except PipeError:
        return False
    return True
