"""Any sentence-transformers model as a teacher, batched by tokens rather than by texts.

Shape legend: B texts in a batch, L tokens, T the vector's dimension.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.encoders.packed_linear import pack_linears
from teacher_cache.encoders.prompt_setting import PromptSetting
from teacher_cache.encoders.sentence_transformers_files import (
    load_model,
    pad_id,
    prompt_lengths,
    split_off_head,
    tokenise,
)
from teacher_cache.encoders.token_loop import Features, TokenLoop, Work, pick_device
from teacher_cache.encoders.tower_options import AS_USUAL, TowerOptions

_TEXTS_IN_FALLBACK = 32


class SentenceTransformersEncoder(PromptSetting):
    """A sentence-transformers directory or hub name; its remote code is never run.

    The texts of a shard are tokenised once, without padding, and run longest first in batches under
    a token budget; the model's own modules (pooling, dense layers) do the rest.

    Attributes:
        dim: Numbers in a vector.
        parameters: How many numbers the model is made of.
        state_dim: Numbers in a pooled state, what the last module but ``Normalize`` is given.
        head: That module, if it is linear and behind a transformer; else None.
    """

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
            PipeError: The model is not there, is another one, needs code of its own, cannot take
                texts as long as ``max_tokens``, or has no tower that could be computed so.
        """
        device = pick_device(device)
        self._model = load_model(teacher, device, options)
        self._teacher = teacher
        self._tokenizer = getattr(self._model[0], "tokenizer", None)
        if isinstance(self._tokenizer, Tokenizer):  # a static model's
            self._tokenizer.enable_truncation(max_length=teacher.max_tokens)
        self._loop = TokenLoop(device, pad_id(self._model, self._tokenizer), token_budget)
        self.dim = int(self._model.get_embedding_dimension() or 0)
        self.parameters = sum(parameter.numel() for parameter in self._model.parameters())
        modules = list(self._model)
        # The tower alone: what stands behind it is small, and `head` is read from it. The compiler
        # orders weights itself.
        if not options.compiled:
            pack_linears(modules[0])
        self._before_head, self.head = split_off_head(modules)
        if not isinstance(self._tokenizer, PreTrainedTokenizerBase):
            self._before_head, self.head = modules, None  # `_encode_plainly` runs all of them
        self.state_dim = self.head.state_dim if self.head is not None else self.dim

    @property
    def work(self) -> Work:
        """What has been computed so far, for benchmarks."""
        return self._loop.work

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts, an empty one too.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, T) float32, unit rows.

        Raises:
            PipeError: A text holds a lone surrogate, or does not fit into memory.
        """
        return self._run(texts, roles, list(self._model), self.dim, unit=True)

    def encode_states(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts up to the head, where the model has one.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, state_dim) float32, not normalised.

        Raises:
            PipeError: A text holds a lone surrogate, or does not fit into memory.
        """
        return self._run(texts, roles, self._before_head, self.state_dim, unit=False)

    def _run(
        self,
        texts: Sequence[str],
        roles: Sequence[str],
        modules: list[torch.nn.Module],
        width: int,
        *,
        unit: bool,
    ) -> npt.NDArray[np.float32]:
        """What some of the model's modules, the first ones, make of texts, (n, width)."""
        whole = prompted(self._teacher, texts, roles)
        if not whole:
            return np.empty((0, width), np.float32)
        tokenizer = self._tokenizer
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            return self._encode_plainly(whole)
        skip = prompt_lengths(self._model, self._teacher, roles)
        return self._loop.run(
            whole,
            lambda rows: tokenise(
                tokenizer, self._teacher, [whole[row] for row in rows], skip[rows]
            ),
            partial(self._forward, modules),
            width,
            same_skip=True,
            unit=unit,
        )

    def _forward(
        self, modules: list[torch.nn.Module], batch: Features, skip_B: torch.Tensor
    ) -> torch.Tensor:
        """Padded token ids (B, L) to what the modules make of a text (B, width)."""
        features: dict[str, Any] = dict(batch)
        # A batch's texts leave out equally many tokens: its modules know one number.
        if prompt_length := int(skip_B[0]):
            features["prompt_length"] = prompt_length
        for module in modules:
            features = module(features)
            # Only the tower computes in the teacher's dtype: pooling and heads are cheap.
            if features.get("token_embeddings") is not None:
                features["token_embeddings"] = features["token_embeddings"].float()
        vectors_BT: torch.Tensor = features["sentence_embedding"]
        return vectors_BT

    def _encode_plainly(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Models without a transformers tokenizer, such as static embeddings."""
        vectors: npt.NDArray[np.floating] = self._model.encode(
            texts,
            prompt="",
            batch_size=_TEXTS_IN_FALLBACK,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        empty = ~vectors.any(axis=1)
        if empty.any():
            place = int(np.argmax(empty))
            raise PipeError(
                f"text {place} of {len(texts)} has no tokens for {self._teacher.name} "
                f"({texts[place][:40]!r}), expected at least one; remove empty texts."
            )
        return vectors.astype(np.float32, copy=False)
