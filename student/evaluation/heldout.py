"""Agreement with the target on spans that training never saw.

Shapes: N held-out spans, T target dim, D head dim, P = S(S-1)/2 pairs of the first S spans, R
resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from student.evaluation.intervals import Estimate, estimate
from student.evaluation.resampled_spans import resampled_means, resampled_spearman

MAX_SPANS = 1024
"""Spans whose pairs are compared; 1024 make 523,776 pairs, and the ranks cost P log P."""

MEASURES = ("cosine", "spearman", "kendall")
"""The figures of ``HeadAgreement``."""

ROUNDED = 1e-5
"""By how much float32 may part a figure from its resamples."""


@dataclass(frozen=True, slots=True)
class HeadAgreement:
    """How one head agrees with the target.

    Attributes:
        head: The head's name.
        dim: D.
        cosine: Mean cosine with the target over all N spans; None unless D equals T.
        spearman: Rank correlation of the P pair similarities, -1 to 1.
        kendall: Kendall's tau-b of the same.
        resampled: Of the cosine and of the rank correlation, the figures of resampled spans, (R,),
            where they were asked for; the same draws for every head.
    """

    head: str
    dim: int
    cosine: float | None
    spearman: float
    kendall: float
    resampled: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def without_cosine(self) -> "HeadAgreement":
        """The same without a cosine, for a space that is not the target's."""
        kept = {name: one for name, one in self.resampled.items() if name != "cosine"}
        return replace(self, cosine=None, resampled=kept)

    def measure(self, name: str) -> Estimate | None:
        """Give a figure with its interval.

        Args:
            name: ``cosine``, ``spearman`` or ``kendall``, which has no interval.
        """
        value = getattr(self, name)
        if value is None:
            return None
        drawn = self.resampled.get(name)
        return estimate(value, None if drawn is None else (drawn, "spans"), ROUNDED)

    def as_dict(self) -> dict[str, Any]:
        """The figures, and ``intervals``: by measure, as ``Estimate.as_dict``."""
        found = {name: one for name in MEASURES if (one := self.measure(name)) is not None}
        return {
            "head": self.head,
            "dim": self.dim,
            **{name: getattr(self, name) for name in MEASURES},
            "intervals": {
                name: one.as_dict() for name, one in found.items() if one.low is not None
            },
        }


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out agreement of every head.

    Attributes:
        spans: N.
        pairs: P.
        heads: One result per head, in the order given.
    """

    spans: int
    pairs: int
    heads: tuple[HeadAgreement, ...]


def held_out_agreement(
    target_NT: np.ndarray,
    heads: Mapping[str, np.ndarray],
    max_spans: int = MAX_SPANS,
    resamples: int = 0,
) -> HeldOut:
    """Measure how far heads keep the target's directions and its order of pairs.

    The pairs are all i < j of the first ``max_spans`` rows: rows of a corpus are shuffled when it
    is written, so its first rows are a random sample. A head may be of any width, for similarities
    compare across widths; the cosine with the target needs equal widths (FC1 of the paper, 2.3).

    Args:
        target_NT: (N, T) float32 unit rows, N >= 3.
        heads: For each head (N, D) vectors of the same spans; they need not be unit rows.
        max_spans: Spans whose pairs are compared.
        resamples: R, for intervals; 0 for none.

    Returns:
        The agreement of each head.

    Raises:
        ValueError: A head has another number of rows than the target, or N < 3.
    """
    spans = len(target_NT)
    if spans < 3:
        raise ValueError(f"found {spans} held-out spans; agreement of pairs needs at least 3")
    target_P = _pair_similarities(target_NT[:max_spans])
    cosines: list[np.ndarray | None] = []
    pairs: list[np.ndarray] = []
    for name, vectors_ND in heads.items():
        if len(vectors_ND) != spans:
            raise ValueError(f"head {name} has {len(vectors_ND)} rows and the target {spans}")
        unit_ND = _unit(vectors_ND)
        aligned = unit_ND.shape[1] == target_NT.shape[1]
        cosines.append(np.einsum("nd,nd->n", unit_ND, _unit(target_NT)) if aligned else None)
        pairs.append(_pair_similarities(unit_ND[:max_spans]))
    drawn: list[dict[str, npt.NDArray[np.float64]]] = [{} for _ in pairs]
    if resamples:
        compared = min(spans, max_spans)
        ranked = resampled_spearman(target_P, pairs, compared, resamples)
        for cosine_N, spearman_R, into in zip(cosines, ranked, drawn, strict=True):
            into["spearman"] = spearman_R
            if cosine_N is not None:
                into["cosine"] = resampled_means(cosine_N, resamples)
    results = tuple(
        HeadAgreement(
            head=name,
            dim=vectors_ND.shape[1],
            cosine=None if cosine_N is None else float(cosine_N.mean(dtype=np.float64)),
            spearman=float(stats.spearmanr(target_P, head_P).statistic),
            kendall=float(stats.kendalltau(target_P, head_P).statistic),
            resampled=resampled,
        )
        for (name, vectors_ND), cosine_N, head_P, resampled in zip(
            heads.items(), cosines, pairs, drawn, strict=True
        )
    )
    return HeldOut(spans=spans, pairs=len(target_P), heads=results)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32, copy=False)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _pair_similarities(vectors_SD: np.ndarray) -> np.ndarray:
    similarities_SS = vectors_SD @ vectors_SD.T
    first, second = np.triu_indices(len(vectors_SD), k=1)
    pairs_P: np.ndarray = similarities_SS[first, second]
    return pairs_P
