"""How much each pair of spans moves a rank correlation: its influence.

A rank correlation is ``C / sqrt(A B)``: C is a mean over the pairs, A and B are that of each side
with itself. A pair moves such a mean by what it adds, and by what it does to the others' ranks. To
first order a correlation errs by the mean influence of the pairs that were drawn (Croux and Dehon
2010, "Influence functions of the Spearman and Kendall correlation measures").

Shapes: P pairs of spans.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from student.counting import count_smaller

_Floats = npt.NDArray[np.float64]


class Ranked:
    """Pairs in the order of their similarity, sorted once for all that they are compared with.

    Attributes:
        order_P: The places of the sorted pairs.
        place_P: Of each pair, where it stands among the sorted.
        below_P: Of each pair, how many are below it.
        upto_P: Of each pair, how many are not above it, itself among them.
    """

    def __init__(self, values_P: npt.NDArray[np.floating[Any]]) -> None:
        count = len(values_P)
        self.order_P = np.argsort(values_P, kind="stable")
        self.place_P = np.empty(count, np.int64)
        self.place_P[self.order_P] = np.arange(count)
        starts = np.flatnonzero(np.diff(values_P[self.order_P], prepend=np.nan) != 0)
        sizes = np.diff(starts, append=count)
        self.below_P = np.repeat(starts, sizes)[self.place_P]
        self.upto_P = np.repeat(starts + sizes, sizes)[self.place_P]

    def ranks(self) -> _Floats:
        """The share of the pairs below each, less a half; ties count half, and the mean is 0."""
        count = len(self.order_P)
        ranks_P: _Floats = (self.below_P + self.upto_P - count) / (2 * count)
        return ranks_P

    def of_those_above(self, figures_P: _Floats) -> _Floats:
        """For each pair, the sum of the figures of those above it over P; ties count half."""
        sums = np.concatenate([[0.0], np.cumsum(figures_P[self.order_P])])
        above_P: _Floats = sums[-1] - (sums[self.below_P] + sums[self.upto_P]) / 2
        return above_P / len(figures_P)


def spearman_influence(target: Ranked, head: Ranked) -> _Floats:
    """Influence of each pair on Spearman's correlation.

    Args:
        target: The target's similarities.
        head: A head's, of the same pairs.

    Returns:
        (P,) influences with mean 0; NaN where all pairs of one side tie.
    """
    target_P, head_P = target.ranks(), head.ranks()
    both_P = target_P * head_P
    return _on_correlation(
        # A pair raises the ranks of all that are above it.
        [
            both_P + target.of_those_above(head_P) + head.of_those_above(target_P),
            target_P**2 + 2 * target.of_those_above(target_P),
            head_P**2 + 2 * head.of_those_above(head_P),
        ],
        [both_P.mean(), (target_P**2).mean(), (head_P**2).mean()],
    )


def kendall_influence(target: Ranked, head: Ranked) -> _Floats:
    """Influence of each pair on Kendall's tau-b.

    Args:
        target: The target's similarities.
        head: A head's, of the same pairs.

    Returns:
        (P,) influences with mean 0; NaN where all pairs of one side tie.
    """
    count = len(target.order_P)
    parts = [
        _agreeing(target, head) / count,
        *(1 - (side.upto_P - side.below_P) / count for side in (target, head)),
    ]
    # Each counts once as the one and once as the other of two that are compared.
    return _on_correlation([2 * part_P for part_P in parts], [part_P.mean() for part_P in parts])


def _agreeing(target: Ranked, head: Ranked) -> npt.NDArray[np.int64]:
    """Of each pair, with how many it agrees in order, less with how many it does not."""
    tied = np.flatnonzero(
        (target.upto_P - target.below_P > 1) | (head.upto_P - head.below_P > 1),
    )
    # Few tie, and only those need to be counted more than once.
    below_P, *of_tied = _below_both(
        head.place_P[target.order_P],
        [target.below_P, target.below_P[tied], target.upto_P[tied], target.upto_P[tied]],
        [head.below_P, head.upto_P[tied], head.below_P[tied], head.upto_P[tied]],
    )
    # Below the pair on one side, and not above it on the other; not above it on either.
    upto_head_P, upto_target_P, upto_P = below_P.copy(), below_P.copy(), below_P + 1
    for into_P, counted in zip((upto_head_P, upto_target_P, upto_P), of_tied, strict=True):
        into_P[tied] = counted
    agree_P = below_P + len(below_P) - target.upto_P - head.upto_P + upto_P
    differ_P = target.below_P - upto_head_P + head.below_P - upto_target_P
    agreeing_P: npt.NDArray[np.int64] = agree_P - differ_P
    return agreeing_P


def _below_both(
    order_P: npt.NDArray[np.int64],
    firsts: list[npt.NDArray[np.int64]],
    bounds: list[npt.NDArray[np.int64]],
) -> list[npt.NDArray[np.int64]]:
    """How many of the first entries are below a bound, for several arrays of both."""
    counted = count_smaller(
        *(
            torch.from_numpy(one)
            for one in (order_P, np.concatenate(firsts), np.concatenate(bounds))
        )
    )
    return np.split(counted.numpy(), np.cumsum([len(one) for one in firsts])[:-1])


def _on_correlation(influences: list[_Floats], means: list[np.floating[Any]]) -> _Floats:
    """From the influences on C, A and B to that on ``C / sqrt(A B)``."""
    (both_P, target_P, head_P), (both, target, head) = influences, means
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt(target * head)
        moved_P = (both_P - both / 2 * (target_P / target + head_P / head)) / scale
    influence_P: _Floats = moved_P - moved_P.mean()
    return influence_P
