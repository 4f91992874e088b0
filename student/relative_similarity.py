"""The relative similarity loss (paper, equation 3), exact in O(P log P) time and O(P) memory.

With m texts there are P = m(m-1)/2 pairs, and the definition sums over the P(P-1)/2 pairs of
pairs. Each pair's gradient is an integer: how many pairs it should beat and does not, less how
many should beat it and do not. Sorting the pairs by the teacher's similarity and counting with
a wavelet tree over the student's ranks gives these integers without ever building a P x P matrix.
Nothing here asks a GPU for a number, so nothing waits for it. ``docs/losses.md`` derives it.

Shape legend: K heads, B texts, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from student.config import TieRule
from student.counting import count_smaller

_CACHED_PAIRS: Final = 1 << 16
"""Pairs of all heads up to which a CPU is faster computing the heads together: four heads of 128
texts are, by a fifth, and four of 256 are not."""


@dataclass(frozen=True, slots=True)
class PairPlan:
    """The teacher's side of a batch, made once and shared by all heads.

    Attributes:
        flat_P: Index into the flattened (B, B) similarities for each pair i < j, in ascending
            order of the teacher's similarity.
        first_P: For each pair, the rank at which its group of teacher ties begins.
        end_P: For each pair, the rank just after its group of teacher ties.
    """

    flat_P: torch.Tensor
    first_P: torch.Tensor
    end_P: torch.Tensor


def plan_pairs(scores_BB: torch.Tensor, ties: TieRule = "strict") -> PairPlan:
    """Sort a batch's pairs by the teacher's similarity.

    Args:
        scores_BB: The teacher's similarities, float32.
        ties: What pairs that the teacher finds equally similar are to each other.

    Returns:
        The plan. ``strict``: pairs that tie share a group and are not compared. ``authors``: each
        is a group of its own, and of two that tie the later one, row by row, should be above.
    """
    size = scores_BB.shape[0]
    rows, columns = torch.triu_indices(size, size, 1, device=scores_BB.device).unbind()
    flat_P = rows * size + columns
    sorted_P, order_P = scores_BB.reshape(-1).index_select(0, flat_P).sort(stable=True)
    flat_P = flat_P.index_select(0, order_P)
    rank_P = torch.arange(len(flat_P), device=flat_P.device)
    if ties == "authors":
        return PairPlan(flat_P=flat_P, first_P=rank_P, end_P=rank_P + 1)
    # A group begins where the similarity changes, and ends where the next one begins.
    changed_P = sorted_P[1:] != sorted_P[:-1]
    first_P, end_P = rank_P.clone(), rank_P + 1
    first_P[1:] *= changed_P
    end_P[:-1].masked_fill_(~changed_P, len(end_P))
    return PairPlan(
        flat_P=flat_P,
        first_P=first_P.cummax(0).values,
        end_P=end_P.flip(0).cummin(0).values.flip(0),
    )


def relative_similarity_loss(
    scores_BB: torch.Tensor, plan: PairPlan, margin: float
) -> torch.Tensor:
    """Penalise every two pairs that the student orders otherwise than the teacher does.

    ``1/N * sum over t_p > t_q of max(0, s_q - s_p + margin)`` with s and t the student's and the
    teacher's similarities of a pair and N = P(P-1)/2. Pairs that tie for the teacher contribute
    nothing and still count in N; ``plan_pairs`` knows another rule.

    Args:
        scores_BB: The student's similarities, float32, with gradient.
        plan: The teacher's side.
        margin: By how much the student should tell two pairs apart.

    Returns:
        A scalar, at least 0. Time O(P log P), memory O(P). A batch of two texts has one pair,
        nothing to compare, and the loss 0.

    >>> teacher = torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.5], [0.1, 0.5, 1.0]])
    >>> float(relative_similarity_loss(teacher, plan_pairs(teacher), margin=0.0))
    0.0
    >>> round(float(relative_similarity_loss(-teacher, plan_pairs(teacher), margin=0.0)), 4)
    0.5333
    """
    return relative_similarity_losses([scores_BB], plan, margin)[0]


def relative_similarity_losses(
    scores: Sequence[torch.Tensor], plan: PairPlan, margin: float
) -> torch.Tensor:
    """The loss of several heads.

    They are computed together on a GPU, which one head leaves idle, and one after the other on a
    CPU, whose caches several large ones overflow.

    Args:
        scores: Each head's similarities (B, B), float32, with gradient.
        plan: The teacher's side.
        margin: As for one head.

    Returns:
        losses_K; each as ``relative_similarity_loss`` gives it.
    """
    together = plan.flat_P.is_cuda or len(scores) * len(plan.flat_P) <= _CACHED_PAIRS
    parts = [torch.stack(tuple(scores))] if together else [each[None] for each in scores]
    return torch.cat([_CountedHinge.apply(part_KBB, plan, margin) for part_KBB in parts])


class _CountedHinge(torch.autograd.Function):
    """The sum of hinges through integer counts; the gradient is the counts themselves.

    A pair is named by its rank for the student from here on, and by head.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        scores_KBB: torch.Tensor,
        plan: PairPlan,
        margin: float,
    ) -> torch.Tensor:
        pairs = len(plan.flat_P)
        comparisons = max(pairs * (pairs - 1) // 2, 1)
        flat_KS = scores_KBB.reshape(len(scores_KBB), -1)
        # Ties of the student may come in any order: only its similarities count.
        x_KP, order_KP = flat_KS.index_select(1, plan.flat_P).sort(dim=-1)
        low_KP, high_KP = _violations(x_KP, order_KP, plan, margin)
        # Integers up to P, and sums up to P * P: exact in float64, not in float32.
        balance_KP = (low_KP - high_KP).to(torch.float64)
        total_K = (balance_KP * x_KP).sum(-1) + margin * low_KP.sum(-1).to(torch.float64)
        slope_KP = (balance_KP / comparisons).to(x_KP.dtype)
        gradient_KS = torch.zeros_like(flat_KS)
        gradient_KS.scatter_(1, plan.flat_P[order_KP], slope_KP)
        ctx.save_for_backward(gradient_KS.view_as(scores_KBB))
        return (total_K / comparisons).to(x_KP.dtype)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_K: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        (gradient_KBB,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad_K[:, None, None] * gradient_KBB, None, None


def _violations(
    x_KP: torch.Tensor, order_KP: torch.Tensor, plan: PairPlan, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Count, for each pair, the comparisons it loses as the lower and as the higher pair.

    Args:
        x_KP: The student's similarities, ascending.
        order_KP: The teacher's rank of each of these pairs.
        plan: The teacher's side.
        margin: As in the loss.

    Returns:
        low_KP: How many pairs above its tie group are less than ``margin`` above it.
        high_KP: How many pairs below its tie group are less than ``margin`` below it.
    """
    heads, pairs = x_KP.shape
    # How many pairs have x below x + margin of this one, and the reverse from the same counts:
    # x + margin of the pairs whose count does not go beyond this pair is at most its x.
    near_KP = torch.searchsorted(x_KP, x_KP + margin, right=False)
    ends_KE = near_KP.new_zeros(heads, pairs + 1)
    ends_KE.scatter_add_(1, near_KP, torch.ones_like(near_KP))
    cleared_KP = ends_KE.cumsum(1)[:, :-1]
    first_KP, end_KP = plan.first_P[order_KP], plan.end_P[order_KP]
    # Side by side the heads' ranks are one permutation, in which a head is a block of its own.
    block_K1 = torch.arange(heads, device=x_KP.device)[:, None] * pairs
    counts = count_smaller(
        (order_KP + block_K1).view(-1),
        length_Q=torch.stack([near_KP + block_K1, cleared_KP + block_K1]).view(-1),
        bound_Q=torch.stack([end_KP + block_K1, first_KP + block_K1]).view(-1),
    )
    below_end_KP, below_first_KP = counts.view(2, heads, pairs) - block_K1
    return near_KP - below_end_KP, first_KP - below_first_KP
