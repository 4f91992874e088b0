"""stella_en_1.5B_v5: Qwen2 states averaged, and one of its independent heads.

Shape legend: n texts, B texts in a batch, L tokens, H the tower's width, T the vector's dimension.
"""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F
from transformers import Qwen2Config, Qwen2Model

from data_prep.errors import PipeError
from teacher_cache.config import Attention, TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.encoders.checkpoint import Checkpoint, read_config
from teacher_cache.encoders.text_tokens import TextTokens
from teacher_cache.encoders.token_loop import (
    Features,
    TokenLoop,
    Tokens,
    masked_mean,
    pick_device,
)
from teacher_cache.encoders.towers import (
    check_positions,
    load_tower,
    tower_config,
    tower_shapes,
)
from teacher_cache.linear_head import LinearHead
from teacher_cache.models import model_directory


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
        kernel: str = "sdpa",
    ) -> None:
        """Load the model.

        Args:
            teacher: The teacher's settings.
            device: ``auto``, or a name that torch knows.
            token_budget: Tokens in a batch, padding included; by default what suits the device.
            kernel: ``sdpa``, ``eager`` or another attention implementation of transformers.

        Raises:
            PipeError: The model is not there or is another one; a tensor is missing, is unknown or
                has another shape than ``config.json`` says; there is no head of the dimension.
        """
        self._directory = model_directory(teacher.model, teacher.revision, teacher.sha256)
        self._device = pick_device(device)
        config = tower_config(Qwen2Config, read_config(self._directory), self._directory)
        self._config = config
        self._tokens = TextTokens(self._directory)
        self._adopt(teacher)

        checkpoint = Checkpoint(self._directory)
        prefix = "model." if any(name.startswith("model.") for name in checkpoint.shapes) else ""
        tower = tower_shapes(Qwen2Model, config, self._directory)
        shapes = {prefix + name: shape for name, shape in tower.items()}
        checkpoint.expect_names(shapes, ignored=["lm_head.weight"])
        checkpoint.expect_shapes(shapes)
        self._tower = load_tower(
            Qwen2Model,
            config,
            self._directory,
            prefix=prefix,
            teacher=teacher,
            device=self._device,
            kernel=kernel,
        )
        self._loop = TokenLoop(self._device, self._tokens.eos_id or 0, token_budget)

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
        check_positions(self._config, teacher)
        if teacher.eos == "append" and self._tokens.eos_id is None:
            raise PipeError(
                f"found no end token in the tokenizer in {self._directory}, expected one for "
                f'`eos = "append"` of teacher {teacher.name}; copy tokenizer_config.json as well, '
                'or use `eos = "none"`.'
            )
        self._teacher = teacher
        self.attention = teacher.attention or "bidirectional"
        self.dim = teacher.dim
        self.state_dim = int(self._config.hidden_size)
        self.head = load_head(self._directory, teacher.dim, self.state_dim)
        self._weight_TH = torch.from_numpy(self.head.weight).to(self._device)
        bias = self.head.bias
        self._bias_T = None if bias is None else torch.from_numpy(bias).to(self._device)

    @property
    def parameters(self) -> int:
        """How many numbers tower and head are made of."""
        tower: int = sum(parameter.numel() for parameter in self._tower.parameters())
        bias = self.head.bias
        return tower + self.head.weight.size + (0 if bias is None else bias.size)

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
        return self._loop.run(whole, partial(self._tokenise, whole), self._forward, self.dim)

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
        tokenise = partial(self._tokenise, whole)
        return self._loop.run(whole, tokenise, self._pooled, self.state_dim, unit=False)

    def first_states(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """States of the first token of each text, from which the canary sees who attends to whom.

        Args:
            texts: n passages.

        Returns:
            (n, H) float32, unit rows.
        """
        tokenise = partial(self._tokenise, texts)
        return self._loop.run(
            texts, tokenise, lambda batch, _: self._states(batch)[:, 0], self.state_dim
        )

    def _tokenise(self, whole: Sequence[str], rows: npt.NDArray[np.int64]) -> Tokens:
        """Token ids, the end token last or nowhere; a text that is cut off keeps it."""
        texts = [whole[row] for row in rows]
        most, closes = self._teacher.max_tokens, self._tokens.closes
        if self._teacher.eos == "append" and not closes:
            ids = [[*text, self._tokens.eos_id or 0] for text in self._tokens.ids(texts, most - 1)]
        elif self._teacher.eos != "append" and closes:
            ids = [text[:-1] for text in self._tokens.ids(texts, most + 1)]
        else:
            ids = self._tokens.ids(texts, most)
        return Tokens({"input_ids": ids}, np.zeros(len(ids), np.int64))

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


def load_head(directory: Path, dim: int, width: int) -> LinearHead:
    """Load one of a model's heads.

    Args:
        directory: The model's directory.
        dim: T; the head lies in ``2_Dense_{dim}``.
        width: H.

    Returns:
        The head.

    Raises:
        PipeError: There is no such head, or it is no linear layer from H to T numbers.
    """
    place = directory / f"2_Dense_{dim}"
    if not place.is_dir():
        there = sorted(
            int(name)
            for path in directory.glob("2_Dense_*")
            if (name := path.name.removeprefix("2_Dense_")).isdigit()
        )
        raise PipeError(
            f"found no head {place.name} in {directory}, expected one of those that the model has "
            f"({', '.join(map(str, there)) or 'none'}); mend the teacher's `dim`, or copy the head."
        )
    settings = read_config(place)
    activation = str(settings.get("activation_function", "")).rsplit(".", 1)[-1]
    if activation != "Identity":
        raise PipeError(
            f"found the activation {activation or 'Tanh (by default)'} in {place}, expected "
            "Identity, as in Stella's heads; use kind sentence-transformers for this model."
        )
    head = Checkpoint(place)
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (dim, width)}
    if settings.get("bias", True):
        shapes["linear.bias"] = (dim,)
    head.expect_names(shapes)
    head.expect_shapes(shapes)
    weight, *bias = (head.tensor(name).float().numpy() for name in shapes)
    return LinearHead(weight, *bias)
