"""The relative similarity loss (paper, equation 3), exact in O(P log P) time and O(P) memory.

With m texts there are P = m(m-1)/2 pairs, and the definition sums over the P(P-1)/2 pairs of
pairs. Each pair's gradient is an integer: how many pairs it should beat and does not, less how
many should beat it and do not. Sorting the pairs by the teacher's similarity and counting with
a wavelet tree over the student's ranks gives these integers without ever building a P x P matrix.
"""

from dataclasses import dataclass

import torch

from student.config import TieRule


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
    sorted_P, order_P = scores_BB.reshape(-1)[flat_P].sort(stable=True)
    if ties == "authors":
        rank_P = torch.arange(len(order_P), device=order_P.device)
        return PairPlan(flat_P=flat_P[order_P], first_P=rank_P, end_P=rank_P + 1)
    return PairPlan(
        flat_P=flat_P[order_P],
        first_P=torch.searchsorted(sorted_P, sorted_P, right=False),
        end_P=torch.searchsorted(sorted_P, sorted_P, right=True),
    )


def relative_similarity_loss(
    scores_BB: torch.Tensor, plan: PairPlan, margin: float
) -> torch.Tensor:
    """Penalise every two pairs that the student orders otherwise than the teacher does.

    ``1/N * sum over t_p > t_q of max(0, s_q - s_p + margin)`` with s and t the student's and the
    teacher's similarities of a pair and N = P(P-1)/2. Pairs that tie for the teacher contribute
    nothing and still count in N.

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
    x_P = scores_BB.reshape(-1)[plan.flat_P]
    loss: torch.Tensor = _CountedHinge.apply(x_P, plan.first_P, plan.end_P, margin)
    return loss


class _CountedHinge(torch.autograd.Function):
    """The sum of hinges through integer counts; the gradient is the counts themselves."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x_P: torch.Tensor,
        first_P: torch.Tensor,
        end_P: torch.Tensor,
        margin: float,
    ) -> torch.Tensor:
        pairs = x_P.numel()
        comparisons = max(pairs * (pairs - 1) // 2, 1)
        low_P, high_P = _violations(x_P, first_P, end_P, margin)
        # Integers up to P, and sums up to P * P: exact in float64, not in float32.
        balance_P = (low_P - high_P).to(torch.float64)
        total = (balance_P * x_P.to(torch.float64)).sum() + margin * low_P.sum().to(torch.float64)
        ctx.save_for_backward((balance_P / comparisons).to(x_P.dtype))
        return (total / comparisons).to(x_P.dtype)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor
    ) -> tuple[torch.Tensor, None, None, None]:
        (slope_P,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * slope_P, None, None, None


def _violations(
    x_P: torch.Tensor, first_P: torch.Tensor, end_P: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Count, for each pair, the comparisons it loses as the lower and as the higher pair.

    Args:
        x_P: The student's similarities in ascending order of the teacher's.
        first_P: Where each pair's tie group begins.
        end_P: Where it ends.
        margin: As in the loss.

    Returns:
        low_P: How many pairs above its tie group are less than ``margin`` above it.
        high_P: How many pairs below its tie group are less than ``margin`` below it.
    """
    u_P = x_P + margin
    sorted_x_P, order_P = x_P.sort(stable=True)
    sorted_u_P = u_P[order_P]
    below_u_P = torch.searchsorted(sorted_x_P, u_P, right=False)
    not_above_x_P = torch.searchsorted(sorted_u_P, x_P, right=True)
    counts_2P = _count_smaller(
        order_P, torch.cat([below_u_P, not_above_x_P]), torch.cat([end_P, first_P])
    )
    low_P, cleared_P = counts_2P.chunk(2)
    return below_u_P - low_P, first_P - cleared_P


def _count_smaller(
    order_P: torch.Tensor, length_Q: torch.Tensor, bound_Q: torch.Tensor
) -> torch.Tensor:
    """For each query count the values below ``bound`` among the first ``length`` entries.

    A wavelet tree, descended level by level from the highest bit. Because the entries are a
    permutation of 0..P-1, every node holds all values of its range: where it begins and how many
    ones lie before it is arithmetic, and a query needs one lookup a level.

    Args:
        order_P: A permutation of 0..P-1.
        length_Q: Prefix lengths, 0 to P.
        bound_Q: Bounds, 0 to P.

    Returns:
        The counts, int64.
    """
    size = order_P.numel()
    position_P = torch.arange(size, device=order_P.device)
    values_P = order_P
    end_Q = length_Q
    count_Q = torch.zeros_like(length_Q)
    for level in reversed(range(size.bit_length())):
        half = 1 << level
        ones_P = (values_P >> level) & 1
        ones_before = torch.cat([ones_P.new_zeros(1), ones_P.cumsum(0)])

        start_Q = bound_Q >> (level + 1) << (level + 1)
        ones_Q = ones_before[end_Q] - (start_Q >> 1)
        zeros_Q = end_Q - start_Q - ones_Q
        upper_Q = (bound_Q & half) > 0
        count_Q = count_Q + torch.where(upper_Q, zeros_Q, 0)
        end_Q = start_Q + torch.where(upper_Q, half + ones_Q, zeros_Q)

        start_P = values_P >> (level + 1) << (level + 1)
        ones_in_node_P = ones_before[:-1] - (start_P >> 1)
        moved_P = torch.where(
            ones_P > 0, start_P + half + ones_in_node_P, position_P - ones_in_node_P
        )
        values_P = torch.empty_like(values_P).scatter_(0, moved_P, values_P)
    return count_Q
