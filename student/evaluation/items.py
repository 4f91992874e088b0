"""A score taken apart into its items, and resampled from them.

Shapes: N items, R resamples.
"""

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

RESAMPLES = 1000
ROUNDED = 1e-4
"""mteb rounds a score when it keeps it, and some scores before."""

_COUNTS_AT_ONCE = 100_000
"""Numbers in a block of resamples' counts, which a processor's cache holds."""

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Items:
    """What a score is made of: pairs (STS), queries (retrieval), test texts (classification).

    Attributes:
        measure: ``mean`` of the figures, or their ``spearman`` correlation with ``gold``.
        figures_N: One figure for each item.
        gold_N: What they are correlated with; None for a mean.
    """

    measure: Literal["mean", "spearman"]
    figures_N: _Floats
    gold_N: _Floats | None = None

    @property
    def score(self) -> float:
        """What all of them together give; NaN where nothing correlates."""
        if self.gold_N is None:
            return float(self.figures_N.mean())
        return float(stats.spearmanr(self.gold_N, self.figures_N).statistic)

    def make(self, score: float) -> bool:
        """Say whether a score is that of these items, but for rounding.

        Args:
            score: From 0 to 1.
        """
        return abs(self.score - score) < ROUNDED


def resampled(items: Items, name: str, resamples: int = RESAMPLES) -> _Floats:
    """Score resamples of a set's items, drawn with replacement.

    The draws depend on the set's name and size alone, so that the scores of two models are paired.
    (``scipy.stats.bootstrap`` ranks every resample anew and shares no draws between models.)

    Args:
        items: A model's figures.
        name: The set's name.
        resamples: R.

    Returns:
        scores_R x 100; NaN where a resample has no correlation.
    """
    count = len(items.figures_N)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    block = max(1, _COUNTS_AT_ONCE // count)
    scores = []
    for first in range(0, resamples, block):
        rows = min(block, resamples - first)
        drawn = generator.integers(count, size=(rows, count))
        if items.gold_N is None:
            scores.append(items.figures_N[drawn].mean(axis=1))
        else:
            drawn += count * np.arange(rows)[:, None]
            counts_RN = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
            scores.append(_spearman(items.figures_N, items.gold_N, counts_RN))
    return 100 * np.concatenate(scores)


def _spearman(one_N: _Floats, other_N: _Floats, counts_RN: npt.NDArray[np.int64]) -> _Floats:
    """Spearman correlation, with ties, of resamples that hold item n ``counts_RN`` times."""
    first_RN, second_RN = _ranks(one_N, counts_RN), _ranks(other_N, counts_RN)
    middle = (len(one_N) + 1) / 2
    first_RN -= middle
    second_RN -= middle
    together = np.einsum("rn,rn,rn->r", counts_RN, first_RN, second_RN)
    own = np.einsum("rn,rn,rn->r", counts_RN, first_RN, first_RN)
    others = np.einsum("rn,rn,rn->r", counts_RN, second_RN, second_RN)
    with np.errstate(invalid="ignore"):
        correlation: _Floats = together / np.sqrt(own * others)
    return correlation


def _ranks(values_N: _Floats, counts_RN: npt.NDArray[np.int64]) -> _Floats:
    """The mean rank of every item in each resample, ties sharing theirs."""
    _, group_N = np.unique(values_N, return_inverse=True)
    order_N = np.argsort(group_N, kind="stable")
    starts = np.flatnonzero(np.diff(group_N[order_N], prepend=-1))
    sizes_RG = np.add.reduceat(counts_RN[:, order_N], starts, axis=1)
    ranks_RG = np.cumsum(sizes_RG, axis=1) - (sizes_RG - 1) / 2
    ranks: _Floats = ranks_RG[:, group_N]
    return ranks
