"""The student: a text encoder, perhaps a vision encoder, and named linear heads (paper, 2.2)."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Self, cast

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_prep.draws import draw
from data_prep.errors import PipeError
from student.image_tokens import (
    IMAGE_TOKEN,
    add_image_tokens,
    image_text,
    place_images,
    require_room,
)
from student.saved import load_student, save_student
from student.token_group import TokenGroup
from student.vision import VisionEncoder
from teacher_cache.config import Prompts


class Student(nn.Module):
    """A text encoder with linear heads on its mean-pooled state.

    A head has weights of its own, or it is nested: the first numbers of another one. Parts are
    named ``text`` (the backbone), ``heads.NAME`` and ``vision``, whose tokens take the places of
    words in the text encoder's input.

    Attributes:
        text: The transformers backbone, attending in both directions.
        vision: From images to tokens of the text encoder's width; None for a student of texts.
        heads: One Linear(hidden, D) with bias per head that has weights of its own.
        nested: For every other head, the head whose first numbers it is, and its width.
        tokenizer: The backbone's tokenizer, padding on the right.
        max_tokens: Longer texts are cut off here, special tokens included.
        prompts: Text in front of each text, by role.
        default_head: The head that an export uses.
        dropout: Dropout probability while training.
        autocast: What the backbone computes in while a stage trains, evaluations included; None
            for its weights' own type.
        recompute: Whether a group's forward pass is run again in the backward pass instead of
            being kept.
    """

    autocast: torch.dtype | None = None
    recompute: bool = False

    def __init__(
        self,
        text: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_tokens: int,
        prompts: Prompts,
        default_head: str,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.text = text
        self.vision: VisionEncoder | None = None
        self.heads = nn.ModuleDict()
        self.nested: dict[str, tuple[str, int]] = {}
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.prompts = prompts
        self.default_head = default_head
        self.dropout = dropout
        tokenizer.padding_side = "right"

    @property
    def hidden(self) -> int:
        """Width of the pooled state, H."""
        return int(self.text.config.hidden_size)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Load a saved student.

        Args:
            directory: What ``save`` wrote.

        Returns:
            The student, in evaluation mode.

        Raises:
            PipeError: The directory is not a saved student, or a file in it is broken.
        """
        return load_student(cls, directory)

    def save(self, directory: Path) -> None:
        """Write the student in float32 safetensors; the directory appears whole or not at all.

        Args:
            directory: Where it belongs; a directory there is replaced.
        """
        save_student(self, directory)

    def named_heads(self) -> list[tuple[str, nn.Linear]]:
        """The heads by name: those with weights of their own, then the nested ones.

        A nested head comes as a layer that shares the memory of the one it is nested in and takes
        no part in training.
        """
        named = [(name, cast(nn.Linear, head)) for name, head in self.heads.items()]
        own = dict(named)
        for name, (whole, width) in self.nested.items():
            view = nn.utils.skip_init(nn.Linear, self.hidden, width)
            view.weight = nn.Parameter(own[whole].weight[:width].detach(), requires_grad=False)
            view.bias = nn.Parameter(own[whole].bias[:width].detach(), requires_grad=False)
            named.append((name, cast(nn.Linear, view)))
        return named

    def add_heads(
        self, widths: Mapping[str, int], seed: int, nested: Mapping[str, str] | None = None
    ) -> list[str]:
        """Add the heads that are not there yet.

        Args:
            widths: Width of each wanted head.
            seed: Decides, with the head's name, its first weights.
            nested: For each head without weights of its own, the head that it is nested in.

        Returns:
            The names of the heads that are new.

        Raises:
            PipeError: A head is there with another width, or its name is one of torch's.
        """
        new = []
        there = dict(self.named_heads())
        for name, width in widths.items():
            if name in there:
                found = there[name].out_features
                if found != width:
                    raise PipeError(
                        f"head {name} is {found} wide in the stage before and {width} in the "
                        "recipe; give the new width a new head name, or train from stage 1 again."
                    )
                continue
            if hasattr(self.heads, name):
                raise PipeError(
                    f"found a head called {name}, expected a name that torch does not use itself; "
                    f"call it {name}_{width}, say."
                )
            if nested and name in nested:
                self.nested[name] = nested[name], width
            else:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(draw(seed, "head", name))
                    self.heads[name] = nn.Linear(self.hidden, width)
            new.append(name)
        return new

    def own_head(self, name: str) -> str:
        """The head whose weights a head uses: itself, or the one that it is nested in.

        Args:
            name: A head.
        """
        return self.nested[name][0] if name in self.nested else name

    def see_with(self, vision: VisionEncoder, seed: int) -> None:
        """Add a vision encoder, and the tokens that stand for an image.

        Args:
            vision: The encoder, whose tokens are as wide as the text encoder's.
            seed: Decides the embeddings of the new tokens.

        Raises:
            PipeError: An image does not fit in ``max_tokens``.
        """
        add_image_tokens(self.text, self.tokenizer, seed)
        self.vision = vision
        require_room(len(self.image_ids()), self.max_tokens)

    def image_ids(self) -> tuple[int, ...]:
        """The token ids of an image alone, with a passage's prompt in front.

        Raises:
            PipeError: The student has no vision encoder.
        """
        prompted = self.prompts.passage + image_text(self.seeing().tokens)
        return tuple(self.tokenizer(prompted)["input_ids"])

    def seeing(self) -> VisionEncoder:
        """The vision encoder.

        Raises:
            PipeError: The student has none.
        """
        if self.vision is None:
            raise PipeError(
                "found an image, and the student has no vision encoder; train a stage with "
                'inputs = "images" first.'
            )
        return self.vision

    def pooled(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pixel_values: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The mean of the token states over the real tokens, prompt and images included.

        Args:
            input_ids: (B, L), int64.
            attention_mask: (B, L), 1 for a token and 0 for padding.
            pixel_values: As in ``TokenGroup``.

        Returns:
            pooled_BH, float32.
        """
        with self._precision():
            if pixel_values is None:
                given = {"input_ids": input_ids}
            else:
                given = {"inputs_embeds": self._with_images(input_ids, pixel_values)}
            states_BLH = self.text(**given, attention_mask=attention_mask).last_hidden_state
        states_BLH = states_BLH.float()
        mask_BL1 = attention_mask.unsqueeze(-1).to(states_BLH.dtype)
        pooled_BH: torch.Tensor = (states_BLH * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1)
        return pooled_BH

    def _with_images(self, input_ids: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
        """The embeddings of tokens, the images' own at their places, (B, L, H)."""
        tokens_INH = self.seeing()(pixel_values)
        placeholder = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        embeddings_BLH = self.text.get_input_embeddings()(input_ids)
        return place_images(embeddings_BLH, input_ids == placeholder, tokens_INH)

    def project(self, pooled_BH: torch.Tensor, head: str) -> torch.Tensor:
        """Apply a head, in the precision of its weights and never in less under autocast.

        Args:
            pooled_BH: Pooled states.
            head: The head's name.

        Returns:
            vectors_BD, float32, not normalised.
        """
        layer = cast(nn.Linear, self.heads[self.own_head(head)])
        pooled_BH = pooled_BH.to(layer.weight.dtype)
        with torch.autocast(pooled_BH.device.type, enabled=False):
            if head in self.nested:
                width = self.nested[head][1]
                return F.linear(pooled_BH, layer.weight[:width], layer.bias[:width]).float()
            vectors_BD: torch.Tensor = layer(pooled_BH)
        return vectors_BD.float()

    def forward(
        self,
        groups: Iterable[TokenGroup],
        heads: Iterable[str],
        pooled: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Vectors of a batch for several heads.

        Running the batch in length-sorted groups computes less padding and gives the same
        vectors.

        Args:
            groups: The batch in groups of similar length.
            heads: Names of the heads to apply.
            pooled: pooled_BH where it is known, instead of groups.

        Returns:
            For each head vectors_BD, not normalised, in the order of the groups' texts.
        """
        pooled_BH = self._pooled_groups(groups) if pooled is None else pooled
        return {head: self.project(pooled_BH, head) for head in heads}

    def _pooled_groups(self, groups: Iterable[TokenGroup]) -> torch.Tensor:
        with self._precision():
            if not self.recompute:
                return torch.cat([self.pooled(**group) for group in groups])
            return torch.cat(
                [checkpoint(self.pooled, *group.values(), use_reentrant=False) for group in groups]
            )

    def _precision(self) -> AbstractContextManager[None]:
        """Within the outermost of these contexts a weight that trains is cast once."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(next(self.parameters()).device.type, self.autocast)
