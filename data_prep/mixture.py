"""How many spans each source gives: arithmetic only (the 80/20 mixture of paper, section 3.2)."""

from collections.abc import Mapping
from fractions import Fraction
from math import floor

from data_prep.errors import PipeError


def mixture(
    weights: Mapping[str, float], available: Mapping[str, int], total: int | None = None
) -> dict[str, int]:
    """Divide a number of spans among the sources by weight.

    Args:
        weights: Each source's positive weight; only their ratios count.
        available: How many spans each source has.
        total: How many are wanted; None takes as many as the scarcest source allows.

    Returns:
        Each source's number, in the order of ``weights``. They add up to ``total``, and each is
        its exact quota rounded down or up (largest remainder; the earlier source wins a tie).

    Raises:
        PipeError: A source has no span at all, or fewer than its share of ``total``.

    >>> mixture({"web": 0.8, "questions": 0.2}, {"web": 100, "questions": 10})
    {'web': 40, 'questions': 10}
    """
    for name in weights:
        if available[name] == 0:
            raise PipeError(
                f"source {name!r} has no text that is neither empty nor a duplicate; give it "
                "other documents or remove it from the recipe."
            )
    # As written, in decimal: 0.8 and 0.2 are 4 to 1 exactly.
    exact = {name: Fraction(str(weight)) for name, weight in weights.items()}
    whole = sum(exact.values())
    most = floor(min(available[name] * whole / weight for name, weight in exact.items()))
    wanted = most if total is None else total
    counts = _largest_remainder({name: wanted * weight / whole for name, weight in exact.items()})
    for name, count in counts.items():
        if count > available[name]:
            raise PipeError(
                f"source {name!r} has {available[name]:,} spans and its share of the {wanted:,} "
                f"wanted texts is {count:,}; set texts to {most:,} or less, lower the source's "
                "weight, or give it more documents."
            )
    return counts


def _largest_remainder(quotas: Mapping[str, Fraction]) -> dict[str, int]:
    """Round quotas whose sum is whole to integers of the same sum."""
    counts = {name: floor(quota) for name, quota in quotas.items()}
    left = int(sum(quotas.values())) - sum(counts.values())
    by_remainder = sorted(quotas, key=lambda name: counts[name] - quotas[name])
    for name in by_remainder[:left]:
        counts[name] += 1
    return counts
