"""A store whose manifest is damaged or another's: made again from the commits and the recipe."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from data_prep.errors import PipeError
from data_prep.files import read_bounded, sha256_file
from teacher_cache.aside import Aside
from teacher_cache.config import TeacherConfig
from teacher_cache.heads import head_path
from teacher_cache.manifest import MOST_RECORD_BYTES, Commit, HeadEntry, TeacherEntry, read_record
from teacher_cache.manifest_file import create_manifest, holds_commits, read_manifest
from teacher_cache.store import TeacherStore

if TYPE_CHECKING:
    from data_prep.corpus import Corpus


def rebuild_manifest(
    directory: Path,
    corpus: "Corpus",
    teachers: Sequence[TeacherConfig],
    aside: Aside,
    error: PipeError,
) -> list[str]:
    """Set a manifest aside and make it again; shards that the recipe's teachers made stay.

    Args:
        directory: The store's directory.
        corpus: The corpus that it belongs to.
        teachers: The recipe's teachers.
        aside: Where the manifest goes.
        error: Why the store cannot be opened.

    Returns:
        What was done, one sentence per thing.

    Raises:
        PipeError: There is no store, or all of it is of another corpus.
    """
    path = directory / "manifest.json"
    stands = path.exists() or path.is_symlink()
    if not stands and not holds_commits(directory):
        raise error
    commits = {name: list(_readable_commits(directory, name)) for name in _directories(directory)}
    if _is_sound(directory) and not any(
        commit.shard < corpus.num_shards and commit.text_digest == corpus.text_digest(commit.shard)
        for found in commits.values()
        for commit in found
    ):
        raise error  # not a manifest in the wrong place: the whole store is another's
    try:
        damaged = read_bounded(path, MOST_RECORD_BYTES)
    except (OSError, ValueError):
        damaged = b""
    done = ["the manifest, which was gone, is made again"]
    if stands:
        kept = aside.move("store/manifest", **{path.name: path})
        done = [f"the manifest is made again; what stood there is in {kept}"]
    if not aside.pretend:
        size = corpus.rows, corpus.rows_per_shard
        create_manifest(directory, corpus.fingerprint, *size, again=True)
    for config in teachers:
        found = commits.pop(config.name, [])
        head = _known_head(directory, config, damaged)
        if config.storage == "factored" and head is None:
            done.append(f"`pipe teach` gives {config.name} its last layer, and takes it up again")
            continue
        entry = TeacherEntry.of(config, head)
        own = sum(commit.teacher_fingerprint == entry.fingerprint for commit in found)
        if own:
            if not aside.pretend:
                store = TeacherStore.open(directory, check_commits=False)
                store.roster.mend_metadata(entry)
            done.append(f"{config.name} is taken up again with {own} shards")
        elif found:
            done.append(
                f"{config.name} has {len(found)} shards of other settings than the recipe's, which "
                f"stay where they are; put the old settings back, or move {directory}"
                f"/vectors.zarr/{config.name} and {directory}/commits/{config.name} away"
            )
    return done + [
        f"{name} is no teacher of the recipe; its shards stay on disk and are not used"
        for name in commits
    ]


def _is_sound(directory: Path) -> bool:
    try:
        read_manifest(directory)
    except PipeError:
        return False
    return True


def _directories(directory: Path) -> list[str]:
    commits = directory / "commits"
    if commits.is_symlink() or not commits.is_dir():
        return []
    return sorted(path.name for path in commits.iterdir() if path.is_dir())


def _readable_commits(directory: Path, teacher: str) -> Iterator[Commit]:
    for path in sorted((directory / "commits" / teacher).glob("*.json")):
        try:
            commit = read_record(path, Commit)
        except PipeError:
            continue  # verifying tells of it
        if commit.teacher == teacher:
            yield commit


def _known_head(directory: Path, config: TeacherConfig, damaged: bytes) -> HeadEntry | None:
    """The last layer that stands there, if the manifest, damaged as it is, still names it."""
    path = head_path(directory, config.name)
    if config.storage != "factored" or path.is_symlink() or not path.is_file():
        return None
    digest = sha256_file(path)
    if digest.encode() not in damaged:
        return None
    try:
        with safe_open(path, "numpy") as tensors:
            shape = tensors.get_slice("weight").get_shape()
    except SafetensorError:
        return None
    return HeadEntry(state_dim=shape[1], digest=digest)
