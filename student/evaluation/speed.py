"""Texts per second of several models, measured side by side."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from student.evaluation.embed import Embed

ROUNDS = 3
WARM_UP_TEXTS = 32


def texts_per_second(
    candidates: Mapping[str, Embed],
    texts: Sequence[str],
    roles: Sequence[str],
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time models alternately on the same texts, so that a busy moment does not hit only one.

    Args:
        candidates: Models by name.
        texts: At least one text.
        roles: The role of each.
        rounds: Each model embeds all texts once in every round.
        clock: Seconds that only go forward.

    Returns:
        For each model the number of texts over the median seconds of its rounds.
    """
    for embed in candidates.values():
        embed(texts[:WARM_UP_TEXTS], roles[:WARM_UP_TEXTS])
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, embed in candidates.items():
            begin = clock()
            embed(texts, roles)
            seconds[name].append(clock() - begin)
    return {name: len(texts) / statistics.median(times) for name, times in seconds.items()}
