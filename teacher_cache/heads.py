"""The last layers of teachers whose pooled states are stored, each in a file of its own."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from data_prep.errors import PipeError
from data_prep.files import atomic_write, refuse_links, sha256_file
from teacher_cache.linear_head import LinearHead
from teacher_cache.manifest import HeadEntry

_MOST_HEADER_BYTES = 2**16
"""What safetensors may say about two tensors."""


def head_path(store: Path, teacher: str) -> Path:
    """Say where a teacher's last layer lies.

    Args:
        store: The store's directory.
        teacher: The teacher's name.

    Returns:
        The path, whether or not there is a file.
    """
    return store / "heads" / f"{teacher}.safetensors"


def head_entry(head: LinearHead) -> HeadEntry:
    """Say what the manifest says of a layer.

    Args:
        head: The layer.

    Returns:
        Its shape and the digest of its file.
    """
    return HeadEntry(state_dim=head.state_dim, digest=hashlib.sha256(_content(head)).hexdigest())


def write_head(path: Path, head: LinearHead) -> None:
    """Keep a layer.

    Args:
        path: Where it belongs.
        head: The layer.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(_content(head))


def _content(head: LinearHead) -> bytes:
    content: bytes = save(
        {"weight": head.weight} | ({} if head.bias is None else {"bias": head.bias})
    )
    return content


def read_head(path: Path, entry: HeadEntry, dim: int) -> LinearHead:
    """Read a layer.

    Args:
        path: Its file.
        entry: What the manifest says of it.
        dim: Numbers in the teacher's vector.

    Returns:
        The layer.

    Raises:
        PipeError: The file is missing or a link, has changed, or holds a layer of another shape.
    """
    refuse_links(path, path.parents[1])
    remedy = "restore the file from a copy, or run `pipe store repair` and `pipe teach`"
    if not path.is_file():
        raise PipeError(f"{path} is missing, expected a teacher's last layer there; {remedy}.")
    most = 4 * dim * (entry.state_dim + 1) + _MOST_HEADER_BYTES
    if (size := path.stat().st_size) > most:
        raise PipeError(f"found {size:,} bytes in {path}, expected at most {most:,}; {remedy}.")
    if sha256_file(path) != entry.digest:
        raise PipeError(f"{path} has changed since it was written; {remedy}.")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise PipeError(f"{path} cannot be read ({error}); {remedy}.") from None
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is None or weight.shape != (dim, entry.state_dim):
        found = None if weight is None else weight.shape
        raise PipeError(
            f"found a weight of shape {found} in {path}, expected {(dim, entry.state_dim)}; "
            f"{remedy}."
        )
    if bias is not None and bias.shape != (dim,):
        raise PipeError(
            f"found a bias of shape {bias.shape} in {path}, expected {(dim,)}; {remedy}."
        )
    return LinearHead(weight, bias)
