"""The record that an export carries: it says who wrote the directory, and of which weights."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from data_prep.fingerprint import digest_of_files

RECORD = "jasper_distill.json"


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """Where an export comes from.

    Attributes:
        version: Version of the project that wrote it.
        recipe: Name of the recipe.
        stage: The stage whose student it is.
        weights: ``weights_digest`` of that student.
        head: The head in use.
    """

    version: str
    recipe: str
    stage: int
    weights: str
    head: str

    def write(self, directory: Path) -> None:
        """Put the record into an export.

        Args:
            directory: The export.
        """
        write_json(directory / RECORD, asdict(self))

    @classmethod
    def read(cls, directory: Path) -> "ExportRecord | None":
        """Read the record of an export.

        Args:
            directory: Any directory, which need not exist.

        Returns:
            The record; None where there is none, so that this project did not write the directory.
        """
        try:
            data = read_json(directory / RECORD)
            return cls(**{field.name: data[field.name] for field in fields(cls)})
        except (PipeError, OSError, KeyError, TypeError):
            return None


def weights_digest(directory: Path) -> str:
    """Digest every weights file of a saved student.

    Args:
        directory: What ``Student.save`` wrote.

    Returns:
        A SHA-256 digest over the names and digests of the ``.safetensors`` files below it.
    """
    return digest_of_files(directory, "*.safetensors")
