"""Where a source's files are, in an order that does not depend on the file system."""

import os
from collections.abc import Iterable, Sequence
from glob import has_magic
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.pieces import Piece
from data_prep.readers.opening import file_system, is_remote, reading


class SourceFile(NamedTuple):
    """A file of a source.

    Attributes:
        name: Its name within the source, with ``/``.
        path: Where it is: a path or a URL.
        size: Its bytes.
    """

    name: str
    path: str
    size: int


def source_files(config: SourceConfig, suffixes: Sequence[str]) -> list[SourceFile]:
    """List the files of a source.

    Args:
        config: Its ``path`` is a file, a directory (searched at every depth, without hidden
            files) or a glob (``**`` matches at every depth), or a URL of one of them.
        suffixes: What a file's name must end with to be taken from a directory; a file or a glob
            that is named outright is taken as it is.

    Returns:
        The files, sorted by name. A directory that may not be listed is among them, for its
        reader to find that out.

    Raises:
        PipeError: There is no path, nothing there, or no fitting file.
    """
    if not config.path:
        raise PipeError(f"source {config.name!r} has no path; set it to a file or a directory.")
    with reading(config.path):
        files, expected = (_remote if is_remote(config.path) else _local)(config, tuple(suffixes))
    if not files:
        raise PipeError(
            f"{config.path} (source {config.name!r}) has no file to read; expected {expected}."
        )
    return sorted(files)


def file_pieces(
    config: SourceConfig, suffixes: Sequence[str], documents: int | None = None
) -> list[Piece]:
    """Make a piece of every file of a source.

    Args:
        config: As for ``source_files``.
        suffixes: As for ``source_files``.
        documents: How many documents a file holds, if every file holds so many.

    Returns:
        The pieces, in the order of the files' names.

    Raises:
        PipeError: As for ``source_files``.
    """
    return [
        Piece(file.name, file.path, size=file.size, documents=documents)
        for file in source_files(config, suffixes)
    ]


def _local(config: SourceConfig, suffixes: tuple[str, ...]) -> tuple[list[SourceFile], str]:
    path = Path(config.path).expanduser()
    if path.is_file():
        return [SourceFile(path.name, str(path), path.stat().st_size)], ""
    if path.is_dir():
        return _directory(path, suffixes), f"files ending in {', '.join(suffixes)}"
    if has_magic(str(path)):
        base = Path(_fixed_part(str(path)))
        return _below(base, base.glob(str(path.relative_to(base)))), "files that match it"
    raise _missing(config)


def _directory(base: Path, suffixes: tuple[str, ...]) -> list[SourceFile]:
    closed: list[Path] = []
    files = [
        Path(directory, name)
        for directory, _, names in os.walk(base, onerror=lambda why: closed.append(why.filename))
        for name in names
        if name.lower().endswith(suffixes)
    ]
    names = [Path(path).relative_to(base) for path in closed]
    unread = [SourceFile(name.as_posix(), str(base / name), 0) for name in names]
    return _below(base, files) + [file for file in unread if not _is_hidden(Path(file.name))]


def _below(base: Path, paths: Iterable[Path]) -> list[SourceFile]:
    return [
        SourceFile(name.as_posix(), str(path), path.stat().st_size)
        for path in paths
        if not _is_hidden(name := path.relative_to(base)) and path.is_file()
    ]


def _remote(config: SourceConfig, suffixes: tuple[str, ...]) -> tuple[list[SourceFile], str]:
    system, path = file_system(config.path)
    if has_magic(path):
        base, expected = _fixed_part(path), "files that match it"
        found = system.glob(path, detail=True)
    elif system.isfile(path):
        base, expected = str(PurePosixPath(path).parent), ""
        found = {path: system.info(path)}
    else:
        base, expected = path, f"files ending in {', '.join(suffixes)}"
        listed = system.find(path, detail=True)
        found = {key: info for key, info in listed.items() if key.lower().endswith(suffixes)}
        if not listed:
            raise _missing(config)
    names = {key: PurePosixPath(key).relative_to(base) for key in found}
    return [
        SourceFile(names[key].as_posix(), system.unstrip_protocol(key), info.get("size") or 0)
        for key, info in found.items()
        if info.get("type") == "file" and not _is_hidden(names[key])
    ], expected


def _missing(config: SourceConfig) -> PipeError:
    return PipeError(
        f"{config.path} (source {config.name!r}) is missing; expected a file, a directory or "
        "a glob there. Correct its path; for a data set of the Hugging Face hub, set its "
        'format to "datasets".'
    )


def _is_hidden(name: PurePosixPath | Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _fixed_part(pattern: str) -> str:
    """Return the directories of a glob that come before its first wildcard."""
    while has_magic(pattern):
        pattern = str(PurePosixPath(pattern).parent)
    return pattern
