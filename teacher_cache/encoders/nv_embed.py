"""NV-Embed-v2 without its remote code: a bidirectional Mistral and a latent-attention pooler.

Written from the model's files and what they describe; the authors' code needs transformers 4.42.

Shape legend: n texts, B texts in a batch, L tokens, D the tower's width.
"""

import copy
from collections.abc import Sequence
from typing import Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from transformers import MistralModel

from teacher_cache.config import Attention, TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.encoders.compiling import compile_forward
from teacher_cache.encoders.latent_attention import LatentAttention
from teacher_cache.encoders.nv_embed_files import TOWER, NvEmbedFiles
from teacher_cache.encoders.token_loop import (
    Features,
    Tokenise,
    TokenLoop,
    Tokens,
    masked_mean,
    pick_device,
)
from teacher_cache.encoders.tower_options import AS_USUAL, TowerOptions
from teacher_cache.encoders.towers import load_tower

_Rows: TypeAlias = npt.NDArray[np.int64]


class NvEmbedEncoder:
    """A checkpoint in NV-Embed-v2's format: ``config.json`` of type ``nvembed``, original names.

    As in the reference, the end token is text: it is appended before tokenising, and a text that is
    cut off loses it. A prompt's tokens are attended to but not averaged: as many positions as the
    prompt has tokens by itself leave the mean, counted from the first, the start token included.

    Attributes:
        dim: Numbers in a vector.
        parameters: How many numbers the model is made of.
        attention: Which way tokens look.
    """

    attention: Final[Attention] = "bidirectional"

    def __init__(
        self,
        teacher: TeacherConfig,
        device: str = "auto",
        token_budget: int | None = None,
        options: TowerOptions = AS_USUAL,
    ) -> None:
        """Load the model.

        Args:
            teacher: The teacher's settings.
            device: ``auto``, or a name that torch knows.
            token_budget: Tokens in a batch, padding included; by default what suits the device.
            options: How the tower is computed.

        Raises:
            PipeError: The model is not there or is another one; a tensor is missing, is unknown or
                has another shape than ``config.json`` says; the prompt leaves no room for text.
        """
        self._files = NvEmbedFiles(teacher)
        device = pick_device(device)
        self._adopt(teacher)
        self._tower = load_tower(
            MistralModel,
            self._files.config,
            self._files.directory,
            prefix=TOWER,
            teacher=teacher,
            device=device,
            options=options,
        )
        self._pooler = LatentAttention(
            self._files.checkpoint.tensor, self._files.sizes, self._tower.dtype, device
        )
        if options.compiled:
            compile_forward(self._pooler)
        # What fills up a batch is masked, so a tokenizer needs no padding token.
        self._loop = TokenLoop(device, self._files.end_id, token_budget)
        self.dim = int(self._files.config.hidden_size)
        # As the checkpoint has them: here some of the pooler's are folded together.
        self.parameters = self._files.parameters

    def under(self, teacher: TeacherConfig) -> Self:
        """Use the loaded weights with other prompts or another maximum length.

        Args:
            teacher: The other settings.

        Returns:
            Another encoder on the same weights.

        Raises:
            PipeError: The prompt leaves no room for text.
        """
        other = copy.copy(self)
        other._adopt(teacher)
        return other

    def _adopt(self, teacher: TeacherConfig) -> None:
        self._skips = self._files.skips(teacher)
        self._teacher = teacher

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts, an empty one too.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, D) float32, unit rows.

        Raises:
            PipeError: A text holds a lone surrogate, or does not fit into memory.
        """
        whole = prompted(self._teacher, texts, roles)
        skip = np.array([self._skips[role] for role in roles], np.int64)
        return self._loop.run(whole, self._tokeniser(whole, skip), self._forward, self.dim)

    def first_states(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """States of the first token of each text, from which the canary sees who attends to whom.

        Args:
            texts: n passages.

        Returns:
            (n, D) float32, unit rows.
        """
        tokenise = self._tokeniser(texts, np.zeros(len(texts), np.int64))
        return self._loop.run(texts, tokenise, lambda batch, _: self._states(batch)[:, 0], self.dim)

    def _tokeniser(self, texts: Sequence[str], skip: _Rows) -> Tokenise:
        def tokenise(rows: _Rows) -> Tokens:
            return self._files.tokenise(self._teacher, [texts[row] for row in rows], skip[rows])

        return tokenise

    def _forward(self, batch: Features, skip_B: torch.Tensor) -> torch.Tensor:
        """Padded token ids (B, L) to pooled states (B, D), float32."""
        states_BLD = self._pooler(self._states(batch))
        mask_BL = batch["attention_mask"]
        places_L = torch.arange(mask_BL.shape[1], device=mask_BL.device)
        return masked_mean(states_BLD, mask_BL * (places_L >= skip_B.unsqueeze(1)))

    def _states(self, batch: Features) -> torch.Tensor:
        states_BLD: torch.Tensor = self._tower(**batch, use_cache=False).last_hidden_state
        return states_BLD
