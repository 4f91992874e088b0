"""Batches under a token budget: little padding, the same plan for the same lengths."""

import numpy as np
import numpy.typing as npt


def token_batches(lengths: npt.ArrayLike, budget: int) -> list[npt.NDArray[np.int64]]:
    """Divide texts into batches of similar length.

    The longest come first, so that a batch that does not fit in memory fails at once and not after
    hours. Ties keep their order: the plan depends on the lengths and the budget alone.

    Args:
        lengths: Tokens of each text, shape (n,).
        budget: Most tokens of a batch, padding included (texts times longest text). A text that is
            longer than this is a batch of its own.

    Returns:
        Indices of the texts of each batch; each text stands in exactly one.

    >>> [batch.tolist() for batch in token_batches([3, 9, 2, 3], budget=9)]
    [[1], [0, 3, 2]]
    """
    tokens = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-tokens, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        count = max(1, budget // max(1, int(tokens[order[start]])))
        batches.append(order[start : start + count])
        start += count
    return batches
