"""What is kept of every span while the corpus is decided: records of a fixed width, without text.

All random choices about a span are numbers drawn from its identity, and equal texts have equal
digests. So which spans are taken, held out and written where is decided by sorting these records,
some dozens of bytes each, while the texts stay on disk until they are written.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

PLACE = [("unit", "<u4"), ("run", "<u4"), ("index", "<u4")]
"""Where a span lies: the unit of reading, the sorted run of that unit, the place in the run."""

KEYS = np.dtype(
    [
        ("text", "<u8"),  # the first half of the digest of its text
        ("text_rest", "<u8"),
        ("take", "<u8"),  # the lowest of a source are taken
        ("row", "<u8"),  # rows are in this order
        ("held_out", "<u8"),  # of its document, and so names its document too
        ("sentences", "<u4"),
        ("shuffled", "u1"),
        ("source", "<u2"),
        *PLACE,
    ]
)
"""A span that was read. The text's digest has 128 bits: no two texts will ever share one."""

OFFERED = np.dtype(
    [
        ("text", "<u8"),
        ("take", "<u8"),
        ("row", "<u8"),
        ("held_out", "<u8"),
        ("source", "<u2"),
        *PLACE,
    ]
)
"""A span that may be taken: no other has its text."""

ORDERED = np.dtype(PLACE)
"""A row of the corpus."""

Records = npt.NDArray[Any]
"""Records of one of these types."""

Numbers = npt.NDArray[np.uint64]


def in_order(first: Numbers, second: Numbers) -> npt.NDArray[np.int64]:
    """Say in which order numbers are, most of which differ.

    Args:
        first: Drawn numbers or digests, shape (n,).
        second: As many, which decide where the first are equal.

    Returns:
        The places, shape (n,), as ``numpy.lexsort`` gives them. Sorting by one number alone takes
        a fraction of its time.
    """
    order = np.argsort(first)
    ordered = first[order]
    return np.lexsort((second, first)) if (ordered[1:] == ordered[:-1]).any() else order
