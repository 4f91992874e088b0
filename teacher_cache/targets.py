"""Stores that are copied to: a directory of this machine, or a URL.

On either side a shard's file is written before its commit, so that a reader, or the next attempt
after a kill, never finds a commit without its shard.
"""

import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from data_prep.errors import PipeError
from data_prep.files import atomic_write, refuse_link
from teacher_cache.manifest import Commit, StoreManifest, read_record, write_record
from teacher_cache.mirror import MANIFEST, has_store, mirror
from teacher_cache.place import Place, canary_file, commit_file, head_file, shard_file
from teacher_cache.roster import create_manifest
from teacher_cache.store import TeacherStore
from teacher_cache.views import View

_TAIL_BYTES: Final = 4096
"""Bytes at the end of an uploaded shard that are read back: its index and what stands before."""


class Target(ABC):
    """A store that shards are copied to.

    Attributes:
        view: The store as it is: the directory itself, or a draft of the remote one's small files.
    """

    view: View

    def add_teacher(self, name: str, source: View) -> None:
        """Make room for a teacher, with its last layer and its canary.

        Args:
            name: The teacher's name.
            source: A store that has it.

        Raises:
            PipeError: It is there with other settings.
        """
        entry = source.store.entry(name)
        self.view.store.add_teacher(entry.config, source.head(name))
        canary, kept = (view.store.directory / canary_file(name) for view in (source, self.view))
        refuse_link(canary)
        if canary.exists() and not kept.exists():
            with atomic_write(kept) as temporary:
                shutil.copyfile(canary, temporary)

    @abstractmethod
    def publish(self, teachers: list[str]) -> None:
        """Let readers see the teachers that were added.

        Args:
            teachers: Their names.
        """

    @abstractmethod
    def scratch(self) -> Path:
        """A new directory for a download, where what is placed can be moved from."""

    @abstractmethod
    def put(self, commit: Commit, path: Path, record: Path) -> bool:
        """Place a shard's file, then its commit.

        Args:
            commit: The shard's commit.
            path: Its file, checked.
            record: The commit's file.

        Returns:
            False if another process has committed the shard meanwhile.

        Raises:
            PipeError: It cannot be written, or what was written is not what is read back.
        """


class LocalTarget(Target):
    """A store in a directory of this machine."""

    def __init__(self, place: Place, like: TeacherStore) -> None:
        """Open the store, or make an empty one.

        Args:
            place: Where it belongs.
            like: A store of the same corpus.

        Raises:
            PipeError: A store of something else, or a damaged one, stands there.
        """
        files = place.store
        directory = files.local
        if directory is None:
            raise ValueError(f"{place} is not on this machine")
        if not has_store(files):
            layout = like.layout
            create_manifest(directory, like.corpus_fingerprint, layout.rows, layout.rows_per_shard)
        store = TeacherStore.open(directory)
        store.sweep_scratch()
        self.view = View(place.location, files, store)

    def publish(self, teachers: list[str]) -> None:
        """As ``Target``: they are seen already."""

    def scratch(self) -> Path:
        """As ``Target``: on the store's own file system."""
        parent = self.view.store.directory / "scratch"
        refuse_link(parent)
        parent.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent, prefix="moving-"))

    def put(self, commit: Commit, path: Path, record: Path) -> bool:
        """As ``Target``."""
        return self.view.store.adopt_shard(commit, path)


class RemoteTarget(Target):
    """A store at a URL; what is written there is drafted in a directory of this machine."""

    def __init__(self, place: Place, like: TeacherStore, draft: Path) -> None:
        """Mirror the store, or draft an empty one.

        Args:
            place: Where it belongs.
            like: A store of the same corpus.
            draft: A directory of this process's own.

        Raises:
            PipeError: A damaged store stands there, or the server does not answer.
        """
        files = place.store
        if has_store(files):
            mirror(files, draft)
        else:
            layout = like.layout
            create_manifest(draft, like.corpus_fingerprint, layout.rows, layout.rows_per_shard)
        self._draft = draft
        self.view = View(place.location, files, TeacherStore.open(draft))

    def publish(self, teachers: list[str]) -> None:
        """As ``Target``; the manifest goes last."""
        small = ["vectors.zarr/zarr.json"]
        for name in teachers:
            small += [f"vectors.zarr/{name}/zarr.json", head_file(name), canary_file(name)]
        for name in small:
            if (self._draft / name).exists():
                self._upload_changed(self._draft / name, name)
        manifest = read_record(self._draft / MANIFEST, StoreManifest)
        if self.view.files.exists(MANIFEST):
            # Another process may have added teachers since the draft was made.
            path = self._draft / "standing.json"
            self.view.files.download(MANIFEST, path)
            standing = read_record(path, StoreManifest)
            update = {
                "teachers": {**standing.teachers, **manifest.teachers},
                "metadata": {**standing.metadata, **manifest.metadata},
            }
            manifest = manifest.model_copy(update=update)
        write_record(self._draft / "published.json", manifest)
        self._upload_changed(self._draft / "published.json", MANIFEST)

    def _upload_changed(self, path: Path, name: str) -> None:
        files, content = self.view.files, path.read_bytes()
        if files.size(name) != len(content) or files.read(name) != content:
            files.upload(path, name)

    def scratch(self) -> Path:
        """As ``Target``: anywhere."""
        return Path(tempfile.mkdtemp(dir=self._draft, prefix="moving-"))

    def put(self, commit: Commit, path: Path, record: Path) -> bool:
        """As ``Target``; the file's size and its end are read back before the commit goes."""
        files, name = self.view.files, shard_file(commit.teacher, commit.shard)
        files.upload(path, name)
        size = path.stat().st_size
        tail = min(size, _TAIL_BYTES)
        with path.open("rb") as file:
            file.seek(size - tail)
            expected = file.read()
        found = files.size(name)
        if found != size or files.read(name, start=size - tail) != expected:
            raise PipeError(
                f"found {found} bytes or another end in {files}/{name}, expected the {size} bytes "
                "that were uploaded; the same command uploads it again."
            )
        files.upload(record, commit_file(commit.teacher, commit.shard))
        return True


def open_target(place: Place, like: TeacherStore, draft: Path) -> Target:
    """Open a store to copy to.

    Args:
        place: Where it lies or belongs.
        like: A store of the same corpus, which an empty one is made after.
        draft: A directory of this process's own, for the small files of a remote store.

    Returns:
        The store.

    Raises:
        PipeError: A damaged store stands there, or it cannot be reached.
    """
    if place.store.local is not None:
        return LocalTarget(place, like)
    return RemoteTarget(place, like, draft)
