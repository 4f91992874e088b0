"""Opening the stores that are copied: a local one as it lies, a remote one by its mirror."""

from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import PipeError
from data_prep.fingerprint import explain_change
from teacher_cache.linear_head import LinearHead
from teacher_cache.manifest import Commit, TeacherEntry
from teacher_cache.mirror import has_store, mirror
from teacher_cache.place import Place, shard_file
from teacher_cache.remote_files import RemoteFiles
from teacher_cache.storage import FactoredStorage
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class View:
    """A store to copy from.

    Attributes:
        name: What the user called its place.
        files: Its files.
        store: The store itself, or its mirror: everything but the shards' files.
    """

    name: str
    files: RemoteFiles
    store: TeacherStore

    @classmethod
    def open(cls, place: Place, scratch: Path) -> "View":
        """Open a store.

        Args:
            place: Where it lies.
            scratch: A directory of this process's own, for the mirror of a remote store.

        Returns:
            The view; every commit record has been checked.

        Raises:
            PipeError: There is no store, or it is damaged.
        """
        files = place.store
        directory = files.local
        if directory is None:
            mirror(files, scratch)
            try:
                return cls(place.location, files, TeacherStore.open(scratch))
            except PipeError as error:
                raise PipeError(
                    f"the store in {files} is damaged, found in its mirror ({error}); "
                    "`pipe store push` there from a whole store mends shards and their commits."
                ) from None
        if not has_store(files):
            raise PipeError(
                f"found no store in {directory}, expected a manifest.json there; check the path."
            )
        return cls(place.location, files, TeacherStore.open(directory))

    def commits(self, teacher: str) -> dict[int, Commit]:
        """Read a teacher's commits.

        Args:
            teacher: The teacher's name.

        Returns:
            The commits by shard; empty if the store does not have the teacher.
        """
        if teacher not in self.store.teachers:
            return {}
        found = {n: self.store.commit(teacher, n) for n in sorted(self.store.committed(teacher))}
        return {shard: commit for shard, commit in found.items() if commit is not None}

    def head(self, teacher: str) -> LinearHead | None:
        """Give a teacher's last layer, if its storage is ``factored``.

        Args:
            teacher: The teacher's name.
        """
        storage = self.store.storage(teacher)
        return storage.head if isinstance(storage, FactoredStorage) else None

    def fetch(self, commit: Commit, scratch: Path) -> Path:
        """Bring a shard's file to this machine and check all of it.

        Args:
            commit: The shard's commit.
            scratch: A directory of this call's own; a remote shard's file goes there.

        Returns:
            The file.

        Raises:
            PipeError: It is missing, or is not what was committed.
        """
        name = shard_file(commit.teacher, commit.shard)
        if self.files.local is not None:
            path = self.files.path(name)
            self.store.check_file(path, commit)
            return path
        path = scratch / f"{commit.shard}.shard"
        fetch_checked(self.files, name, path, self.store, commit)
        return path


def fetch_checked(
    files: RemoteFiles, name: str, path: Path, store: TeacherStore, commit: Commit
) -> None:
    """Download a shard's file and check all of it against its commit.

    A connection may lose bytes without a word, so what does not check is fetched once more.

    Args:
        files: Where the file is.
        name: Its name there.
        path: Where it goes.
        store: A store that has the shard's teacher.
        commit: The shard's commit.

    Raises:
        PipeError: It is missing, or is not what was committed.
    """
    expected = store.shape(commit.teacher, commit.shard).file_bytes
    for last in (False, True):
        found = files.size(name)
        if found is not None and found != expected:
            raise PipeError(
                f"found {found:,} bytes in {files}/{name}, expected {expected:,}; it is not "
                "downloaded: `pipe store push` copies the shard again from a whole store."
            )
        files.download(name, path)
        try:
            store.check_file(path, commit)
        except PipeError as error:
            path.unlink(missing_ok=True)
            if last:
                raise PipeError(
                    f"{files}/{name} is not what its commit says, in two downloads ({error}); "
                    "remove that file there, and `pipe store push` copies it again from a whole "
                    "store."
                ) from None
        else:
            return


def require_agreement(views: list[View], teachers: list[str]) -> None:
    """Check that stores can be one: of the same corpus, and with the same teachers' settings.

    Args:
        views: The stores.
        teachers: The teachers that are copied.

    Raises:
        PipeError: They differ; what differs is said.
    """
    first, *others = views
    for other in others:
        one, two = first.store.corpus_identity, other.store.corpus_identity
        if one != two:
            raise PipeError(
                f"the stores in {first.name} and {other.name} are of different corpora "
                f"({explain_change(one, two)}); copy only between stores of one corpus."
            )
    known: dict[str, tuple[View, TeacherEntry]] = {}
    for view in views:
        for name in teachers:
            entry = view.store.teachers.get(name)
            if entry is None:
                continue
            where, standing = known.setdefault(name, (view, entry))
            if standing.fingerprint != entry.fingerprint:
                change = explain_change(standing.config.identity(), entry.config.identity())
            elif standing.head != entry.head:
                change = "its last layer has other weights"
            else:
                continue
            raise PipeError(
                f"teacher {name} is not the same in {where.name} and {view.name}: {change}; leave "
                "it out with --teacher, or give one of the two another name."
            )
