"""A checkpoint in NV-Embed-v2's format: checked and tokenised, for every engine."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import MistralConfig, MistralModel

from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.checkpoint import Checkpoint, read_config
from teacher_cache.encoders.latent_attention import POOLER_NAMES, pooler_shapes
from teacher_cache.encoders.text_tokens import TextTokens
from teacher_cache.encoders.token_loop import Tokens
from teacher_cache.encoders.towers import check_positions, tower_config, tower_shapes
from teacher_cache.models import model_directory

TOWER = "embedding_model."
"""Stands in front of the tower's parameters' names in the checkpoint."""


class NvEmbedFiles:
    """What a checkpoint in NV-Embed-v2's format holds, short of running it.

    Attributes:
        directory: The checkpoint's directory.
        config: The tower's config, attention bidirectional.
        checkpoint: The tensors, checked.
        sizes: The pooler's sizes.
        parameters: How many numbers the checkpoint is made of.
    """

    def __init__(self, teacher: TeacherConfig) -> None:
        """Find the checkpoint and check it against its own config and the settings.

        Args:
            teacher: The teacher's settings.

        Raises:
            PipeError: The model is not there or is another one; a tensor is missing, is unknown or
                has another shape than ``config.json`` says; texts may be longer than the model's
                positions.
        """
        self.directory = model_directory(teacher.model, teacher.revision, teacher.sha256)
        settings = read_config(self.directory)
        self.config = tower_config(MistralConfig, _group(settings, "text_config"), self.directory)
        check_positions(self.config, teacher)
        self._instructions_masked = settings.get("is_mask_instruction", True) is not False
        self._tokens = TextTokens(self.directory)
        self._end = (self._tokens.eos or "</s>") if settings.get("add_eos", True) else ""

        self.checkpoint = Checkpoint(self.directory)
        tower = tower_shapes(MistralModel, self.config, self.directory)
        shapes = {TOWER + name: shape for name, shape in tower.items()}
        self.checkpoint.expect_names([*shapes, *POOLER_NAMES])
        self.sizes, pooler = pooler_shapes(
            self.checkpoint.shapes,
            _group(settings, "latent_attention_config"),
            self.config.hidden_size,
            self.directory,
        )
        self.checkpoint.expect_shapes(shapes | pooler)
        self.parameters = sum(math.prod(shape) for shape in (shapes | pooler).values())

    @property
    def end_id(self) -> int:
        """The end token's number; 0 if there is none, which masked padding may be as well."""
        return self._tokens.eos_id or 0

    def skips(self, teacher: TeacherConfig) -> Mapping[str, int]:
        """Count the tokens of each role's prompt, which are attended to but not averaged.

        Args:
            teacher: The teacher's settings.

        Returns:
            Tokens in front of a text that leave the mean, by role.

        Raises:
            PipeError: A prompt leaves no room for text.
        """
        prompts: dict[str, str] = teacher.prompts.model_dump()
        skips = {
            role: self._tokens.count(prompt) if prompt and self._instructions_masked else 0
            for role, prompt in prompts.items()
        }
        longest = max(skips.values())
        if longest >= teacher.max_tokens:
            raise PipeError(
                f"found max_tokens {teacher.max_tokens} for teacher {teacher.name}, expected more "
                f"than {longest}, the tokens of its prompt; raise `max_tokens` or shorten the "
                "prompt."
            )
        return skips

    def tokenise(
        self, teacher: TeacherConfig, texts: Sequence[str], skip: npt.NDArray[np.int64]
    ) -> Tokens:
        """Tokenise texts, the end token being text.

        Args:
            teacher: The teacher's settings.
            texts: n texts, their prompts in front.
            skip: Tokens in front of each that leave the mean, (n,).

        Returns:
            Their tokens.
        """
        ids = self._tokens.ids([text + self._end for text in texts], teacher.max_tokens)
        return Tokens({"input_ids": ids}, skip)


def _group(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a config; empty where it is absent."""
    group = settings.get(name)
    return group if isinstance(group, dict) else {}
