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
from data_prep.fingerprint import explain_change
from teacher_cache.manifest import Commit, StoreManifest, read_record, write_record
from teacher_cache.manifest_file import create_manifest
from teacher_cache.mirror import MANIFEST, has_store, mirror, require_bounded
from teacher_cache.place import Place, canary_file, commit_file, head_file, shard_file
from teacher_cache.remote_files import Listed
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
            listed = mirror(files, draft)
        else:
            listed = {}
            layout = like.layout
            create_manifest(draft, like.corpus_fingerprint, layout.rows, layout.rows_per_shard)
        self._draft = draft
        self._unsound = _set_aside_unsound(draft, listed)
        self.view = View(place.location, files, TeacherStore.open(draft))

    def publish(self, teachers: list[str]) -> None:
        """As ``Target``; the manifest goes last.

        Raises:
            PipeError: Another process has put another store, or other teachers, there meanwhile.
        """
        self._with_standing()
        small = ["vectors.zarr/zarr.json"]
        for name in teachers:
            small += [f"vectors.zarr/{name}/zarr.json", head_file(name), canary_file(name)]
        for name in small:
            if (self._draft / name).exists():
                self._upload_changed(self._draft / name, name)
        write_record(self._draft / "published.json", self._with_standing())
        self._upload_changed(self._draft / "published.json", MANIFEST)

    def _with_standing(self) -> StoreManifest:
        """The draft's manifest, with the teachers that other processes have added since."""
        ours, files = read_record(self._draft / MANIFEST, StoreManifest), self.view.files
        if (size := files.size(MANIFEST)) is None:
            return ours
        require_bounded(files, MANIFEST, size)
        path = self._draft / "standing.json"
        files.download(MANIFEST, path)
        standing = read_record(path, StoreManifest)
        both = ours.teachers.keys() & standing.teachers.keys()
        before, now = (
            {
                "corpus": manifest.corpus_fingerprint,
                "rows": manifest.rows,
                "rows_per_shard": manifest.rows_per_shard,
                **{f"teacher {name}": manifest.teachers[name].fingerprint for name in sorted(both)},
                **{f"last layer of {name}": _head_digest(manifest, name) for name in sorted(both)},
            }
            for manifest in (standing, ours)
        )
        if before != now:
            raise PipeError(
                f"another process has put another store in {files} meanwhile "
                f"({explain_change(before, now)}), expected the one that this copy began with; "
                "push to another place, or remove the store there."
            )
        update = {
            "teachers": {**standing.teachers, **ours.teachers},
            "metadata": {**standing.metadata, **ours.metadata},
        }
        return ours.model_copy(update=update)

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
        committed = commit_file(commit.teacher, commit.shard)
        if self._is_committed(committed):
            return False
        if committed in self._unsound:
            # First, so that it never stands beside another file than it describes.
            files.remove(committed)
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
        if self._is_committed(committed):
            return False
        files.upload(record, committed)
        return True

    def _is_committed(self, name: str) -> bool:
        """Whether a record stands now that is not one of those that were found unsound."""
        files, unsound = self.view.files, self._unsound.get(name)
        size = files.size(name)
        if size is None:
            return False
        return unsound is None or size != len(unsound) or files.read(name) != unsound


def _set_aside_unsound(draft: Path, listed: dict[str, Listed]) -> dict[str, bytes]:
    """Take the commits out of a draft that are damaged or whose shard is lost; their content."""
    store = TeacherStore.open(draft, check_commits=False)
    unsound = {}
    for teacher in store.teachers:
        for shard in store.committed(teacher):
            file = listed.get(shard_file(teacher, shard))
            try:
                store.commit(teacher, shard)
                if file is not None and file.size == store.shape(teacher, shard).file_bytes:
                    continue
            except PipeError:
                pass  # what is damaged is as good as absent
            record = store.commit_path(teacher, shard)
            unsound[commit_file(teacher, shard)] = record.read_bytes()
            record.unlink()
    return unsound


def _head_digest(manifest: StoreManifest, teacher: str) -> str | None:
    head = manifest.teachers[teacher].head
    return None if head is None else head.digest


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
