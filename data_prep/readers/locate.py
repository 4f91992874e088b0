"""Where a source's files are, in an order that does not depend on the file system."""

from collections.abc import Iterable, Sequence
from glob import has_magic
from pathlib import Path

from data_prep.config import SourceConfig
from data_prep.errors import PipeError


def source_files(config: SourceConfig, suffixes: Sequence[str]) -> list[tuple[str, Path]]:
    """List the files of a source.

    Args:
        config: Its ``path`` is a file, a directory (searched at every depth, without hidden
            files) or a glob (``**`` matches at every depth).
        suffixes: What a file's name must end with to be taken from a directory; a file or a glob
            that is named outright is taken as it is.

    Returns:
        Pairs of a file's name within the source (with ``/``) and its path, sorted by the former.

    Raises:
        PipeError: There is no path, nothing there, or no fitting file.
    """
    if not config.path:
        raise PipeError(f"source {config.name!r} has no path; set it to a file or a directory.")
    path = Path(config.path).expanduser()
    if path.is_file():
        return [(path.name, path)]
    if path.is_dir():
        found = _below(path, path.rglob("*"))
        files = [(name, file) for name, file in found if name.lower().endswith(tuple(suffixes))]
        expected = f"files ending in {', '.join(suffixes)}"
    elif has_magic(str(path)):
        base = _fixed_part(path)
        files = _below(base, base.glob(str(path.relative_to(base))))
        expected = "files that match it"
    else:
        raise PipeError(
            f"{config.path} (source {config.name!r}) is missing; expected a file, a directory or "
            "a glob there. Correct its path; for a data set of the Hugging Face hub, set its "
            'format to "datasets".'
        )
    if not files:
        raise PipeError(
            f"{config.path} (source {config.name!r}) has no file to read; expected {expected}."
        )
    return sorted(files)


def _below(base: Path, paths: Iterable[Path]) -> list[tuple[str, Path]]:
    named = [(path.relative_to(base), path) for path in paths if path.is_file()]
    return [
        (name.as_posix(), path)
        for name, path in named
        if not any(part.startswith(".") for part in name.parts)
    ]


def _fixed_part(pattern: Path) -> Path:
    """Return the directories of a glob that come before its first wildcard."""
    while has_magic(str(pattern)):
        pattern = pattern.parent
    return pattern
