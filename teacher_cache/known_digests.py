"""Digests of large files, remembered for as long as the files stay as they are.

``CACHE/digests/KEY.json``, KEY from the file's path, is an object of ``path``, ``state`` (size,
time of change of the content and of the entry in nanoseconds, inode) and ``sha256``. There is one
for each path, so that processes never share a file. They are information: one that cannot be read
or written costs a reading of the file itself.
"""

import time
from contextlib import suppress
from pathlib import Path

from data_prep.errors import PipeError
from data_prep.files import read_json, sha256_file, write_json
from data_prep.fingerprint import digest
from teacher_cache.remote_store import default_cache

LEAST_BYTES = 2**26
"""Smaller files are read in less time than anybody notices."""

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
    place = str(path.resolve())
    record = default_cache() / "digests" / f"{digest(place)[:32]}.json"
    with suppress(PipeError, OSError, LookupError, TypeError):
        kept = read_json(record)
        if (kept["path"], kept["state"]) == (place, before):
            return str(kept["sha256"])
    found = sha256_file(path)
    if _state(path) == before and time.time_ns() - max(before[1:3]) > _SETTLED_NS:
        with suppress(OSError):
            write_json(record, {"path": place, "state": before, "sha256": found})
    return found


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
