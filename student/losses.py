"""The three losses of the paper and their weighted sum (sections 2.3, 2.4 and 3.1)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from data_prep.errors import PipeError
from student.config import TEACHERS_TARGET, LossConfig, StageConfig
from student.relative_similarity import PairPlan, plan_pairs, relative_similarity_loss


class Batch:
    """Unit vectors of a batch of texts; what several losses need is computed once.

    Attributes:
        unit_BD: The vectors, float32, normalised.
    """

    def __init__(self, vectors_BD: torch.Tensor) -> None:
        """Normalise a batch.

        Args:
            vectors_BD: Vectors of any norm above 0.
        """
        self.unit_BD = F.normalize(vectors_BD.float(), dim=-1)

    @cached_property
    def scores_BB(self) -> torch.Tensor:
        """Cosine of every two texts, float32."""
        return self.unit_BD @ self.unit_BD.mT

    @cached_property
    def pairs(self) -> PairPlan:
        """The pairs in the order of their similarity; only for a batch without gradient."""
        return plan_pairs(self.scores_BB)


def cosine_loss(student: Batch, target: Batch, config: LossConfig) -> torch.Tensor:
    """Equation 1: ``sum over x of 1 - s_x . t_x``; the mean if the recipe says so.

    Args:
        student: (B, D) with D equal to the target's width.
        target: (B, D).
        config: Chooses sum or mean.

    Returns:
        A scalar between 0 and 2B, or 0 and 2 for the mean.
    """
    distance_B = 1 - (student.unit_BD * target.unit_BD).sum(-1)
    return distance_B.mean() if config.cosine_reduction == "mean" else distance_B.sum()


def similarity_loss(student: Batch, target: Batch, config: LossConfig) -> torch.Tensor:
    """Equation 2: the mean squared difference of the similarities, ``MSE(S S^T, T T^T)``.

    Args:
        student: (B, D) of any width.
        target: (B, T).
        config: Not used.

    Returns:
        A scalar between 0 and 4: the mean over all B x B entries.
    """
    return F.mse_loss(student.scores_BB, target.scores_BB)


def _relative_similarity_loss(student: Batch, target: Batch, config: LossConfig) -> torch.Tensor:
    return relative_similarity_loss(student.scores_BB, target.pairs, config.margin)


LOSSES: dict[str, Callable[[Batch, Batch, LossConfig], torch.Tensor]] = {
    "cosine": cosine_loss,
    "similarity": similarity_loss,
    "relative_similarity": _relative_similarity_loss,
}


@dataclass(frozen=True, slots=True)
class LossTerms:
    """A batch's loss and what it is made of.

    Attributes:
        total: The scalar to differentiate.
        terms: Each head's losses before weighting, detached, as ``"fc1/cosine"``.
    """

    total: torch.Tensor
    terms: dict[str, torch.Tensor]


def distillation_loss(
    vectors: Mapping[str, torch.Tensor],
    target_BT: torch.Tensor,
    stage: StageConfig,
    config: LossConfig,
) -> LossTerms:
    """Equation 4 for every head of a stage, put together.

    Args:
        vectors: Each head's vectors_BD, of any norm.
        target_BT: The teachers' target.
        stage: Says which head has which losses, and what the small heads learn from.
        config: Weights, margin and reductions.

    Returns:
        The total and its terms, in float32 whatever the autocast around it.
    """
    with torch.autocast(target_BT.device.type, enabled=False):
        teachers = Batch(target_BT)
        own = None
        if stage.target != TEACHERS_TARGET:
            # Self-distillation (2.4): the aligned head teaches and is not moved by its pupils.
            own = Batch(vectors[stage.target].detach())
        head_losses: list[torch.Tensor] = []
        terms: dict[str, torch.Tensor] = {}
        for head, names in stage.heads.items():
            student = Batch(vectors[head])
            target = teachers if own is None or head == stage.target else own
            loss = student.unit_BD.new_zeros(())
            for name in names:
                term = LOSSES[name](student, target, config)
                loss = loss + getattr(config, name) * term
                terms[f"{head}/{name}"] = term.detach()
            head_losses.append(loss)
        total = torch.stack(head_losses).sum()
        if config.heads_reduction == "mean":
            total = total / len(head_losses)
    return LossTerms(total=total, terms=terms)


def require_matching_widths(
    stages: Sequence[StageConfig], widths: Mapping[str, int], target_width: int
) -> None:
    """Check that every head with a cosine loss is as wide as what it is compared with.

    Args:
        stages: The recipe's stages.
        widths: Width of each head.
        target_width: T, the teachers' widths together.

    Raises:
        PipeError: A stage names an unknown head, or a cosine would compare unequal widths.
    """
    for number, stage in enumerate(stages, start=1):
        for head, losses in stage.heads.items():
            if head not in widths:
                raise PipeError(
                    f"stage {number} ({stage.name}) has losses on the head {head!r}, which is not "
                    f"in student.heads; the heads are {', '.join(widths)}."
                )
            own_target = stage.target not in (TEACHERS_TARGET, head)
            wanted = widths[stage.target] if own_target else target_width
            if "cosine" in losses and widths[head] != wanted:
                raise PipeError(
                    f"stage {number} ({stage.name}) compares head {head} ({widths[head]} wide) by "
                    f"cosine with a target {wanted} wide; make the head {wanted} wide, or take "
                    '"cosine" off its losses.'
                )
