"""New heads from a closed form instead of random weights.

With the backbone frozen, a head on the pooled state is a linear regression: one pass over some
rows gives the second moments of the pooled states and their products with the targets, and ridge
regression gives the head (stage 1 of the paper, section 2.3, without its steps). A smaller head
that keeps the similarities best in the least-squares sense is the projection of that head's output
onto its principal directions (section 2.4).

Shape legend: B rows of a batch, H pooled state, I = H + 1 with a constant 1 for the bias, T target,
D a head's width.
"""

from collections.abc import Collection, Iterable

import torch
from torch import nn

from data_prep.errors import PipeError
from student.batches import DistillBatch
from student.losses import ALIGNING
from student.model import Student
from student.ranks import ALONE, Ranks
from student.stage_config import StageConfig

_RIDGE = 1e-4
"""Of the mean squared pooled number: enough to bound directions that the rows do not show."""


class Moments:
    """What a least-squares head needs of the rows, in memory O(H^2 + H T).

    Attributes:
        inputs_II: Sum of the outer products of the pooled states, float64.
        products_IT: Sum of the outer products of pooled states and targets, float64.
        rows: How many rows were added.
    """

    def __init__(self, hidden: int, target: int) -> None:
        """Begin with no rows.

        Args:
            hidden: H.
            target: T.
        """
        self.inputs_II = torch.zeros(hidden + 1, hidden + 1, dtype=torch.float64)
        self.products_IT = torch.zeros(hidden + 1, target, dtype=torch.float64)
        self.rows = 0

    def add(self, pooled_BH: torch.Tensor, target_BT: torch.Tensor) -> None:
        """Add some rows.

        Args:
            pooled_BH: Pooled states.
            target_BT: Their targets.
        """
        inputs_BI = nn.functional.pad(pooled_BH.double().cpu(), (0, 1), value=1.0)
        self.inputs_II += inputs_BI.mT @ inputs_BI
        self.products_IT += inputs_BI.mT @ target_BT.double().cpu()
        self.rows += len(inputs_BI)

    def regression(self) -> torch.Tensor:
        """The linear map whose squared distance to the targets is least.

        Returns:
            weights_TI, float64; the last column is the bias.
        """
        ridge_I = torch.full((len(self.inputs_II),), _RIDGE, dtype=torch.float64)
        ridge_I *= self.inputs_II.diagonal().mean()
        ridge_I[-1] = 0  # the bias is free
        weights_IT = torch.linalg.solve(self.inputs_II + ridge_I.diag(), self.products_IT)
        weights_TI: torch.Tensor = weights_IT.mT.contiguous()
        return weights_TI

    def principal(self, weights_TI: torch.Tensor, width: int) -> torch.Tensor:
        """Compose a map with the projection onto its output's principal directions.

        Args:
            weights_TI: A linear map on the pooled states.
            width: D. Numbers beyond H + 1, the most that a linear map can use, are 0.

        Returns:
            weights_DI: Dot products of its outputs are closest to those of ``weights_TI`` among
            all maps to D numbers, over the rows added. So are those of its first d numbers among
            all maps to d.
        """
        # The output's directions live in the image of the input's: an I x I problem, whatever T.
        values_I, basis_II = torch.linalg.eigh(self.inputs_II)
        root_II = basis_II * values_I.clamp(min=0).sqrt()
        _, vectors_II = torch.linalg.eigh(root_II.mT @ weights_TI.mT @ (weights_TI @ root_II))
        leading_ID = vectors_II.flip(1)[:, :width]
        directions_TD = torch.linalg.qr(weights_TI @ (root_II @ leading_ID)).Q
        weights_DI: torch.Tensor = directions_TD.mT @ weights_TI
        return nn.functional.pad(weights_DI, (0, 0, 0, width - len(weights_DI)))


@torch.inference_mode()
def collect(
    student: Student, batches: Iterable[DistillBatch | PipeError], ranks: Ranks = ALONE
) -> Moments:
    """Run rows through a student's backbone once.

    Args:
        student: The student.
        batches: The rows, or this process's part of them.
        ranks: The processes among which the rows are divided.

    Returns:
        The moments of all rows, the same in every process.
    """
    device = next(student.parameters()).device
    moments: Moments | None = None
    for batch in batches:
        if isinstance(batch, PipeError):
            raise batch
        pooled_BH = batch["pooled"]
        if pooled_BH is None:
            pooled_BH = torch.cat(
                [
                    student.pooled(
                        group["input_ids"].to(device), group["attention_mask"].to(device)
                    )
                    for group in batch["groups"]
                ]
            )
        if moments is None:
            moments = Moments(student.hidden, batch["target"].shape[1])
        moments.add(pooled_BH, batch["target"])
    if moments is None:
        raise ValueError("there are no rows to fit a head to")
    ranks.add_up(moments.inputs_II)
    ranks.add_up(moments.products_IT)
    moments.rows = int(ranks.add_up(torch.tensor(moments.rows)))
    return moments


def aligned_heads(stage: StageConfig) -> set[str]:
    """The heads whose single numbers a stage compares with the target's.

    Args:
        stage: The stage.
    """
    return {head for head, losses in stage.heads.items() if not ALIGNING.isdisjoint(losses)}


@torch.no_grad()
def fit_heads(
    student: Student, heads: Iterable[str], moments: Moments, aligned: Collection[str]
) -> None:
    """Give heads their closed form.

    Args:
        student: The student; its heads change in place.
        heads: Which heads. One as wide as the target is the regression itself; a narrower one is
            the regression's principal part. A nested head has nothing to fit, but the one that it
            is nested in is turned so that its first numbers are the principal ones.
        moments: Of the rows to fit.
        aligned: Heads that are compared with the target number by number and are not turned.
    """
    regression_TI = moments.regression()
    wholes = {student.own_head(name) for name in student.nested}
    for name, layer in student.named_heads():
        if name not in heads or name in student.nested:
            continue
        weights_DI = regression_TI
        if layer.out_features != len(regression_TI) or (name in wholes and name not in aligned):
            weights_DI = moments.principal(regression_TI, layer.out_features)
        layer.weight.copy_(weights_DI[:, :-1])
        layer.bias.copy_(weights_DI[:, -1])
