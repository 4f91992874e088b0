"""Agreement with the target on spans that training never saw.

Shapes: N held-out spans, T target dim, D head dim, P = S(S-1)/2 pairs of the first S spans.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import stats

from student.evaluation.influence import Ranked, kendall_influence, spearman_influence
from student.evaluation.intervals import Estimate, by_error
from student.evaluation.span_error import Influence

MAX_SPANS = 1024
"""Spans whose pairs are compared; 1024 make 523,776 pairs, and the ranks cost P log P."""

MEASURES = ("cosine", "spearman", "kendall")
"""The figures of ``HeadAgreement``."""


@dataclass(frozen=True, slots=True)
class HeadAgreement:
    """How one head agrees with the target.

    Attributes:
        head: The head's name.
        dim: D.
        cosine: Mean cosine with the target over all N spans; None unless D equals T.
        spearman: Rank correlation of the P pair similarities, -1 to 1.
        kendall: Kendall's tau-b of the same.
        influences: By measure, how much each span or pair moves it, where intervals were asked for.
    """

    head: str
    dim: int
    cosine: float | None
    spearman: float
    kendall: float
    influences: Mapping[str, Influence] = field(default_factory=dict)

    def without_cosine(self) -> "HeadAgreement":
        """The same without a cosine, for a space that is not the target's."""
        kept = {name: one for name, one in self.influences.items() if name != "cosine"}
        return replace(self, cosine=None, influences=kept)

    def measure(self, name: str) -> Estimate | None:
        """Give a figure with its interval.

        Args:
            name: ``cosine``, ``spearman`` or ``kendall``.
        """
        value = getattr(self, name)
        if value is None:
            return None
        influence = self.influences.get(name)
        if influence is None:
            return Estimate(value)
        return by_error(value, influence.error(), influence.spans, limit=1.0)

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
    intervals: bool = False,
) -> HeldOut:
    """Measure how far heads keep the target's directions and its order of pairs.

    The pairs are all i < j of the first ``max_spans`` rows: rows of a corpus are shuffled when it
    is written, so its first rows are a random sample. A head may be of any width, for similarities
    compare across widths; the cosine with the target needs equal widths (FC1 of the paper, 2.3).

    Args:
        target_NT: (N, T) float32 unit rows, N >= 3.
        heads: For each head (N, D) vectors of the same spans; they need not be unit rows.
        max_spans: Spans whose pairs are compared.
        intervals: Whether the figures are to have intervals.

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
    influences: list[dict[str, Influence]] = [{} for _ in pairs]
    if intervals:
        compared, target = min(spans, max_spans), Ranked(target_P)
        for cosine_N, head_P, into in zip(cosines, pairs, influences, strict=True):
            into.update(_influences(cosine_N, target, Ranked(head_P), compared))
    results = tuple(
        HeadAgreement(
            head=name,
            dim=vectors_ND.shape[1],
            cosine=None if cosine_N is None else float(cosine_N.mean(dtype=np.float64)),
            spearman=float(stats.spearmanr(target_P, head_P).statistic),
            kendall=float(stats.kendalltau(target_P, head_P).statistic),
            influences=known,
        )
        for (name, vectors_ND), cosine_N, head_P, known in zip(
            heads.items(), cosines, pairs, influences, strict=True
        )
    )
    return HeldOut(spans=spans, pairs=len(target_P), heads=results)


def _influences(
    cosine_N: np.ndarray | None, target: Ranked, head: Ranked, compared: int
) -> dict[str, Influence]:
    found = {
        "spearman": Influence(spearman_influence(target, head), compared, of_pairs=True),
        "kendall": Influence(kendall_influence(target, head), compared, of_pairs=True),
    }
    if cosine_N is not None:
        apart_N = cosine_N.astype(np.float64) - cosine_N.mean(dtype=np.float64)
        found["cosine"] = Influence(apart_N, len(cosine_N), of_pairs=False)
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32, copy=False)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _pair_similarities(vectors_SD: np.ndarray) -> np.ndarray:
    similarities_SS = vectors_SD @ vectors_SD.T
    first, second = np.triu_indices(len(vectors_SD), k=1)
    pairs_P: np.ndarray = similarities_SS[first, second]
    return pairs_P
