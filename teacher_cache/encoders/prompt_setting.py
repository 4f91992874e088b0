"""Encoders whose prompts are a setting: text in front of texts, and no part of the model."""

import copy
from typing import Self

from teacher_cache.config import Prompts, TeacherConfig


class PromptSetting:
    """``with_prompts`` for an encoder that asks ``self._teacher`` for its prompts at every call."""

    _teacher: TeacherConfig

    def with_prompts(self, prompts: Prompts) -> Self:
        """Use the loaded weights with other prompts.

        Args:
            prompts: Text in front of each text, by role.

        Returns:
            Another encoder on the same weights.
        """
        other = copy.copy(self)
        other._teacher = self._teacher.model_copy(update={"prompts": prompts})
        return other
