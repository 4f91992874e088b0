"""Files that are either whole or absent: atomic writes, digests, JSON."""

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data_prep.errors import PipeError


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


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file elsewhere in its directory and put it in place only when it is whole.

    Args:
        path: Where the file belongs; its directory is made if need be.

    Yields:
        The temporary path to write to. It is removed if the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        replace_durably(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Build a directory beside its place and put it there only when all of it is on disk.

    Args:
        path: Where the directory belongs; a directory there is replaced.

    Yields:
        An empty directory to fill. An interrupted one is left and cleared by the next call.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    for entry in unfinished.rglob("*"):
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
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8")


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
