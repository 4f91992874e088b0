"""The records of the package: what a reader finds, and what a row of the corpus is made from."""

from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import PipeError


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image's bytes lie.

    Attributes:
        path: A file.
        offset: The first byte.
        length: How many.
    """

    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """Read the image's bytes.

        Raises:
            PipeError: The file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.length)
        except OSError as error:
            raise PipeError(
                f"{self.path} cannot be read any more ({error.strerror}); leave the sources as "
                "they are while a corpus is made, and run the same command again."
            ) from None


@dataclass(frozen=True, slots=True)
class Found:
    """One image with its captions, as a source has them.

    Attributes:
        doc_id: Names it within the source; with the seed, it decides every random choice.
        name: The image's name, for people and for ``held_out_pattern``.
        where: Its place, for messages.
        captions: Its captions.
        data: The image's bytes, as found.
        place: Where they lie; None if they cannot be read again on their own.
        label: What the image shows, if the source says so.
        held_out: Whether the source sets it aside; None if the source does not say.
        group: What is held out together; None leaves that to the image.
    """

    doc_id: str
    name: str
    where: str
    captions: tuple[str, ...]
    data: bytes
    place: Place | None = None
    label: str | None = None
    held_out: bool | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that cannot be a pair.

    Attributes:
        reason: Under which it is counted.
        sentence: What was found where, and what was expected.
    """

    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One caption of one image, without the image's bytes.

    Attributes:
        source: Name of its source.
        doc_id: As for ``Found``.
        name: As for ``Found``.
        caption: The caption, without whitespace at its ends; never empty.
        digest: SHA-256 of the image's bytes.
        place: Where they lie.
        label: As for ``Found``.
        held_out: As for ``Found``.
        group: As for ``Found``.
    """

    source: str
    doc_id: str
    name: str
    caption: str
    digest: bytes
    place: Place
    label: str | None
    held_out: bool | None
    group: str | None
