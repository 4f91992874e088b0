"""Data sets of the Hugging Face ``datasets`` library: a hub name or a local directory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.readers.fields import id_and_text

SUFFIXES: tuple[str, ...] = ()
_SAVED = ("state.json", "dataset_dict.json")


def is_saved(directory: Path) -> bool:
    """Say whether a directory is what ``Dataset.save_to_disk`` writes.

    Args:
        directory: Any path.

    Returns:
        True if it holds one of the library's own record files.
    """
    return any((directory / name).is_file() for name in _SAVED)


def read_datasets(config: SourceConfig) -> Iterator[tuple[str, str]]:
    """Read a data set, streaming, so that a large one need not be downloaded whole.

    Args:
        config: ``path`` is a name on the hub, a directory of data files, or one written by
            ``save_to_disk``; ``subset`` and ``split`` choose within it.

    Yields:
        Document id (``split:row`` if the source has no ``id_field``, rows from 0) and text.

    Raises:
        PipeError: The data set, its subset or its split is not found or cannot be read, or a
            field is missing or of the wrong type.
    """
    rows = _rows(config)
    where = f"{config.path}, split {config.split!r}"
    number = 0
    while True:
        try:
            record = next(rows)
        except StopIteration:
            return
        except Exception as error:  # the library lets through those of its many file formats
            raise _unreadable(config, error) from None
        yield id_and_text(record, config, f"{where}, row {number}", f"{config.split}:{number}")
        number += 1


def _rows(config: SourceConfig) -> Iterator[Mapping[str, Any]]:
    # Imported here: the library takes seconds to import and other formats do without it.
    import datasets  # noqa: PLC0415

    if not config.path:
        raise PipeError(
            f"source {config.name!r} has no path; set it to the data set's name or directory."
        )
    try:
        if is_saved(Path(config.path)):
            saved = datasets.load_from_disk(config.path)
            if isinstance(saved, datasets.DatasetDict):
                if config.split not in saved:
                    raise ValueError(f"it has the splits {', '.join(saved)}")
                saved = saved[config.split]
            return iter(saved)
        stream = datasets.load_dataset(
            config.path, config.subset, split=config.split, streaming=True
        )
        return iter(stream)
    except Exception as error:  # OSError, ValueError, DatasetsError and the hub client's own
        raise _unreadable(config, error) from None


def _unreadable(config: SourceConfig, error: Exception) -> PipeError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    subset = f", subset {config.subset!r}" if config.subset else ""
    return PipeError(
        f"data set {config.path!r}{subset}, split {config.split!r} (source {config.name!r}) cannot "
        f"be read ({reason}); correct its path, subset and split, and see that the hub can be "
        "reached or give a local directory."
    )
