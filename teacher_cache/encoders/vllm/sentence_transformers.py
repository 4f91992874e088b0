"""Sentence-transformers models of an architecture that vLLM supports, the tower in vLLM.

Shape legend: n texts, T the vector's dimension.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.encoders.checkpoint import read_config
from teacher_cache.encoders.sentence_transformers_files import (
    load_model,
    split_off_head,
    tokenise,
    tower_directory,
)
from teacher_cache.encoders.vllm.engine import Pooling, VllmEngine
from teacher_cache.models import model_directory

_POOLINGS: Mapping[str, Pooling] = {"mean": "MEAN", "cls": "CLS", "lasttoken": "LAST"}


class VllmSentenceTransformersEncoder:
    """As ``SentenceTransformersEncoder``: the same token ids, and the same modules behind pooling.

    Attributes:
        dim: Numbers in a vector.
        parameters: How many numbers the model is made of.
        state_dim: Numbers in a pooled state, what the last module but ``Normalize`` is given.
        head: That module, if it is linear; else None.
    """

    def __init__(self, teacher: TeacherConfig, device: str = "auto") -> None:
        """Load the model.

        Args:
            teacher: The teacher's settings.
            device: ``auto``, or the kind of device that vLLM runs on.

        Raises:
            PipeError: As for ``SentenceTransformersEncoder``; its pooling is one that vLLM has not;
                or vLLM cannot run it.
        """
        model = load_model(teacher, "cpu")
        modules: list[nn.Module] = list(model)
        pooling = vllm_pooling(modules, teacher)
        tower = tower_directory(model_directory(teacher.model, teacher.revision))
        self._teacher = teacher
        self._tokenizer = modules[0].tokenizer
        self.dim = int(model.get_embedding_dimension() or 0)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        before, self.head = split_off_head(modules)
        self._behind, self._before_head = modules[2:], before[2:]
        self.state_dim = self.head.state_dim if self.head is not None else self.dim
        # vLLM loads the tower's weights itself.
        del model, modules, before
        self._engine = VllmEngine(tower, read_config(tower), teacher, pooling, device)

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts, an empty one too.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, T) float32, unit rows.

        Raises:
            PipeError: A text holds a lone surrogate, or vLLM fails.
        """
        return F.normalize(self._run(texts, roles, self._behind, self.dim), dim=1).numpy()

    def encode_states(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts up to the head, where the model has one.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, state_dim) float32, not normalised.

        Raises:
            PipeError: A text holds a lone surrogate, or vLLM fails.
        """
        return self._run(texts, roles, self._before_head, self.state_dim).numpy()

    def _run(
        self, texts: Sequence[str], roles: Sequence[str], modules: list[nn.Module], width: int
    ) -> torch.Tensor:
        """What some modules make of the pooled states, (n, width) float32 on the CPU."""
        whole = prompted(self._teacher, texts, roles)
        if not whole:
            return torch.empty(0, width)
        skip = np.zeros(len(whole), np.int64)  # `vllm_pooling` refuses prompts that leave the mean
        tokens = tokenise(self._tokenizer, self._teacher, whole, skip)
        features: dict[str, Any] = {"sentence_embedding": self._engine.pooled(tokens)}
        with torch.inference_mode():
            for module in modules:
                features = module(features)
        pooled: torch.Tensor = features["sentence_embedding"]
        return pooled


def vllm_pooling(modules: Sequence[nn.Module], teacher: TeacherConfig) -> Pooling:
    """Find vLLM's name of a model's pooling.

    Args:
        modules: The model's modules.
        teacher: The teacher's settings.

    Returns:
        The name.

    Raises:
        PipeError: It has none; prompts leave the mean; or the model is no transformer with pooling.
    """
    shape = [type(module).__name__ for module in modules]
    tokenizer = getattr(modules[0], "tokenizer", None)
    if (
        len(modules) < 2
        or not isinstance(modules[1], PoolingModule)
        or not isinstance(tokenizer, PreTrainedTokenizerBase)
    ):
        raise PipeError(
            f"found the modules {', '.join(shape)} in {teacher.model}, expected a transformer and "
            "its pooling first; use `--engine transformers` for this model."
        )
    mode = modules[1].pooling_mode
    pooling = _POOLINGS.get(mode) if isinstance(mode, str) else None
    if pooling is None:
        raise PipeError(
            f"found the pooling {mode!r} in {teacher.model}, expected one that vLLM has "
            f"({', '.join(_POOLINGS)}); use `--engine transformers` for this model."
        )
    if not modules[1].include_prompt and any(teacher.prompts.model_dump().values()):
        raise PipeError(
            f"found prompts for teacher {teacher.name}, expected none, because the pooling of "
            f"{teacher.model} leaves them out, which vLLM's does not; use `--engine transformers` "
            "for this model."
        )
    return pooling
