"""Stella with its tower in vLLM.

Shape legend: n texts, H the tower's width, T the vector's dimension.
"""

import copy
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from torch.nn import functional as F

from data_prep.errors import PipeError
from teacher_cache.config import Attention, TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.encoders.stella_files import StellaFiles
from teacher_cache.encoders.vllm.engine import VllmEngine
from teacher_cache.encoders.vllm.plugin import STELLA_TOWER
from teacher_cache.linear_head import LinearHead


class VllmStellaEncoder:
    """As ``StellaEncoder``, of which it takes files, token ids and heads.

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

    def __init__(self, teacher: TeacherConfig, device: str = "auto") -> None:
        """Load the model.

        Args:
            teacher: The teacher's settings.
            device: ``auto``, or the kind of device that vLLM runs on.

        Raises:
            PipeError: As for ``StellaEncoder``, or vLLM cannot run it.
        """
        self._files = StellaFiles(teacher)
        self.attention = teacher.attention or "bidirectional"
        config = self._files.config.to_dict()
        # Without is_causal vLLM's Qwen2 is causal, silently.
        config |= {"architectures": [STELLA_TOWER], "is_causal": self.attention == "causal"}
        self.state_dim = int(self._files.config.hidden_size)
        self.head = self._files.head(teacher.dim)
        self._engine = VllmEngine(self._files.directory, config, teacher, "MEAN", device)
        self._adopt(teacher)

    def under(self, teacher: TeacherConfig) -> Self:
        """Use the running tower with other prompts, end-token rule, length or head.

        Args:
            teacher: The other settings.

        Returns:
            Another encoder on the same tower.

        Raises:
            PipeError: There is no head of that dimension, no end token to append, or the tower was
                started with the other attention or for shorter texts.
        """
        if (teacher.attention or "bidirectional") != self.attention:
            raise PipeError(
                f"found the attention {teacher.attention} for teacher {teacher.name}, expected "
                f"{self.attention}, with which vLLM was started; start it again."
            )
        other = copy.copy(self)
        other._adopt(teacher)
        return other

    def _adopt(self, teacher: TeacherConfig) -> None:
        self._files.check(teacher)
        self._engine.check(teacher)
        self._teacher = teacher
        self.dim = teacher.dim
        self.head = self._files.head(teacher.dim)

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
            PipeError: A text has no tokens or holds a lone surrogate, or vLLM fails.
        """
        return self.head.apply(self.encode_states(texts, roles))

    def encode_states(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts up to the head.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, H) float32, not normalised.

        Raises:
            PipeError: A text has no tokens or holds a lone surrogate, or vLLM fails.
        """
        whole = prompted(self._teacher, texts, roles)
        if not whole:
            return np.empty((0, self.state_dim), np.float32)
        tokens = self._files.tokenise(self._teacher, whole)
        states: npt.NDArray[np.float32] = self._engine.pooled(tokens).numpy()
        return states

    def first_states(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """States of the first token of each text, from which the canary sees who attends to whom.

        Args:
            texts: n passages.

        Returns:
            (n, H) float32, unit rows.
        """
        tokens = self._files.tokenise(self._teacher, texts)
        states = self._engine.first_states(tokens)
        return F.normalize(states, dim=1).numpy()
