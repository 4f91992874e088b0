"""A source's files as streams of bytes: here or on any fsspec file system, plain or compressed."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from data_prep.errors import PipeError, first_line

MAX_RECORD_BYTES = 64 * 2**20
"""The largest line, row or plain file that is read; bounds the memory that a source can ask for."""

_COMPRESSED = ("", ".gz", ".zst")
_BROKEN = (OSError, EOFError, zlib.error, pa.ArrowException)


def suffixes_of(*names: str) -> tuple[str, ...]:
    """Give the endings of files that may be compressed.

    Args:
        names: Endings of the plain files.

    Returns:
        Each alone, and with ``.gz`` and ``.zst``.
    """
    return tuple(name + compressed for name in names for compressed in _COMPRESSED)


def is_remote(path: str) -> bool:
    """Whether a path is a URL, which fsspec opens.

    Args:
        path: A path or a URL.
    """
    return "://" in path


@contextmanager
def reading(path: str, doing: Callable[[], str] = lambda: "be read") -> Iterator[None]:
    """Turn what fails while a file is read into a sentence.

    Args:
        path: The file.
        doing: Says what it then cannot.

    Raises:
        PipeError: The block failed as files fail. For a URL that is any error, since every file
            system has its own.
    """
    try:
        yield
    except PipeError:
        raise
    except Exception as error:
        if not isinstance(error, _BROKEN) and not is_remote(path):
            raise
        reason = (isinstance(error, OSError) and error.strerror) or first_line(error)
        remedy = (
            "see that it can be reached and that you may read it"
            if is_remote(path)
            else "restore it from a copy, make it readable, or leave it out"
        )
        raise PipeError(f"{path} cannot {doing()} ({reason}); {remedy}.") from None


def file_system(url: str) -> tuple[Any, str]:
    """Open the file system of a URL.

    Args:
        url: Any fsspec URL.

    Returns:
        The file system, and the path in it.

    Raises:
        PipeError: The protocol is unknown, or its package is not installed.
    """
    # Imported here: only sources elsewhere need it.
    from fsspec.core import url_to_fs  # noqa: PLC0415

    try:
        opened: tuple[Any, str] = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise PipeError(
            f"{url} cannot be opened ({first_line(error)}); expected a path or an fsspec URL whose "
            "package is installed: `pip install 'jasper-distill[s3]'` for s3://, `[gcs]` for gs://."
        ) from None
    return opened


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file and take off its compression, as its name says.

    Args:
        path: A path or a URL.

    Yields:
        Its bytes, uncompressed as they are read.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(opened_raw(path))
        if path.lower().endswith(".gz"):
            plain = stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb"))
            yield cast(BinaryIO, io.BufferedReader(_AsItComes(plain), 2**18))
        elif path.lower().endswith(".zst"):
            stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
            yield cast(BinaryIO, io.BufferedReader(stack.enter_context(stream), 2**18))
        elif is_remote(path):
            # Not every file system's files read a line up to a limit.
            yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, raw), 2**18))
        else:
            yield raw


class _AsItComes(io.RawIOBase):
    """A gzip stream that gives what it has, so that lines before a damaged part are not lost."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read1(len(buffer))
        buffer[: len(content)] = content
        return len(content)


@contextmanager
def opened_raw(path: str) -> Iterator[BinaryIO]:
    """Open a file as it is.

    Args:
        path: A path or a URL.

    Yields:
        Its bytes; they can be sought.
    """
    if is_remote(path):
        system, inner = file_system(path)
        with system.open(inner, "rb") as file:
            yield file
    else:
        with Path(path).open("rb") as file:
            yield file


def lines_of(path: str) -> Iterator[tuple[int, bytes | PipeError]]:
    """Read the lines of a file, none longer than ``MAX_RECORD_BYTES``.

    Args:
        path: A path or a URL.

    Yields:
        A line's number, from 1, and the line with its end; or, where it is too long, an error. It
        has then been passed over.

    Raises:
        PipeError: The file cannot be read further; says after which line.
    """
    number, most = 0, MAX_RECORD_BYTES
    with reading(path, lambda: f"be read after line {number}"), opened(path) as file:
        while line := file.readline(most + 1):
            number += 1
            if len(line) <= most or line.endswith(b"\n"):
                yield number, line
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(2**20)
            yield (
                number,
                PipeError(
                    f"{path}, line {number}: longer than {most:,} bytes; divide it or leave it out."
                ),
            )


def whole_text(path: str) -> str:
    """Read a plain text file whole.

    Args:
        path: A path or a URL.

    Returns:
        Its text, without a mark of byte order.

    Raises:
        PipeError: It cannot be read, is not UTF-8, or is larger than ``MAX_RECORD_BYTES``.
    """
    with reading(path), opened(path) as file:
        content = file.read(MAX_RECORD_BYTES + 1)
    if len(content) > MAX_RECORD_BYTES:
        raise PipeError(f"{path} has more than {MAX_RECORD_BYTES:,} bytes; divide it.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PipeError(
            f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8."
        ) from None
