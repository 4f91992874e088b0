"""The record of a corpus's images, beside the manifest of its captions."""

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_prep.errors import PipeError
from data_prep.files import read_json
from data_prep.fingerprint import digest

IMAGES: Final = "images.json"


class ImagesManifest(BaseModel):
    """What the shards of images hold.

    Attributes:
        format_version: Of this file and of the shards of images.
        rows: Rows of the corpus.
        image_bytes: Bytes of all images together.
        image_digests: For each shard, what ``data_prep.pairs.shards.image_digest`` gives.
        captions: Fingerprint of the captions they belong to.
        fingerprint: Digest of captions and images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    rows: int = Field(gt=0)
    image_bytes: int = Field(gt=0)
    image_digests: tuple[str, ...]
    captions: str
    fingerprint: str


def pairs_fingerprint(captions: str, image_digests: tuple[str, ...]) -> str:
    """Digest a corpus of pairs.

    Args:
        captions: Fingerprint of the captions.
        image_digests: One per shard of images.

    Returns:
        The SHA-256 digest, in hexadecimal.
    """
    return digest({"captions": captions, "image_digests": list(image_digests)})


def read_images_manifest(directory: Path, captions: str) -> ImagesManifest:
    """Read the record of a corpus's images.

    Args:
        directory: The corpus.
        captions: Fingerprint of its captions.

    Returns:
        The record.

    Raises:
        PipeError: There is none, it is damaged, or it belongs to other captions.
    """
    path = directory / IMAGES
    if not path.is_file():
        raise PipeError(
            f"{directory} holds captions without images ({path} is missing); run `pipe prep` "
            "again, which makes the same file."
        )
    try:
        manifest = ImagesManifest.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "it as a whole"
        raise PipeError(
            f"{path} is damaged ({field}: {first['msg']}); remove it and run `pipe prep` again."
        ) from None
    expected = pairs_fingerprint(captions, manifest.image_digests)
    if manifest.captions != captions or manifest.fingerprint != expected:
        raise PipeError(
            f"{path} does not belong to the captions in {directory}; remove it and run "
            "`pipe prep` again."
        )
    return manifest
