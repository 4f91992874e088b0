"""NV-Embed-v2 in vLLM, as a model class of this project.

Shape legend: n texts, D the tower's width.
"""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from torch.nn import functional as F

from teacher_cache.config import Attention, TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.encoders.nv_embed_files import NvEmbedFiles
from teacher_cache.encoders.vllm.engine import VllmEngine
from teacher_cache.encoders.vllm.plugin import NV_EMBED_TOWER


class VllmNvEmbedEncoder:
    """As ``NvEmbedEncoder``, of which it takes files, token ids and the latent attention.

    A question's request says how many of its states leave the mean.

    Attributes:
        dim: Numbers in a vector.
        parameters: How many numbers the model is made of.
        attention: Which way tokens look.
    """

    attention: Final[Attention] = "bidirectional"

    def __init__(self, teacher: TeacherConfig, device: str = "auto") -> None:
        """Load the model.

        Args:
            teacher: The teacher's settings.
            device: ``auto``, or the kind of device that vLLM runs on.

        Raises:
            PipeError: As for ``NvEmbedEncoder``, or vLLM cannot run it.
        """
        self._files = NvEmbedFiles(teacher)
        self._skips = self._files.skips(teacher)
        self._teacher = teacher
        config = self._files.config.to_dict()
        config |= {
            "architectures": [NV_EMBED_TOWER],
            "is_causal": False,
            "latent_sizes": dataclasses.asdict(self._files.sizes),
        }
        self._engine = VllmEngine(self._files.directory, config, teacher, "MEAN", device)
        self.dim = int(self._files.config.hidden_size)
        self.parameters = self._files.parameters

    def under(self, teacher: TeacherConfig) -> Self:
        """Use the running model with other prompts or another maximum length.

        Args:
            teacher: The other settings.

        Returns:
            Another encoder on the same model.

        Raises:
            PipeError: The prompt leaves no room for text, or the model was started for shorter
                texts.
        """
        self._engine.check(teacher)
        other = copy.copy(self)
        other._skips = self._files.skips(teacher)
        other._teacher = teacher
        return other

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts, an empty one too.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, D) float32, unit rows.

        Raises:
            PipeError: A text holds a lone surrogate, or vLLM fails.
        """
        whole = prompted(self._teacher, texts, roles)
        if not whole:
            return np.empty((0, self.dim), np.float32)
        skip = np.array([self._skips[role] for role in roles], np.int64)
        tokens = self._files.tokenise(self._teacher, whole, skip)
        return F.normalize(self._engine.pooled(tokens), dim=1).numpy()

    def first_states(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """States of the first token of each text, from which the canary sees who attends to whom.

        Args:
            texts: n passages.

        Returns:
            (n, D) float32, unit rows, behind the latent attention, which keeps tokens apart.
        """
        skip = np.zeros(len(texts), np.int64)
        tokens = self._files.tokenise(self._teacher, texts, skip)
        return F.normalize(self._engine.first_states(tokens), dim=1).numpy()
