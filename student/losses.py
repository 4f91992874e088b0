"""The three losses of the paper and their weighted sum (sections 2.3, 2.4 and 3.1)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
import torch.nn.functional as F

from data_prep.errors import PipeError
from student.config import LossConfig, Reduction, TieRule
from student.relative_similarity import PairPlan, plan_pairs, relative_similarity_losses
from student.stage_config import TEACHERS_TARGET, StageConfig


class Batch:
    """Unit vectors of a batch of texts; what several losses need is computed once.

    Attributes:
        vectors_BD: The vectors as they are, float32.
        unit_BD: The vectors, float32, normalised.
    """

    def __init__(self, vectors_BD: torch.Tensor, ties: TieRule = "strict") -> None:
        """Normalise a batch.

        Args:
            vectors_BD: Vectors of any norm above 0.
            ties: How the pairs that tie are ordered where the batch is a target.
        """
        self.ties = ties
        self.vectors_BD = vectors_BD.float()
        self.unit_BD = F.normalize(self.vectors_BD, dim=-1)

    @cached_property
    def scores_BB(self) -> torch.Tensor:
        """Cosine of every two texts, float32."""
        return self.unit_BD @ self.unit_BD.mT

    @cached_property
    def pairs(self) -> PairPlan:
        """The pairs in the order of their similarity; only for a batch without gradient."""
        return plan_pairs(self.scores_BB, self.ties)


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


def _relative_similarity(
    students: Sequence[Batch], target: Batch, config: LossConfig
) -> torch.Tensor:
    scores = [student.scores_BB for student in students]
    return relative_similarity_losses(scores, target.pairs, config.margin)


def mse_loss(student: Batch, target: Batch, config: LossConfig) -> torch.Tensor:
    """The plain baseline: ``mean over x of |s_x - t_x|^2``, with s_x as the head gives it.

    The target is a unit vector and the student's is not normalised: of two unit vectors the
    squared distance is twice the cosine loss and would measure nothing new.

    Args:
        student: (B, D) with D equal to the target's width.
        target: (B, D).
        config: Not used.

    Returns:
        A scalar, at least 0: the sum over the D numbers, the mean over the B texts.
    """
    return (student.vectors_BD - target.unit_BD).square().sum(-1).mean()


def _each(
    loss: Callable[[Batch, Batch, LossConfig], torch.Tensor],
) -> Callable[[Sequence[Batch], Batch, LossConfig], torch.Tensor]:
    """A loss of one head as a loss of several."""
    return lambda students, target, config: torch.stack(
        [loss(student, target, config) for student in students]
    )


LOSSES: dict[str, Callable[[Sequence[Batch], Batch, LossConfig], torch.Tensor]] = {
    "cosine": _each(cosine_loss),
    "similarity": _each(similarity_loss),
    "relative_similarity": _relative_similarity,
    "mse": _each(mse_loss),
}
"""Each gives losses_K of several heads that have one target."""

ALIGNING: Final = frozenset({"cosine", "mse"})
"""The losses that compare number by number, so that a head must be as wide as its target."""


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
        teachers = Batch(target_BT, config.relative_ties)
        targets = dict.fromkeys(stage.heads, teachers)
        if stage.target != TEACHERS_TARGET:
            # Self-distillation (2.4): the aligned head teaches and is not moved by its pupils.
            own = Batch(vectors[stage.target].detach(), config.relative_ties)
            targets = {head: teachers if head == stage.target else own for head in stage.heads}
        return _weighted_sum(vectors, targets, stage, config, config.heads_reduction)


def caption_loss(
    vectors: Mapping[str, torch.Tensor],
    captions: Mapping[str, torch.Tensor],
    stage: StageConfig,
    config: LossConfig,
) -> LossTerms:
    """The losses of images against their captions (section 2.5), averaged over the heads.

    Args:
        vectors: The images' vectors_BD by head, of any norm.
        captions: The captions' vectors_BD by the same heads; no gradient reaches them.
        stage: Says which head has which losses.
        config: Weights, margin and the cosine's reduction.

    Returns:
        The total and its terms, in float32 whatever the autocast around it.
    """
    device = next(iter(vectors.values())).device
    with torch.autocast(device.type, enabled=False):
        targets = {h: Batch(captions[h].detach(), config.relative_ties) for h in stage.heads}
        return _weighted_sum(vectors, targets, stage, config, "mean")


def _weighted_sum(
    vectors: Mapping[str, torch.Tensor],
    targets: Mapping[str, Batch],
    stage: StageConfig,
    config: LossConfig,
    reduction: Reduction,
) -> LossTerms:
    """Every head's losses against its own target, weighted and put together."""
    students = {head: Batch(vectors[head]) for head in stage.heads}
    found: dict[tuple[str, str], torch.Tensor] = {}
    # Heads that share a target are computed together.
    for target in dict.fromkeys(targets.values()):
        for name, losses in LOSSES.items():
            those = [h for h in students if targets[h] is target and name in stage.heads[h]]
            if those:
                losses_K = losses([students[head] for head in those], target, config)
                found |= {(h, name): loss for h, loss in zip(those, losses_K, strict=True)}
    terms = {(head, name): found[head, name] for head in students for name in stage.heads[head]}
    total = torch.stack([getattr(config, name) * terms[h, name] for h, name in terms]).sum()
    if reduction == "mean":
        total = total / len(students)
    return LossTerms(
        total=total, terms={f"{h}/{n}": term.detach() for (h, n), term in terms.items()}
    )


def require_matching_widths(
    stages: Sequence[StageConfig], widths: Mapping[str, int], target_width: int
) -> None:
    """Check that every head that is compared number by number is as wide as its target.

    A caption's vector by a head is always as wide as an image's by the same head.

    Args:
        stages: The recipe's stages.
        widths: Width of each head.
        target_width: T, the teachers' widths together.

    Raises:
        PipeError: A stage names an unknown head, or a cosine or MSE would compare unequal widths.
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
            aligning = [loss for loss in losses if loss in ALIGNING and stage.inputs == "texts"]
            if aligning and widths[head] != wanted:
                raise PipeError(
                    f"stage {number} ({stage.name}) compares head {head} ({widths[head]} wide) by "
                    f"{aligning[0]} with a target {wanted} wide; make the head {wanted} wide, or "
                    f'take "{aligning[0]}" off its losses.'
                )


def require_nested_widths(nested: Mapping[str, str], widths: Mapping[str, int]) -> None:
    """Check that every nested head is narrower than the head whose first numbers it is.

    Args:
        nested: For each nested head, the head that it is nested in.
        widths: Width of each head.

    Raises:
        PipeError: A head is as wide as the one it is nested in, or wider.
    """
    for head, whole in nested.items():
        if widths[head] >= widths[whole]:
            raise PipeError(
                f"head {head} is {widths[head]} wide and nested in {whole}, which is "
                f"{widths[whole]} wide; make it narrower, or take it out of student.nested."
            )
