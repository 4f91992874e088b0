"""Agreement with the target on resampled held-out spans, so that nobody reads noise.

Shapes: N spans, S spans whose pairs are compared, P = S(S-1)/2 pairs, R resamples.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RESAMPLES = 200
"""Each of them ranks P pairs for every head."""

_SEED = 0
_Floats = npt.NDArray[np.float64]


def resampled_means(figures_N: npt.NDArray[np.floating], resamples: int) -> _Floats:
    """Means over resampled spans.

    The draws depend on N alone, so that those of two heads are paired.

    Args:
        figures_N: One figure for each span.
        resamples: R.

    Returns:
        (R,) means.
    """
    rng, count = np.random.default_rng(_SEED), len(figures_N)
    drawn = (figures_N[rng.integers(count, size=count)] for _ in range(resamples))
    return np.array([one.mean(dtype=np.float64) for one in drawn])


def resampled_spearman(
    target_P: npt.NDArray[np.floating],
    heads: Sequence[npt.NDArray[np.floating]],
    spans: int,
    resamples: int,
) -> list[_Floats]:
    """Spearman correlation of the pairs of resampled spans.

    Spans are drawn and not pairs, for pairs that share a span are not independent. A pair counts as
    often as its two spans were drawn together; a span drawn twice makes no pair with itself.

    Args:
        target_P: The target's similarity of the pairs i < j, row by row.
        heads: For each head the same.
        spans: S.
        resamples: R.

    Returns:
        For each head (R,) correlations, the draws of all heads being the same; NaN where a resample
        has none.
    """
    rng = np.random.default_rng(_SEED)
    target = _Sorted(target_P, spans)
    sorted_heads = [_Sorted(head_P, spans) for head_P in heads]
    found = [np.empty(resamples) for _ in heads]
    for resample in range(resamples):
        count_S = np.bincount(rng.integers(spans, size=spans), minlength=spans).astype(np.float64)
        weight_P, ranks_P = target.ranks(count_S)
        own = np.einsum("p,p,p->", weight_P, ranks_P, ranks_P)
        theirs_P = np.empty_like(ranks_P)
        theirs_P[target.order_P] = ranks_P
        for head, into in zip(sorted_heads, found, strict=True):
            weight_P, ranks_P = head.ranks(count_S)
            weighted_P = weight_P * ranks_P
            with np.errstate(invalid="ignore"):
                together = weighted_P @ theirs_P[head.order_P]
                into[resample] = together / np.sqrt(own * (weighted_P @ ranks_P))
    return found


class _Sorted:
    """Pairs in the order of their similarity, to be ranked in many resamples.

    Attributes:
        order_P: The places of the sorted pairs.
    """

    def __init__(self, values_P: npt.NDArray[np.floating], spans: int) -> None:
        self.order_P = np.argsort(values_P, kind="stable")
        first_P, second_P = np.triu_indices(spans, k=1)
        self._first_P, self._second_P = first_P[self.order_P], second_P[self.order_P]
        changes = np.diff(values_P[self.order_P]) != 0
        self._starts = np.flatnonzero(np.concatenate([[True], changes]))
        self._sizes = np.diff(self._starts, append=len(values_P))

    def ranks(self, count_S: _Floats) -> tuple[_Floats, _Floats]:
        """How often each pair counts, and its rank minus the mean of all; ties share theirs.

        Args:
            count_S: How often each span was drawn.
        """
        weight_P = count_S[self._first_P] * count_S[self._second_P]
        if len(self._starts) == len(weight_P):
            return weight_P, _middles(weight_P)
        ranks = _middles(np.add.reduceat(weight_P, self._starts))
        return weight_P, np.repeat(ranks, self._sizes)


def _middles(weights: _Floats) -> _Floats:
    reached = np.cumsum(weights)
    middles: _Floats = reached - weights / 2 - reached[-1] / 2
    return middles
