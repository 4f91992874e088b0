"""Where a model's files are: a directory, inside an installed package, or on the hub."""

import hashlib
import importlib.util
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from data_prep.errors import PipeError
from data_prep.files import sha256_file

_PACKAGE = "package:"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ASK_SECONDS = 5.0

# Weights, settings and tokenizers; never code, and no weights in formats that can run code.
_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja"]


def model_directory(
    ref: str,
    revision: str | None = None,
    sha256: str | None = None,
    setting: str = "the teacher's `model`",
) -> Path:
    """Find a model's directory, downloading it from the hub if that is where it is.

    Args:
        ref: A directory, ``package:NAME/sub/directory`` for data inside an installed package, or a
            hub name like ``sentence-transformers/all-MiniLM-L6-v2``.
        revision: The hub revision, for a hub name.
        sha256: What ``weights_digest`` must be, if given.
        setting: What names the model in the recipe, for people.

    Returns:
        A directory on this machine.

    Raises:
        PipeError: It is not there, cannot be fetched, or holds other weights.
    """
    directory = _locate(ref, revision, setting)
    if sha256 is not None:
        found = weights_digest(directory)
        if found != sha256:
            raise PipeError(
                f"found weights with SHA-256 {found} in {directory}, expected {sha256}; fetch the "
                "model again, or put the digest of the weights that you mean in the recipe."
            )
    return directory


def is_hub_name(ref: str) -> bool:
    """Say whether a model's name is one of the hub, and no directory of this machine.

    Args:
        ref: As ``model_directory`` takes it.
    """
    return bool(_HUB_NAME.fullmatch(ref)) and ref[0] not in ".~" and not Path(ref).is_dir()


def hub_commit(ref: str, revision: str | None = None) -> str | None:
    """Say which commit of a model the hub has now, or without a network its cache.

    Args:
        ref: A hub name.
        revision: A branch, a tag or a commit.

    Returns:
        Its 40 hexadecimal digits; None if nobody knows.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    # The hub's client raises errors of many libraries.
    with suppress(Exception):  # what `model_directory` would fetch
        about = HfApi().model_info(ref, revision=revision, timeout=_ASK_SECONDS)
        return str(about.sha) if about.sha else None
    with suppress(Exception):
        return _cached(ref, revision).name
    return None


def _cached(ref: str, revision: str | None) -> Path:
    found = snapshot_download(
        ref, revision=revision, allow_patterns=_HUB_FILES, local_files_only=True
    )
    return Path(found)


def weights_digest(directory: Path, file_digest: Callable[[Path], str] = sha256_file) -> str:
    """Digest a model's weights.

    Args:
        directory: The model's directory.
        file_digest: Gives a file's SHA-256.

    Returns:
        The SHA-256 of ``model.safetensors``; for weights in several files, of the lines
        ``<SHA-256>  <file name>`` in the order of the names. In hexadecimal.

    Raises:
        PipeError: There are no safetensors files.
    """
    single = directory / "model.safetensors"
    if single.is_file():
        return file_digest(single)
    files = sorted(directory.glob("model-*.safetensors"))
    if not files:
        raise PipeError(
            f"found no model.safetensors in {directory}, expected the model's weights there; check "
            "that the model was copied whole."
        )
    lines = "".join(f"{file_digest(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def package_directory(name: str) -> Path:
    """Find an installed package without importing it.

    Args:
        name: The package's import name.

    Returns:
        Its directory.

    Raises:
        PipeError: It is not installed.
    """
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise PipeError(
            f"the package {name!r} is not installed, expected it because a model of the recipe "
            "lies in it; the small teachers come with `pip install 'jasper-distill[demo]'`."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _locate(ref: str, revision: str | None, setting: str) -> Path:
    if ref.startswith(_PACKAGE):
        package, _, inside = ref.removeprefix(_PACKAGE).partition("/")
        directory = package_directory(package) / inside
        if not directory.is_dir():
            raise PipeError(
                f"found no directory {inside!r} in the package {package!r}, expected the model "
                "there; install the version that the project asks for."
            )
        return directory
    path = Path(ref).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or ref.startswith((".", "~")) or ref.count("/") != 1:
        raise PipeError(
            f"found no directory {ref}, expected a model's directory, package:NAME/directory, or a "
            f"hub name like OWNER/MODEL; check {setting}."
        )
    try:
        return Path(snapshot_download(ref, revision=revision, allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub's client raises errors of many libraries
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PipeError(
            f"the model {ref} could not be fetched from the hub ({reason}), expected it there or "
            f"in the hub's cache; check the name and the network, or give a directory as {setting}."
        ) from None
