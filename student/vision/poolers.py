"""Poolers: the states of an image's patches to N tokens of the text encoder's width.

A pooler is a row of ``POOLERS``; it is built from the tower's width, the text encoder's width H,
the number of tokens N, and the patches along a side of the image.
"""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from data_prep.errors import PipeError
from student.vision_config import Pooler


class AdaptivePooler(nn.Module):
    """Averages without weights, as in the released Jasper.

    The patches and the width of their states are taken for the two sides of one picture, which is
    averaged down, or stretched, to N by H. The tokens keep the scale of the tower's states.
    """

    def __init__(self, width: int, hidden: int, tokens: int, side: int) -> None:
        """Build the pooler.

        Args:
            width: Width of a patch's state, V.
            hidden: Width of a token, H.
            tokens: How many tokens an image becomes, N.
            side: Patches along a side of the image; any number of patches will do.
        """
        super().__init__()
        self.average = nn.AdaptiveAvgPool2d((tokens, hidden))

    def forward(self, states_IPV: torch.Tensor) -> torch.Tensor:
        """Average.

        Args:
            states_IPV: States of P patches.

        Returns:
            tokens_INH.
        """
        return cast(torch.Tensor, self.average(states_IPV))


class ProjectionPooler(nn.Module):
    """Averages of neighbouring patches, a layer norm, and a learned linear layer.

    The square of patches is averaged down to a square of N tokens, so N is a square number.
    """

    def __init__(self, width: int, hidden: int, tokens: int, side: int) -> None:
        """Build the pooler.

        Args:
            width: Width of a patch's state, V.
            hidden: Width of a token, H.
            tokens: How many tokens an image becomes, N.
            side: Patches along a side of the image.

        Raises:
            PipeError: N is no square number, or more than there are patches.
        """
        super().__init__()
        self.side = side
        self.tokens_side = math.isqrt(tokens)
        if self.tokens_side**2 != tokens or self.tokens_side > side:
            nearest = sorted(
                {min(near, side) ** 2 for near in (math.isqrt(tokens), math.isqrt(tokens) + 1)}
            )
            squares = " or ".join(map(str, nearest))
            raise PipeError(
                f"student.vision.tokens is {tokens} with the pooler projection, which averages "
                f"{side} by {side} patches down to a smaller square; expected a square number up "
                f"to {side**2}, such as {squares}."
            )
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, hidden)

    def forward(self, states_IPV: torch.Tensor) -> torch.Tensor:
        """Average and project.

        Args:
            states_IPV: States of the patches, row by row.

        Returns:
            tokens_INH.
        """
        grid_IVSS = states_IPV.transpose(1, 2).unflatten(2, (self.side, self.side))
        means_IVN = F.adaptive_avg_pool2d(grid_IVSS, self.tokens_side).flatten(2)
        return cast(torch.Tensor, self.linear(self.norm(means_IVN.transpose(1, 2))))


POOLERS: dict[Pooler, Callable[[int, int, int, int], nn.Module]] = {
    "adaptive": AdaptivePooler,
    "projection": ProjectionPooler,
}
"""A pooler's name in the recipe, and what builds it from V, H, N and the patches of a side."""
