"""The page cache as ``benchmarks.store`` needs it: all of a file in it, or nothing (Linux)."""

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np

CAN_DROP = hasattr(os, "posix_fadvise") and Path("/proc/self/status").exists()

_READ_AT_A_TIME = 1 << 24


def warm(root: Path) -> None:
    """Read every file once.

    Args:
        root: A file, or a directory of files.
    """
    buffer = bytearray(_READ_AT_A_TIME)
    for path in _files(root):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def drop(root: Path) -> None:
    """Take every file out of the page cache, also where this process has it mapped.

    Args:
        root: A file, or a directory of files.
    """
    files = _files(root)
    _let_go(files)  # the kernel keeps pages that a process has mapped and touched
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)  # pages that are not on the disk yet would stay
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _let_go(files: list[Path]) -> None:
    """Take the pages of mapped files out of this process; touched again, they are read again."""
    names = {str(path.resolve()) for path in files}
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, access, _, _, _, *name = line.split(maxsplit=5)
        if access.endswith("s") and name and name[0] in names:
            begin, end = (int(address, 16) for address in place.split("-"))
            if libc.madvise(
                ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED
            ):
                raise OSError(ctypes.get_errno(), f"madvise of {name[0]}")


def cached_share(root: Path) -> float:
    """Ask the kernel how much of some files is in the page cache.

    Args:
        root: A file, or a directory of files.

    Returns:
        From 0 to 1, by pages.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    pages = resident = 0
    for path in _files(root):
        mapped = np.memmap(path, np.uint8, mode="r")
        flags = np.empty(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
        failed = libc.mincore(
            ctypes.c_void_p(mapped.ctypes.data),
            ctypes.c_size_t(len(mapped)),
            ctypes.c_void_p(flags.ctypes.data),
        )
        if failed:
            raise OSError(ctypes.get_errno(), f"mincore of {path}")
        pages += len(flags)
        resident += int((flags & 1).sum())
    return resident / max(pages, 1)


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)
