"""Copying a corpus and a recipe between places: each file checked, the manifest last."""

import tempfile
import time
from pathlib import Path
from typing import Final

from data_prep.errors import PipeError
from data_prep.fingerprint import explain_change
from data_prep.manifest import MANIFEST, CorpusManifest, read_manifest
from data_prep.shards import read_table, shard_name, text_digest
from teacher_cache.mirror import in_parallel
from teacher_cache.place import RECIPE, Place
from teacher_cache.remote_files import RemoteFiles
from teacher_cache.store import TeacherStore

_ABANDONED_AFTER: Final = 3600.0
"""Seconds after which an unfinished file is a killed process's."""


def copy_corpus(source: Place, target: Place, jobs: int) -> int:
    """Copy the files of a corpus that another place lacks.

    Args:
        source: Where the corpus is; without one, nothing is copied.
        target: Where it goes.
        jobs: Files at a time.

    Returns:
        How many shards of the corpus were copied.

    Raises:
        PipeError: Another corpus stands there, a shard's texts are not those of the manifest, or a
            server does not answer.
    """
    if not source.corpus.exists(MANIFEST):
        return 0
    with tempfile.TemporaryDirectory(prefix="jasper-distill-") as temporary:
        scratch = Path(temporary)
        manifest = _manifest(source, scratch / "source")
        finished = target.corpus.exists(MANIFEST)
        if finished:
            _require_same(source, manifest, target, _manifest(target, scratch / "target"))
        _sweep(target.corpus)
        standing, offered = target.corpus.list(), source.corpus.list()
        wanted = [
            shard
            for shard, name in enumerate(map(shard_name, range(len(manifest.text_digests))))
            if name not in standing
            or (name in offered and standing[name].size != offered[name].size)
        ]

        def copy(shard: int) -> None:
            path = _checked_shard(source.corpus, manifest, shard, scratch)
            target.corpus.upload(path, shard_name(shard))
            if path.is_relative_to(scratch):
                path.unlink()

        in_parallel(copy, wanted, jobs)
        if not finished:
            target.corpus.upload(scratch / "source" / MANIFEST, MANIFEST)
    return len(wanted)


def require_corpus(place: Place, like: TeacherStore) -> None:
    """Check that the corpus in a place, if there is one, is a store's.

    Args:
        place: The place.
        like: The store.

    Raises:
        PipeError: It is another corpus, its manifest is damaged, or a server does not answer.
    """
    if not place.corpus.exists(MANIFEST):
        return
    with tempfile.TemporaryDirectory(prefix="jasper-distill-") as temporary:
        manifest = _manifest(place, Path(temporary))
    found = manifest.model_dump(include={"fingerprint", "rows", "rows_per_shard"})
    expected = {
        "fingerprint": like.corpus_fingerprint,
        "rows": like.layout.rows,
        "rows_per_shard": like.layout.rows_per_shard,
    }
    if found != expected:
        raise PipeError(
            f"{place} holds another corpus than the store to be copied "
            f"({explain_change(found, expected)}); choose another place, or move the corpus that "
            "is there away."
        )


def copy_recipe(source: Place, target: Place) -> bool:
    """Copy the recipe, unless the other place has one.

    Args:
        source: Where it is; without one, nothing is copied.
        target: Where it goes.

    Returns:
        Whether it was copied.

    Raises:
        PipeError: A server does not answer.
    """
    if target.files.exists(RECIPE) or not source.files.exists(RECIPE):
        return False
    with tempfile.TemporaryDirectory(prefix="jasper-distill-") as temporary:
        path = Path(temporary) / RECIPE
        source.files.download(RECIPE, path)
        target.files.upload(path, RECIPE)
    return True


def _manifest(place: Place, directory: Path) -> CorpusManifest:
    place.corpus.download(MANIFEST, directory / MANIFEST)
    return read_manifest(directory)


def _require_same(
    source: Place, ours: CorpusManifest, target: Place, theirs: CorpusManifest
) -> None:
    if ours.fingerprint != theirs.fingerprint:
        keys = {"fingerprint", "rows", "rows_per_shard"}
        change = explain_change(theirs.model_dump(include=keys), ours.model_dump(include=keys))
        raise PipeError(
            f"{target} holds another corpus than {source} ({change}); choose another place, or "
            "move the corpus that is there away."
        )


def _checked_shard(files: RemoteFiles, manifest: CorpusManifest, shard: int, scratch: Path) -> Path:
    name = shard_name(shard)
    if files.local is not None:
        path = files.path(name)
    else:
        path = scratch / name
        files.download(name, path)
    table = read_table(path, ["text", "role"])
    found = text_digest(table["text"].to_pylist(), table["role"].to_pylist())
    if found != manifest.text_digests[shard]:
        raise PipeError(
            f"{files}/{name} does not hold the texts that its manifest records; `pipe prep` makes "
            "the same shard again where it was made."
        )
    return path


def _sweep(files: RemoteFiles) -> None:
    """Remove what killed processes left in a corpus directory of this machine."""
    directory = files.local
    if directory is None or not directory.is_dir():
        return
    for path in directory.glob(".spans-*.tmp"):
        if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
            path.unlink(missing_ok=True)
