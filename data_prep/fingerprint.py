"""Fingerprints: one digest for everything that decides a result, and what changed between two."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.files import sha256_file

_ABSENT = "(absent)"


def digest(value: Any) -> str:
    """Digest a JSON-like value independently of key order.

    Args:
        value: Dicts, lists, strings, numbers, booleans and None.

    Returns:
        The SHA-256 digest of the canonical JSON, in hexadecimal.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _leaves(child, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(child, Mapping) for child in value):
        for index, child in enumerate(value):
            yield from _leaves(child, f"{prefix}.{index}")
    else:
        yield prefix, list(value) if isinstance(value, tuple) else value


def explain_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say what differs between two settings, from what to what.

    Args:
        old: The settings that something on disk was made with.
        new: The settings that are asked for now.

    Returns:
        For example ``"max_tokens changed from 512 to 256"``; empty if nothing differs.

    >>> explain_change({"a": {"b": 1}}, {"a": {"b": 2}})
    'a.b changed from 1 to 2'
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    changes = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key, _ABSENT), after.get(key, _ABSENT)
        if was != now:
            changes.append(f"{key} changed from {_show(was)} to {_show(now)}")
    return ", ".join(changes)


def _show(value: Any) -> str:
    return value if value is _ABSENT else json.dumps(value, ensure_ascii=False)


def digest_of_files(directory: Path, pattern: str = "*") -> str:
    """Digest files below a directory.

    Args:
        directory: The directory.
        pattern: Which files, by name.

    Returns:
        A SHA-256 digest over the files' paths below the directory and their digests.
    """
    files = sorted(path for path in directory.rglob(pattern) if path.is_file())
    return digest({str(path.relative_to(directory)): sha256_file(path) for path in files})
