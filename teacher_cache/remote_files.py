"""Files below one root on any fsspec file system: listed, read, copied either way, with patience.

A server that is busy or a connection that breaks is tried again, with growing pauses; a missing
file or a refused access is told at once. Names are checked before they are joined to the root, so
that nothing in a listing or a manifest leads outside it.
"""

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from data_prep.errors import PipeError
from data_prep.files import atomic_write, refuse_link
from teacher_cache.patience import is_passing, patiently

T = TypeVar("T")

_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""Protocols whose library comes with an extra of this package."""

_SAFE_PART: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Listed:
    """A file in a listing.

    Attributes:
        size: Its bytes.
        version: What changes when it does; None if the file system does not say.
    """

    size: int
    version: str | None


class RemoteFiles:
    """The files below a root, a URL or a local directory; cheap to make, safe to pickle.

    Attributes:
        root: The URL or path, without a slash at its end.
    """

    def __init__(self, root: str) -> None:
        """Point at a root; nothing is looked at yet.

        Args:
            root: An fsspec URL or a path.
        """
        self.root = root.rstrip("/") or "/"
        self._opened: tuple[int, Any, str] | None = None

    def __reduce__(self) -> tuple[object, tuple[str]]:
        # Connections do not survive a move to another process.
        return (type(self), (self.root,))

    def __str__(self) -> str:
        return self.root

    def __truediv__(self, name: str) -> "RemoteFiles":
        return RemoteFiles(f"{self.root}/{_checked(name)}")

    @property
    def local(self) -> Path | None:
        """The root as a path, if it is a directory on this machine."""
        files, base = self._files()
        return Path(base) if isinstance(files, LocalFileSystem) else None

    def path(self, name: str) -> Path:
        """Say where a file of a local root lies.

        Args:
            name: Relative to the root.

        Raises:
            PipeError: A symbolic link stands in the way.
        """
        return Path(self._full(name))

    def list(self) -> dict[str, "Listed"]:
        """List every file, at any depth.

        Returns:
            The files by their names relative to the root. Those whose names no run uses are left
            out.

        Raises:
            PipeError: A symbolic link is among them, or the server does not answer.
        """
        start = self._files()[1]

        def listed(files: Any) -> dict[str, dict[str, Any]]:
            files.invalidate_cache()
            try:
                found: dict[str, dict[str, Any]] = files.find(start, detail=True)
            except FileNotFoundError:
                found = {}
            return found

        found = self._try(self.root, listed)
        base = self._files()[1].rstrip("/") + "/"
        names = {}
        for path, info in found.items():
            if not path.startswith(base):
                continue
            name = path[len(base) :]
            if info.get("type") != "directory" and _is_safe(name):
                self._refuse_links(name)
                names[name] = Listed(int(info.get("size") or 0), _version(info))
        return names

    def exists(self, name: str) -> bool:
        """Whether there is such a file.

        Args:
            name: Relative to the root.
        """
        return self.size(name) is not None

    def size(self, name: str) -> int | None:
        """A file's size.

        Args:
            name: Relative to the root.

        Returns:
            Bytes; None if there is no such file.
        """
        full = self._full(name)

        def asked(files: Any) -> int | None:
            files.invalidate_cache()
            try:
                return int(files.info(full)["size"])
            except FileNotFoundError:
                return None

        return self._try(f"{self.root}/{name}", asked)

    def read(self, name: str, start: int | None = None) -> bytes:
        """Read a file.

        Args:
            name: Relative to the root.
            start: From this byte on; a negative one counts from the end.

        Returns:
            Its bytes.

        Raises:
            PipeError: It is missing, or cannot be read.
        """
        full = self._full(name)

        def asked(files: Any) -> bytes:
            content: bytes = files.cat_file(full, start=start)
            return content

        return self._try(f"{self.root}/{name}", asked)

    def download(self, name: str, target: Path) -> None:
        """Copy a file to this machine; it appears whole or not at all.

        Args:
            name: Relative to the root.
            target: Where it belongs; a file there is replaced.

        Raises:
            PipeError: It is missing, or cannot be read.
        """
        full = self._full(name)
        with atomic_write(target) as temporary:
            self._try(f"{self.root}/{name}", lambda files: files.get_file(full, str(temporary)))

    def upload(self, source: Path, name: str) -> None:
        """Copy a file from this machine; a reader sees all of it or nothing.

        Args:
            source: The file.
            name: Relative to the root.

        Raises:
            PipeError: It cannot be written.
        """
        full = self._full(name)
        if self.local is not None:
            with atomic_write(Path(full)) as temporary:
                self._try(
                    f"{self.root}/{name}", lambda files: files.put_file(str(source), str(temporary))
                )
            return
        self._try(f"{self.root}/{name}", lambda files: files.put_file(str(source), full))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Args:
            name: Relative to the root.

        Raises:
            PipeError: It cannot be removed.
        """
        full = self._full(name)

        def asked(files: Any) -> None:
            with suppress(FileNotFoundError):
                files.rm_file(full)

        self._try(f"{self.root}/{name}", asked)

    def _full(self, name: str) -> str:
        base = self._files()[1].rstrip("/")
        self._refuse_links(name)
        return f"{base}/{_checked(name)}"

    def _refuse_links(self, name: str) -> None:
        path = self.local
        if path is not None:
            for part in _checked(name).split("/"):
                path = path / part
                refuse_link(path)

    def _files(self) -> tuple[Any, str]:
        """The file system and the root on it; a forked process opens its own."""
        if self._opened is None or self._opened[0] != os.getpid():
            files, base = _open(self.root)
            self._opened = (os.getpid(), files, base)
        return self._opened[1:]

    def _try(self, what: str, call: Callable[[Any], T]) -> T:
        try:
            return patiently(lambda: call(self._files()[0]))
        except PipeError:
            raise
        except FileNotFoundError:
            raise PipeError(f"found no {what}, expected a file there; check the URL.") from None
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            remedy = (
                "the same command continues once the server answers"
                if is_passing(error)
                else "check the URL, and that its credentials allow this"
            )
            raise PipeError(f"{what} cannot be used ({reason}); {remedy}.") from error


def _open(root: str) -> tuple[Any, str]:
    try:
        files, base = url_to_fs(root)
    except (ImportError, ValueError) as error:
        protocol = root.split("://", maxsplit=1)[0]
        if protocol in _EXTRAS:
            extra = f"jasper-distill[{_EXTRAS[protocol]}]"
            raise PipeError(
                f"{root} needs a library that is not installed ({error}); pip install '{extra}'."
            ) from None
        known = ", ".join(sorted({"file", "gs", "hf", "s3"} & set(fsspec.available_protocols())))
        raise PipeError(
            f"{root} cannot be opened ({error}); expected a directory or an fsspec URL such as "
            f"those of {known}."
        ) from None
    return files, str(base)


def _is_safe(name: str) -> bool:
    return all(_SAFE_PART.fullmatch(part) for part in name.split("/"))


def _checked(name: str) -> str:
    if not _is_safe(name):
        raise PipeError(
            f"found the file name {name!r}, expected letters, digits, '.', '_' and '-' below the "
            "place's own directory; such a name leads elsewhere and is not followed."
        )
    return name


def _version(info: dict[str, Any]) -> str | None:
    """What changes when a file does, from what its file system says of it; a size is no mark."""
    keys = ("ETag", "etag", "blob_id", "md5Hash", "mtime", "LastModified", "created", "updated")
    marks = [str(info[key]) for key in keys if info.get(key) is not None]
    return f"{info.get('size')} {marks[0]}" if marks else None
