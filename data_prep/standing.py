"""A finished corpus, of texts or of pairs: is it the one asked for?"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from data_prep.config import Settings
from data_prep.errors import PipeError
from data_prep.fingerprint import explain_change
from data_prep.manifest import MANIFEST, CorpusManifest, read_manifest

_Config = TypeVar("_Config", bound=Settings)


def find_standing(
    config: _Config, directory: Path, identity: Callable[[_Config], dict[str, Any]], what: str
) -> CorpusManifest | None:
    """Find a finished corpus and check that it is the one asked for.

    Args:
        config: What is asked for.
        directory: Where it would be.
        identity: The settings that decide it.
        what: What it is called, with its article if it has one.

    Returns:
        Its manifest; None if none is finished there.

    Raises:
        PipeError: It is of another configuration, or its manifest is damaged.
    """
    if not (directory / MANIFEST).exists():
        return None
    manifest = read_manifest(directory)
    was, now = manifest.config, identity(config)
    with suppress(ValidationError):
        # Settings that are newer than the corpus had their defaults when it was made.
        was = identity(type(config).model_validate(was))
    if changes := explain_change(was, now):
        raise PipeError(
            f"{directory} holds {what} of another configuration: {changes}. Set them back, use "
            f"another --run, or remove {directory} and everything that was made from it."
        )
    return manifest
