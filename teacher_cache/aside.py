"""Setting files of a store aside: moved where nobody reads them, never deleted."""

import shutil
from pathlib import Path

from data_prep.files import refuse_link, sync


class Aside:
    """A directory for what was taken out of another.

    Attributes:
        root: The directory that things are taken out of; they go to its ``aside``.
        pretend: Whether to say only what would be done.
    """

    def __init__(self, root: Path, pretend: bool = False) -> None:
        """Point at a directory.

        Args:
            root: What things are taken out of.
            pretend: Whether to say only what would be done.
        """
        self.root = root
        self.pretend = pretend

    def move(self, label: str, **files: Path) -> str:
        """Move files out of the way, together.

        Args:
            label: What they are, as a relative path; a number is put behind it.
            **files: The files by the names that they get there, in the order of moving; what is
                not there is left out. Where a symbolic link leads to one, the link is moved.

        Returns:
            Where they went, or would go; empty if none was there.

        Raises:
            PipeError: ``aside`` is a symbolic link.
        """
        found = {name: self._link_before(path) for name, path in files.items()}
        found = {name: path for name, path in found.items() if path.is_symlink() or path.exists()}
        if not found:
            return ""
        place = self._free(label)
        if not self.pretend:
            place.mkdir(parents=True)
            for name, path in found.items():
                shutil.move(path, place / name)
                sync(path.parent)
            sync(place)
        return str(place)

    def copy(self, label: str, path: Path) -> str:
        """Keep a copy of a file that is about to be replaced; a link in its place is moved.

        Args:
            label: What it is, as a relative path; a number is put behind it.
            path: The file.

        Returns:
            Where the copy is, or would be; empty if there is no file.
        """
        if self._link_before(path).is_symlink() or not path.is_file():
            return self.move(label, **{path.name: path})
        place = self._free(label)
        if not self.pretend:
            place.mkdir(parents=True)
            shutil.copyfile(path, place / path.name)
        return str(place)

    def _link_before(self, path: Path) -> Path:
        """The first symbolic link on the way to a path, or else the path."""
        for part in [*path.relative_to(self.root).parents][-2::-1]:
            if (self.root / part).is_symlink():
                return self.root / part
        return path

    def _free(self, label: str) -> Path:
        refuse_link(self.root / "aside")
        number = 1
        while (place := self.root / "aside" / f"{label}-{number}").exists():
            number += 1
        return place
