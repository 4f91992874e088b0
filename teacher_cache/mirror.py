"""A mirror: everything of a remote store but its shards, in a directory of this machine.

Opened as a store it answers every question about teachers and commits at the speed of a disk.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final, TypeVar

from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from teacher_cache.manifest import MOST_RECORD_BYTES
from teacher_cache.place import is_small
from teacher_cache.remote_files import Listed, RemoteFiles

T = TypeVar("T")

MANIFEST: Final = "manifest.json"
_VERSIONS: Final = "mirrored.json"
_AT_ONCE: Final = 16

_MOST_BYTES: Final = {"commits": 2**22, "heads": 2**32}
"""Of a file in these directories; of any other ``MOST_RECORD_BYTES``."""


def has_store(files: RemoteFiles) -> bool:
    """Whether there is a store.

    Args:
        files: Where it would be.

    Raises:
        PipeError: The server does not answer.
    """
    return files.exists(MANIFEST)


def mirror(files: RemoteFiles, directory: Path) -> dict[str, Listed]:
    """Bring a mirror to what the store is now; only what is new or has changed is fetched.

    Args:
        files: The store's files.
        directory: The mirror's directory; it is made if need be.

    Returns:
        All of the store's files.

    Raises:
        PipeError: There is no store, a file is larger than it can sensibly be, or the server does
            not answer.
    """
    directory.mkdir(parents=True, exist_ok=True)
    before = _versions(directory)
    # The manifest first: what it names was there before it.
    size = files.size(MANIFEST)
    if size is None:
        raise PipeError(
            f"found no store in {files}, expected a {MANIFEST} there; check the URL, or "
            "`pipe store push` one there."
        )
    require_bounded(files, MANIFEST, size)
    manifest = files.read(MANIFEST)
    listed = files.list()
    small = {name: file for name, file in listed.items() if is_small(name) and name != MANIFEST}
    for name, file in small.items():
        require_bounded(files, name, file.size)
    now = {name: file.version for name, file in small.items()}
    for gone in before.keys() - now.keys():
        if is_small(gone):
            (directory / gone).unlink(missing_ok=True)
    wanted = [
        name
        for name, version in now.items()
        if version is None or before.get(name) != version or not (directory / name).exists()
    ]
    in_parallel(lambda name: files.download(name, directory / name), wanted, _AT_ONCE)
    temporary = directory / f".{MANIFEST}.new"
    temporary.write_bytes(manifest)
    temporary.replace(directory / MANIFEST)
    write_json(directory / _VERSIONS, now)
    return listed


def forget(directory: Path) -> None:
    """Have the next ``mirror`` fetch everything anew.

    Args:
        directory: The mirror's directory.
    """
    (directory / _VERSIONS).unlink(missing_ok=True)


def require_bounded(files: RemoteFiles, name: str, size: int) -> None:
    """Refuse a file that is larger than any of a store, before it is downloaded.

    Args:
        files: The store's files.
        name: One of those beside the shards.
        size: Its bytes, as the server says.

    Raises:
        PipeError: It is too large.
    """
    most = _MOST_BYTES.get(name.split("/", maxsplit=1)[0], MOST_RECORD_BYTES)
    if size > most:
        raise PipeError(
            f"found {size:,} bytes in {files}/{name}, expected at most {most:,}; that is no file "
            "of a store and is not downloaded: remove it there, and `pipe store push` again."
        )


def _versions(directory: Path) -> dict[str, str]:
    path = directory / _VERSIONS
    try:
        found = read_json(path) if path.exists() else {}
    except PipeError:
        return {}
    return found if isinstance(found, dict) else {}


def in_parallel(call: Callable[[T], object], items: Iterable[T], jobs: int) -> None:
    """Do something to every item, several at a time; the first error stops the rest.

    Args:
        call: What to do.
        items: To what.
        jobs: How many at a time.

    Raises:
        Exception: What ``call`` raised first; those under way have ended by then.
    """
    with ThreadPoolExecutor(jobs, thread_name_prefix="moving") as pool:
        running = [pool.submit(call, item) for item in items]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            for one in done:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
