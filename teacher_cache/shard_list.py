"""Sets of shards as a short text: ``0-99,120``."""

import re
from collections.abc import Iterable

from data_prep.errors import PipeError

_PART = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_MOST = 10**7
"""Shards that a text may name; more is a slip of the keyboard, not a store."""


def format_shards(shards: Iterable[int]) -> str:
    """Write a set of shards.

    Args:
        shards: Their numbers, in any order.

    Returns:
        Ascending numbers and ranges, the ends of a range included; empty for no shards. Equal sets
        give equal texts.

    >>> format_shards([120, 3, 2, 1, 0])
    '0-3,120'
    """
    ranges: list[list[int]] = []
    for shard in sorted(set(shards)):
        if ranges and ranges[-1][1] == shard - 1:
            ranges[-1][1] = shard
        else:
            ranges.append([shard, shard])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def parse_shards(text: str) -> tuple[int, ...]:
    """Read a set of shards.

    Args:
        text: Numbers and ranges in any order, as ``format_shards`` writes them.

    Returns:
        The numbers, ascending, each once.

    Raises:
        PipeError: The text is something else.

    >>> parse_shards("7,0-2")
    (0, 1, 2, 7)
    """
    shards: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last or last >= _MOST:
            raise PipeError(
                f"found {part.strip()!r} in the shards {text!r}, expected numbers and ranges such "
                "as 0-99,120."
            )
        shards.update(range(first, last + 1))
    return tuple(sorted(shards))
