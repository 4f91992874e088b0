"""stella_en_1.5B_v5: Qwen2 states averaged, and one of its independent heads.

Shape legend: n texts, B texts in a batch, L tokens, H the tower's width, T the vector's dimension.
"""

import copy
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F
from transformers import Qwen2Model

from teacher_cache.config import Attention, TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.encoders.stella_files import StellaFiles
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
from teacher_cache.linear_head import LinearHead


class StellaEncoder:
    """A directory like stella_en_1.5B_v5's: a Qwen2 tower and ``2_Dense_{dim}`` heads.

    The heads are independent of each other: a prefix of a wide vector is not a narrower one. The
    teacher's ``dim`` chooses the head; ``attention`` and ``eos`` are settings because the files do
    not say them.

    Attributes:
        dim: Numbers in a vector.
        attention: Which way tokens look.
        state_dim: H, numbers in a pooled state.
        head: The chosen head.
    """

    dim: int
    attention: Attention
    state_dim: int
    head: LinearHead

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
                has another shape than ``config.json`` says; there is no head of the dimension.
        """
        self._files = StellaFiles(teacher)
        self._device = pick_device(device)
        self._adopt(teacher)
        self._tower = load_tower(
            Qwen2Model,
            self._files.config,
            self._files.directory,
            prefix=self._files.prefix,
            teacher=teacher,
            device=self._device,
            options=options,
        )
        self._loop = TokenLoop(self._device, self._files.end_id, token_budget)

    def under(self, teacher: TeacherConfig) -> Self:
        """Use the loaded tower with other prompts, attention, end-token rule, length or head.

        Args:
            teacher: The other settings.

        Returns:
            Another encoder on the same tower.

        Raises:
            PipeError: There is no head of that dimension, or no end token to append.
        """
        other = copy.copy(self)
        other._adopt(teacher)
        return other

    def _adopt(self, teacher: TeacherConfig) -> None:
        self._files.check(teacher)
        self._teacher = teacher
        self.attention = teacher.attention or "bidirectional"
        self.dim = teacher.dim
        self.state_dim = int(self._files.config.hidden_size)
        self.head = self._files.head(teacher.dim)
        self._weight_TH = torch.from_numpy(self.head.weight).to(self._device)
        bias = self.head.bias
        self._bias_T = None if bias is None else torch.from_numpy(bias).to(self._device)

    @property
    def parameters(self) -> int:
        """How many numbers tower and head are made of."""
        return self._files.tower_parameters + self.head.parameters

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each; a prompt's tokens are averaged like others.

        Returns:
            (n, T) float32, unit rows.

        Raises:
            PipeError: A text has no tokens, holds a lone surrogate, or does not fit into memory.
        """
        whole = prompted(self._teacher, texts, roles)
        return self._loop.run(whole, self._tokeniser(whole), self._forward, self.dim)

    def encode_states(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts up to the head.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, H) float32, not normalised.

        Raises:
            PipeError: A text has no tokens, holds a lone surrogate, or does not fit into memory.
        """
        whole = prompted(self._teacher, texts, roles)
        tokenise = self._tokeniser(whole)
        return self._loop.run(whole, tokenise, self._pooled, self.state_dim, unit=False)

    def first_states(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """States of the first token of each text, from which the canary sees who attends to whom.

        Args:
            texts: n passages.

        Returns:
            (n, H) float32, unit rows.
        """
        tokenise = self._tokeniser(texts)
        return self._loop.run(
            texts, tokenise, lambda batch, _: self._states(batch)[:, 0], self.state_dim
        )

    def _tokeniser(self, texts: Sequence[str]) -> Tokenise:
        def tokenise(rows: npt.NDArray[np.int64]) -> Tokens:
            return self._files.tokenise(self._teacher, [texts[row] for row in rows])

        return tokenise

    def _forward(self, batch: Features, skip_B: torch.Tensor) -> torch.Tensor:
        """Padded token ids (B, L) to head vectors (B, T), float32."""
        return F.linear(self._pooled(batch, skip_B), self._weight_TH, self._bias_T)

    def _pooled(self, batch: Features, _: torch.Tensor) -> torch.Tensor:
        """Padded token ids (B, L) to pooled states (B, H), float32."""
        return masked_mean(self._states(batch), batch["attention_mask"])

    def _states(self, batch: Features) -> torch.Tensor:
        # Other encoders may share the tower; masks are made from its config at every call.
        self._tower.config.is_causal = self.attention == "causal"
        states_BLH: torch.Tensor = self._tower(**batch, use_cache=False).last_hidden_state
        return states_BLH
