"""How teachers' unit vectors side by side become one unit vector."""

import math
from collections.abc import Sequence

from data_prep.errors import PipeError


def target_scales(teachers: int, weights: Sequence[float] | None = None) -> list[float]:
    """Factors that make unit vectors side by side one unit vector: sqrt(w_k / sum of w).

    Args:
        teachers: Their number.
        weights: One positive number per teacher; equal if None.

    Returns:
        One factor per teacher; their squares sum to 1.

    Raises:
        PipeError: No teacher, or a weight is missing or not positive.

    >>> target_scales(4)
    [0.5, 0.5, 0.5, 0.5]
    """
    shares = list(weights) if weights is not None else [1.0] * teachers
    if not teachers or len(shares) != teachers or not all(share > 0 for share in shares):
        raise PipeError(
            f"found {teachers} teachers and weights {shares}, expected at least one teacher and a "
            "positive weight for each; mend the teachers in the recipe."
        )
    return [math.sqrt(share / sum(shares)) for share in shares]
