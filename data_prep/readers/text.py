"""Plain text: one document per file."""

from collections.abc import Iterator

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.readers.locate import source_files

SUFFIXES = (".txt", ".text", ".md", ".rst")


def read_text(config: SourceConfig) -> Iterator[tuple[str, str]]:
    """Read text files.

    Args:
        config: Path: a file, a directory or a glob.

    Yields:
        Document id (the file's name within the source) and text.

    Raises:
        PipeError: A file is not UTF-8 (names the byte) or cannot be read.
    """
    for name, path in source_files(config, SUFFIXES):
        try:
            yield name, path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise PipeError(
                f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8."
            ) from None
        except OSError as error:
            raise PipeError(
                f"{path} cannot be read ({error.strerror}); make it readable or leave it out."
            ) from None
