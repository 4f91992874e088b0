"""A source's format: as its settings say, or by the names of its files."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from data_prep.errors import PipeError

Suffixes = Mapping[str, tuple[str, ...]]
"""For every format the file names that ``auto`` takes for it; none for formats without files."""


def choose_format(
    wanted: str,
    source: str,
    path: str,
    formats: Suffixes,
    files: Callable[[Sequence[str]], Iterable[str]],
) -> str:
    """Find a source's format.

    Args:
        wanted: What its settings say: a format, or ``auto``.
        source: Its name, for messages.
        path: Where it is, for messages.
        formats: The table of formats.
        files: From the suffixes of all formats to the names of the source's files.

    Returns:
        A key of ``formats``.

    Raises:
        PipeError: The format is unknown, or ``auto`` finds none or more than one.
    """
    if wanted in formats:
        return wanted
    known = ", ".join(formats)
    if wanted != "auto":
        raise PipeError(
            f"source {source!r} has format {wanted!r}; expected auto or one of {known}."
        )
    suffixes = [suffix for those in formats.values() for suffix in those]
    found = {format_of(name, formats) for name in files(suffixes)}
    if len(found) == 1 and (only := found.pop()) is not None:
        return only
    kinds = " and ".join(sorted(kind or "unknown" for kind in found)) or "unknown"
    raise PipeError(
        f"{path} (source {source!r}) holds files of format {kinds}; set its format to one of "
        f"{known}."
    )


def format_of(name: str, formats: Suffixes) -> str | None:
    """Say which format a file has by its name.

    Args:
        name: The file's name.
        formats: The table of formats.

    Returns:
        A key of ``formats``; None where no suffix fits.
    """
    for key, suffixes in formats.items():
        if suffixes and name.lower().endswith(suffixes):
            return key
    return None
