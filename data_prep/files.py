"""Files that are either whole or absent: atomic writes, digests, JSON."""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data_prep.errors import PipeError

UNFINISHED = ".*.tmp"
"""Matches what ``temporary_for`` gives, and no finished file."""


def sync(path: Path) -> None:
    """Make a file's bytes or a directory's entries durable, so that they survive a power cut.

    Args:
        path: An existing file or directory.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(source: Path, target: Path) -> None:
    """Move a finished file to its place in one step and make the move durable.

    Args:
        source: A complete file, on the same file system as ``target``.
        target: Where it belongs; a file there is replaced.
    """
    sync(source)
    source.replace(target)
    sync(target.parent)


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link, which could lead out of the directory that is being read.

    Args:
        path: A file or directory, which need not exist.

    Raises:
        PipeError: It is a symbolic link.
    """
    if path.is_symlink():
        raise PipeError(
            f"found a symbolic link at {path}, expected a file or directory of its own, since a "
            "link could lead anywhere; put the file itself there."
        )


def refuse_links(path: Path, below: Path) -> None:
    """Refuse symbolic links on the way to a file; what lies above is the user's business.

    Args:
        path: A file or directory below ``below``, which need not exist.
        below: A directory, which may itself be a link.

    Raises:
        PipeError: The file, or a directory between the two, is a symbolic link.
    """
    for part in [*path.relative_to(below).parents][-2::-1]:
        refuse_link(below / part)
    refuse_link(path)


def read_bounded(path: Path, most: int) -> bytes:
    """Read a small file whole, whatever may stand in its place.

    Args:
        path: The file.
        most: Bytes that it may have.

    Returns:
        Its content.

    Raises:
        ValueError: It is no regular file, or is larger.
        OSError: It cannot be read.
    """
    # Without O_NONBLOCK, opening a pipe waits for whoever may write to it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("something that is no file")
        if status.st_size > most:
            raise ValueError(f"{status.st_size:,} bytes where at most {most:,} make sense")
        return file.read(most)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file elsewhere in its directory and put it in place only when it is whole.

    Args:
        path: Where the file belongs; its directory is made if need be.

    Yields:
        The temporary path to write to. It is removed if the block raises.

    Raises:
        OSError: The file cannot be written; the error names ``path``, which the user knows.
    """
    temporary = temporary_for(path)
    try:
        yield temporary
        replace_durably(temporary, path)
    except OSError as error:
        name_instead(error, temporary, path)
        raise
    finally:
        with suppress(OSError):  # it was not begun, or its place is gone
            temporary.unlink()


def temporary_for(path: Path) -> Path:
    """Name a file to write before it is put in place with ``replace_durably``.

    Args:
        path: Where the file belongs; its directory is made if need be.

    Returns:
        A path beside it that nobody else has.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def name_instead(error: OSError, hidden: Path, known: Path) -> None:
    """Let an error name a path that the user knows, for a hidden one or what lies below it.

    Args:
        error: Changed where it stands.
        hidden: Where something is until it is whole.
        known: Where it belongs.
    """

    def named(text: object) -> object:
        return text.replace(str(hidden), str(known)) if isinstance(text, str) else text

    if error.filename is None:  # an error of a library, whose words are its first argument
        error.args = tuple(map(named, error.args))
    elif not isinstance(error.filename, int):
        error.filename = named(os.fspath(error.filename))


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Build a directory beside its place and put it there only when all of it is on disk.

    Args:
        path: Where the directory belongs; a directory there is replaced.

    Yields:
        An empty directory to fill. An interrupted one is left and cleared by the next call.

    Raises:
        OSError: The directory cannot be written; the error names ``path``, which the user knows.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        _put_in_place(unfinished, path)
    except OSError as error:
        name_instead(error, unfinished, path)
        raise


def _put_in_place(unfinished: Path, path: Path) -> None:
    # As new files are: safetensors makes its own readable for their owner alone.
    usual = unfinished.stat().st_mode & 0o666
    for entry in unfinished.rglob("*"):
        if entry.is_file():
            entry.chmod(usual)
        sync(entry)
    sync(unfinished)
    replaced = path.with_name(f".{path.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if path.exists():
        path.rename(replaced)
    unfinished.rename(path)
    sync(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def exclusive(directory: Path, doing: str) -> Iterator[None]:
    """Make a directory and keep other processes out of it while the block runs.

    Args:
        directory: The directory.
        doing: What is done there, for the one who comes second: ``"is training in"``.

    Raises:
        PipeError: Another process is there, or the directory cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise PipeError(
            f"{directory} cannot be used ({error.strerror}); choose another --run."
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PipeError(
            f"another process {doing} {directory}; wait until it has finished."
        ) from None
    except OSError:
        pass  # a file system without locks; files are whole there as well
    try:
        yield
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, with sorted keys, so that equal values give equal bytes.

    Args:
        path: Where the file belongs.
        value: Anything that ``json`` can write.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Give the content that ``write_json`` writes.

    Args:
        value: Anything that ``json`` can write.

    Returns:
        UTF-8 JSON with sorted keys, the same for equal values.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return text.encode()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        The decoded value.

    Raises:
        PipeError: The file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipeError(f"{path} is missing; expected a JSON file there.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PipeError(
            f"{path} is not valid JSON ({error}); restore it from a copy, or remove it and run "
            "the command that makes it again."
        ) from None


def sha256_file(path: Path) -> str:
    """Digest a file's bytes.

    Args:
        path: The file.

    Returns:
        The SHA-256 digest, in hexadecimal.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
