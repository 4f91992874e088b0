"""The files of a source of pairs."""

from collections.abc import Sequence
from pathlib import Path

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.pairs.config import PairSourceConfig
from data_prep.readers.locate import source_files


def files_of(source: PairSourceConfig, suffixes: Sequence[str]) -> list[tuple[str, Path]]:
    """List the files of a source, as ``data_prep.readers.locate.source_files`` does.

    Args:
        source: Its ``path`` is a file, a directory or a glob of this machine.
        suffixes: What a file's name must end with to be taken from a directory.

    Returns:
        Pairs of a file's name within the source and its path, sorted by the former.

    Raises:
        PipeError: There is no path, it is a URL, nothing is there, or no fitting file.
    """
    if "://" in source.path:
        raise PipeError(
            f"source {source.name!r} has the path {source.path}; expected files of this machine, "
            "since images are read one by one. Copy them here first."
        )
    files = source_files(SourceConfig(name=source.name, path=source.path), suffixes)
    return [(file.name, Path(file.path)) for file in files]
