"""The file of a store's manifest: made, read, and changed by one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.errors import PipeError
from data_prep.files import refuse_link
from teacher_cache.arrays import create_group
from teacher_cache.file_lock import locked
from teacher_cache.manifest import StoreManifest, read_record, write_record

_MANIFEST = "manifest.json"


def create_manifest(
    directory: Path, fingerprint: str, rows: int, rows_per_shard: int, *, again: bool = False
) -> None:
    """Make an empty store, unless one is there.

    Args:
        directory: Where it belongs.
        fingerprint: Of the corpus.
        rows: Rows of the corpus.
        rows_per_shard: Rows of a shard, a multiple of 64.
        again: Whether records that are there are known, and their manifest lost.

    Raises:
        PipeError: There are records, whose manifest is lost.
    """
    manifest = StoreManifest(
        corpus_fingerprint=fingerprint, rows=rows, rows_per_shard=rows_per_shard
    )
    directory.mkdir(parents=True, exist_ok=True)
    with exclusive(directory):
        if not (directory / _MANIFEST).exists():
            if not again and holds_commits(directory):
                raise PipeError(
                    f"found committed shards in {directory} and no {_MANIFEST}, expected one; "
                    "`pipe store repair` makes it again."
                )
            create_group(directory / "vectors.zarr")
            write_manifest(directory, manifest)


def holds_commits(directory: Path) -> bool:
    """Say whether a directory has commit records, with a manifest or without.

    Args:
        directory: The store's directory, which need not exist.
    """
    return next(directory.glob("commits/*/*.json"), None) is not None


def read_manifest(directory: Path) -> StoreManifest:
    """Read a store's manifest.

    Args:
        directory: The store's directory.

    Returns:
        The manifest.

    Raises:
        PipeError: There is no store, or its manifest is damaged.
    """
    path = directory / _MANIFEST
    if not path.exists():
        raise PipeError(
            f"found no store in {directory}, expected a {_MANIFEST} there; run `pipe teach`, or "
            "check the path."
        )
    return read_record(path, StoreManifest)


def write_manifest(directory: Path, manifest: StoreManifest) -> None:
    """Write a store's manifest in the place of the one that stands there.

    Args:
        directory: The store's directory, held by ``exclusive``.
        manifest: The manifest.
    """
    write_record(directory / _MANIFEST, manifest)


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Keep other processes from changing the manifest; a killed holder's lock is gone with it.

    Args:
        directory: The store's directory.

    Yields:
        Nothing, while this process may change the manifest.
    """
    refuse_link(directory / ".lock")
    # A file system without locks still has atomic replacement; only two workers that add
    # different teachers in the same instant could then lose an entry, and it is added again.
    with locked(directory / ".lock"):
        yield
