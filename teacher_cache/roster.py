"""The teachers that a store knows: its manifest and the Zarr array of each."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from data_prep.errors import PipeError
from data_prep.files import refuse_link, replace_durably
from data_prep.fingerprint import explain_change
from teacher_cache.arrays import (
    METADATA,
    check_array,
    check_group,
    create_array,
    create_group,
    metadata_digest,
)
from teacher_cache.commits import CommitLog
from teacher_cache.config import TeacherConfig
from teacher_cache.heads import head_entry, head_path, read_head, write_head
from teacher_cache.layout import ShardLayout
from teacher_cache.linear_head import LinearHead
from teacher_cache.manifest import HeadEntry, StoreManifest, TeacherEntry
from teacher_cache.manifest_file import exclusive, read_manifest, write_manifest
from teacher_cache.storage import STORAGES, Storage


class Roster:
    """Looks teachers up in a store's manifest, and adds them.

    A teacher whose array and commits were both removed by hand counts as absent.

    Attributes:
        manifest: The manifest as it was last read.
    """

    def __init__(self, directory: Path, manifest: StoreManifest, commits: CommitLog) -> None:
        """Point at a store.

        Args:
            directory: The store's directory.
            manifest: Its manifest.
            commits: Its commit records.
        """
        self._directory = directory
        self._vectors = directory / "vectors.zarr"
        self._layout = ShardLayout(manifest.rows, manifest.rows_per_shard)
        self._commits = commits
        self._storages: dict[str, Storage] = {}
        self._use(manifest)

    def _use(self, manifest: StoreManifest) -> None:
        self.manifest = manifest
        self._teachers = {
            name: manifest.teachers[name]
            for name in sorted(manifest.teachers)
            if (self._vectors / name).exists() or self._has_commits(name)
        }

    def _has_commits(self, teacher: str) -> bool:
        try:
            return bool(self._commits.shards(teacher))
        except PipeError:
            return True  # a link in their place: whoever looks at them is told

    @property
    def teachers(self) -> Mapping[str, TeacherEntry]:
        """The teachers by name, in the order of their names."""
        return self._teachers

    def entry(self, teacher: str) -> TeacherEntry:
        """Look up a teacher.

        Args:
            teacher: Its name.

        Returns:
            Its entry in the manifest.

        Raises:
            PipeError: The store does not have it.
        """
        if teacher not in self._teachers:
            # Another worker may have added it since the store was opened.
            self._use(read_manifest(self._directory))
        if teacher not in self._teachers:
            names = ", ".join(self._teachers) or "none"
            raise PipeError(
                f"found no teacher {teacher!r} in the store in {self._directory}, expected one of"
                f" those it has ({names}); run `pipe teach --teacher {teacher}`."
            )
        return self._teachers[teacher]

    def storage(self, entry: TeacherEntry) -> Storage:
        """Say how a teacher's vectors are kept.

        Args:
            entry: The teacher.

        Returns:
            Its storage, with its last layer where that is needed.

        Raises:
            PipeError: The last layer is missing or damaged.
        """
        storage = self._storages.get(entry.fingerprint)
        if storage is None:
            head = None
            if entry.head is not None:
                path = head_path(self._directory, entry.config.name)
                head = read_head(path, entry.head, entry.config.dim)
            storage = STORAGES[entry.config.storage](entry, head)
            self._storages[entry.fingerprint] = storage
        return storage

    def check_group(self) -> None:
        """Check the Zarr group around the arrays.

        Raises:
            PipeError: It is missing or damaged.
        """
        check_group(self._vectors)

    def check_array(self, entry: TeacherEntry) -> None:
        """Check that a teacher's Zarr array is the one that the manifest describes.

        Args:
            entry: The teacher.

        Raises:
            PipeError: It is missing, damaged, or made for something else.
        """
        self._check_array(entry, self.manifest.metadata.get(entry.config.name))

    def check_head(self, entry: TeacherEntry) -> None:
        """Check a teacher's last layer, if it has one.

        Args:
            entry: The teacher.

        Raises:
            PipeError: The layer is missing or damaged.
        """
        if entry.head is not None:
            path = head_path(self._directory, entry.config.name)
            read_head(path, entry.head, entry.config.dim)

    def has_head(self, entry: TeacherEntry) -> bool:
        """Say whether a teacher has, or does not need, a file with its last layer.

        Args:
            entry: The teacher.

        Returns:
            Whether there is one, sound or not.
        """
        path = head_path(self._directory, entry.config.name)
        return entry.head is None or os.path.lexists(path)

    def _check_array(self, entry: TeacherEntry, digest: str | None) -> None:
        array, corpus = self._vectors / entry.config.name, self.manifest.corpus_fingerprint
        check_array(array, self._layout, entry, corpus, digest)

    def add(self, config: TeacherConfig, head: LinearHead | None = None) -> TeacherEntry:
        """Make room for a teacher; nothing happens if it is there with the same settings.

        Args:
            config: Its settings.
            head: Its last layer, if its storage is ``factored``; one that stands needs none.

        Returns:
            Its entry in the manifest.

        Raises:
            PipeError: It is there with other settings, or a last layer is wanting.
        """
        with exclusive(self._directory):
            self._use(read_manifest(self._directory))
            self.check_group()
            standing = self._teachers.get(config.name)
            if standing is not None:
                self._require_same(standing, config, head)
                if head is not None and not self.has_head(standing):
                    # Set aside because it was damaged; this is the one that belongs there.
                    write_head(head_path(self._directory, config.name), head)
                self.check_array(standing)
                return standing
            entry = TeacherEntry.of(config, self._keep_head(config, head))
            array = self._vectors / config.name
            refuse_link(array)
            # A worker that was killed may have left the bare directory.
            if not (array / METADATA).exists() and not (array / "c").exists():
                self._make_array(entry)
            self._check_array(entry, None)
            self._write(entry, metadata_digest(array))
        return entry

    def mend_metadata(self, entry: TeacherEntry) -> None:
        """Make a teacher's Zarr metadata again, and take the teacher into the manifest.

        Args:
            entry: The teacher.
        """
        with exclusive(self._directory):
            self._use(read_manifest(self._directory))
            self._make_array(entry)
            self._write(entry, metadata_digest(self._vectors / entry.config.name))

    def mend_group(self) -> None:
        """Make the metadata of the group around the arrays again."""
        with exclusive(self._directory):
            create_group(self._vectors)

    def _make_array(self, entry: TeacherEntry) -> None:
        """Make an array's metadata elsewhere and put it in its place whole."""
        place, array = self._directory / "scratch", self._vectors / entry.config.name
        refuse_link(place)
        place.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=place) as scratch:
            made = Path(scratch) / entry.config.name
            create_array(made, self._layout, entry, self.manifest.corpus_fingerprint)
            array.mkdir(parents=True, exist_ok=True)
            replace_durably(made / METADATA, array / METADATA)

    def _keep_head(self, config: TeacherConfig, head: LinearHead | None) -> HeadEntry | None:
        if config.storage != "factored":
            return None
        if head is None or head.dim != config.dim:
            found = "none" if head is None else f"one that gives {head.dim} numbers"
            raise PipeError(
                f"{config.name} has factored storage and needs its last layer with {config.dim} "
                f"outputs, found {found}; mend the teacher's `dim` or its storage."
            )
        write_head(head_path(self._directory, config.name), head)
        return head_entry(head)

    def _write(self, entry: TeacherEntry, digest: str) -> None:
        name = entry.config.name
        update = {
            "teachers": {**self.manifest.teachers, name: entry},
            "metadata": {**self.manifest.metadata, name: digest},
        }
        manifest = self.manifest.model_copy(update=update)
        write_manifest(self._directory, manifest)
        self._use(manifest)

    def _require_same(
        self, standing: TeacherEntry, config: TeacherConfig, head: LinearHead | None
    ) -> None:
        name = config.name
        change = explain_change(standing.config.identity(), config.identity())
        if not change and standing.head and head and standing.head != head_entry(head):
            change = "the weights of its last layer"
        if not change:
            return
        raise PipeError(
            f"the settings of teacher {name} are not those that its vectors in "
            f"{self._directory} were made with: {change}; put the old settings back, give the "
            f"new teacher another name, or remove {self._vectors / name} and "
            f"{self._commits.directory / name} to encode it again."
        )
