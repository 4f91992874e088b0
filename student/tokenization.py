"""From texts to length-sorted groups of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from student.image_tokens import texts_without_image_tokens
from student.token_group import TokenGroup
from teacher_cache.batching import token_batches
from teacher_cache.config import Prompts


@dataclass(frozen=True)
class Tokenization:
    """How texts become length-sorted groups of tokens.

    Attributes:
        tokenizer: The backbone's tokenizer, padding on the right.
        prompts: Text in front of each text, by role.
        max_tokens: Longer texts are cut off here, special tokens included.
        group_tokens: Bound on a group's padded tokens.
        sees: Whether the tokenizer has tokens that stand for an image, which no text may spell.
    """

    tokenizer: PreTrainedTokenizerBase
    prompts: Prompts
    max_tokens: int
    group_tokens: int
    sees: bool = False

    def groups(
        self, texts: Sequence[str], roles: Sequence[str]
    ) -> list[tuple[np.ndarray, TokenGroup]]:
        """Tokenise texts and group them by length.

        Args:
            texts: The texts.
            roles: The role of each, which chooses its prompt.

        Returns:
            Pairs of the texts' places in the input and their padded tokens.
        """
        prompted = self.prompts.in_front_of(texts, roles)
        if self.sees:
            prompted = texts_without_image_tokens(prompted)
        encoded = self.tokenizer(
            prompted, truncation=True, max_length=self.max_tokens, return_attention_mask=False
        )["input_ids"]
        lengths = np.fromiter((len(ids) for ids in encoded), dtype=np.int64, count=len(encoded))
        pad = self.tokenizer.pad_token_id or 0
        groups = []
        for places in token_batches(lengths, self.group_tokens):
            width = max(int(lengths[places].max()), 1)
            ids = np.full((len(places), width), pad, dtype=np.int64)
            for line, place in enumerate(places):
                ids[line, : lengths[place]] = encoded[place]
            mask = np.arange(width) < lengths[places, None]
            tokens = TokenGroup(
                input_ids=torch.from_numpy(ids),
                attention_mask=torch.from_numpy(mask.astype(np.int64)),
            )
            groups.append((places, tokens))
        return groups
