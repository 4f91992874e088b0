"""Digests of large files, remembered for as long as the files stay as they are.

``CACHE/digests/KEY.json``, KEY from the file's path, is an object of ``path``, ``state`` (size,
time of change of the content and of the entry in nanoseconds, inode) and ``sha256``. There is one
for each path, so that processes never share a file. They are information: one that cannot be read
or written costs a reading of the file itself.
"""

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from data_prep.errors import PipeError
from data_prep.files import read_json, sha256_file, write_json
from data_prep.fingerprint import digest
from teacher_cache.remote_store import default_cache

LEAST_BYTES = 2**26
"""Smaller files are read in less time than anybody notices."""

_SHA256: Final = re.compile("[0-9a-f]{64}")

_NO_MEMORY: Final = (PipeError, OSError, RuntimeError, ValueError, LookupError, TypeError)
"""What looking for a record ends in: no home directory, a path that is no UTF-8, a damaged file."""

_SETTLED_NS = 2 * 10**9
"""A file that changed later than so long ago may change again within one tick of its clock."""


def known_sha256(path: Path) -> str:
    """Digest a file, or say what its digest was when it was read last.

    Never where a digest guards against damage: bytes that rot leave no trace in the file's times.

    Args:
        path: The file.

    Returns:
        The SHA-256 digest, in hexadecimal.
    """
    before = _state(path)
    if before[0] < LEAST_BYTES:
        return sha256_file(path)
    found = _kept(path, before)
    if found is None:
        found = sha256_file(path)
        if _state(path) == before and time.time_ns() - max(before[1:3]) > _SETTLED_NS:
            _keep(path, before, found)
    return found


def _kept(path: Path, state: list[int]) -> str | None:
    """The digest of a file in a state, if it is remembered."""
    with suppress(*_NO_MEMORY):
        place, record = _record(path)
        kept = read_json(record)
        if (kept["path"], kept["state"]) == (place, state) and _SHA256.fullmatch(kept["sha256"]):
            return str(kept["sha256"])
    return None


def _keep(path: Path, state: list[int], sha256: str) -> None:
    with suppress(*_NO_MEMORY):
        place, record = _record(path)
        write_json(record, {"path": place, "state": state, "sha256": sha256})


def _record(path: Path) -> tuple[str, Path]:
    """A file's path, and where its digest is remembered."""
    place = str(path.resolve())
    return place, default_cache() / "digests" / f"{digest(place)[:32]}.json"


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
