"""What a student is given at once: texts as tokens, and the images among them."""

from typing import NotRequired, TypedDict

import torch


class TokenGroup(TypedDict):
    """Inputs of similar length, padded to the longest of them.

    Attributes:
        input_ids: Token ids, (B, L), int64.
        attention_mask: 1 for a token and 0 for padding, (B, L).
        pixel_values: The images whose placeholders are among the tokens, in reading order,
            (I, 3, S, S); not there where there is none.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    pixel_values: NotRequired[torch.Tensor]
