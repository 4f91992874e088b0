"""A vision tower and the pooler behind it: pixel values to tokens."""

import torch
from torch import nn
from transformers import PreTrainedModel

from data_prep.draws import draw
from student.vision.poolers import POOLERS
from student.vision_config import Pooler


class VisionTokens(nn.Module):
    """A SigLIP tower and a pooler.

    Attributes:
        tower: The transformers model, without its attention-pooling head.
        pooler: The states of the patches to tokens, as ``kind`` says.
        kind: The pooler's name.
        tokens: How many tokens an image becomes, N.
        hidden: Width of a token, H.
        image_size: Side of the square that an image becomes, in pixels, S.
    """

    def __init__(
        self, tower: PreTrainedModel, *, kind: Pooler, tokens: int, hidden: int, seed: int = 0
    ) -> None:
        """Put a pooler behind a tower.

        Args:
            tower: The tower.
            kind: The pooler's name.
            tokens: How many tokens an image becomes.
            hidden: Width of a token.
            seed: Decides the pooler's first weights, if it has any.

        Raises:
            PipeError: The pooler cannot make that many tokens.
        """
        super().__init__()
        config = tower.config
        side = config.image_size // config.patch_size
        self.tower = tower
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw(seed, "vision", "pooler"))
            self.pooler = POOLERS[kind](config.hidden_size, hidden, tokens, side)
        self.kind = kind
        self.tokens = tokens
        self.hidden = hidden
        self.image_size = int(config.image_size)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Turn pixel values into tokens that stand in a text's place.

        Args:
            pixel_values: (I, 3, S, S).

        Returns:
            tokens_INH.
        """
        states_IPV = self.tower(pixel_values=pixel_values).last_hidden_state
        tokens_INH: torch.Tensor = self.pooler(states_IPV)
        return tokens_INH
