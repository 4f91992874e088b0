"""The exported model: text encoder, vision encoder and heads in one transformers model.

Shape legend: B inputs, L tokens, I images of the batch, H text width, D a head's width.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, AutoProcessor, PreTrainedModel, SiglipVisionModel
from transformers.utils import ModelOutput

from data_prep.errors import PipeError
from student.image_tokens import place_images
from student.registered.config import JasperDistillConfig
from student.registered.inputs import is_one, pieces_of
from student.registered.processor import JasperDistillProcessor
from student.vision import VisionTokens
from student.vision_config import Pooler

# The tasks of sentence-transformers' encode_query and encode_document; no heads.
_ROLES = {"query", "document"}
_PROMPTED = ("passage", "question")


@dataclass
class JasperDistillOutput(ModelOutput):
    """What the model computes.

    Attributes:
        sentence_embedding: vectors_BD of the head in use, float32, not normalised.
        pooler_output: pooled_BH, float32, which the heads are applied to.
        last_hidden_state: The tokens' states, (B, L, H).
    """

    sentence_embedding: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None


class JasperDistillModel(PreTrainedModel):
    """A student as transformers loads it, with the same parts: ``text``, ``vision``, ``heads``."""

    config_class = JasperDistillConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: JasperDistillConfig) -> None:
        """Build the parts; the weights come from ``from_pretrained``."""
        super().__init__(config)
        self.text = AutoModel.from_config(config.text_config)
        self.vision = VisionTokens(
            SiglipVisionModel(config.vision_config),
            kind=cast(Pooler, config.pooler),
            tokens=config.image_tokens,
            hidden=config.hidden_size,
        )
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(config.hidden_size, width)
                for name, width in config.heads.items()
                if name not in config.nested
            }
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The embeddings of the text encoder's tokens."""
        return cast(nn.Module, self.text.get_input_embeddings())

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embeddings of the text encoder's tokens.

        Args:
            value: The new ones.
        """
        self.text.set_input_embeddings(value)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        task: str | None = None,
        return_dict: bool = True,
    ) -> JasperDistillOutput | tuple[torch.Tensor, ...]:
        """Compute vectors.

        Args:
            input_ids: Token ids, (B, L), an image's placeholders among them.
            attention_mask: 1 for a token and 0 for padding, (B, L); None for no padding.
            pixel_values: The images in the order of their placeholders, (I, 3, S, S).
            task: The head in use; None, ``query`` and ``document`` mean the default one.
            return_dict: Whether the results have names.

        Returns:
            The vectors, the pooled states and the tokens' states.

        Raises:
            PipeError: There is no such head, or there are more or fewer placeholders than the
                images have tokens.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        given: dict[str, torch.Tensor] = {"input_ids": input_ids}
        if pixel_values is not None:
            given = {"inputs_embeds": self._with_images(input_ids, pixel_values)}
        states_BLH = self.text(**given, attention_mask=attention_mask).last_hidden_state
        mask_BL1 = attention_mask.unsqueeze(-1).float()
        pooled_BH = (states_BLH.float() * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1)
        output = JasperDistillOutput(
            sentence_embedding=self.project(pooled_BH, self.head_of(task)),
            pooler_output=pooled_BH,
            last_hidden_state=states_BLH,
        )
        return output if return_dict else output.to_tuple()

    def head_of(self, task: str | None) -> str:
        """The head that a task means.

        Args:
            task: A head's name, or a role of sentence-transformers, or None.

        Returns:
            A head's name.

        Raises:
            PipeError: There is no such head.
        """
        if task in self.config.heads:
            return str(task)
        if task is None or task in _ROLES:
            return str(self.config.default_head)
        raise PipeError(
            f"the model has no head {task!r}; its heads are {', '.join(self.config.heads)}."
        )

    def project(self, pooled_BH: torch.Tensor, head: str) -> torch.Tensor:
        """Apply a head.

        Args:
            pooled_BH: Pooled states.
            head: The head's name.

        Returns:
            vectors_BD, float32, not normalised.
        """
        layer = cast(nn.Linear, self.heads[self.config.nested.get(head, head)])
        width = self.config.heads[head]
        pooled_BH = pooled_BH.to(layer.weight.dtype)
        return F.linear(pooled_BH, layer.weight[:width], layer.bias[:width]).float()

    @cached_property
    def processor(self) -> JasperDistillProcessor:
        """The processor that lies beside the model's weights."""
        processor: JasperDistillProcessor = AutoProcessor.from_pretrained(self.name_or_path)
        return processor

    @torch.no_grad()
    def encode(
        self,
        inputs: Iterable[Any],
        head: str | None = None,
        *,
        role: Literal["passage", "question"] = "passage",
        batch_size: int = 32,
        allow_urls: bool = False,
    ) -> npt.NDArray[np.float32]:
        """Embed texts, images and mixtures of them.

        Args:
            inputs: n inputs: texts (any string), images (Pillow images, ``Path``, bytes, arrays),
                lists of these, or dictionaries of ``text`` and ``image``, where an image may also
                be a path or an address as a string. A text, an image or a dictionary that stands
                in no list is one input.
            head: The head's name; None for the default one.
            role: Which prompt stands in front of each input.
            batch_size: Inputs computed together.
            allow_urls: Whether images may be fetched from the network.

        Returns:
            vectors_nD, float32, unit rows; of one input that stands in no list, vector_D, as
            sentence-transformers has it.

        Raises:
            PipeError: There is no such head, or an input is nothing of that, holds nothing or
                cannot be read.
            ValueError: There is no such role, the batch size is below 1, or a text
                holds a lone surrogate.
        """
        name = self.head_of(head)
        if role not in _PROMPTED:
            raise ValueError(f"found the role {role!r}, expected {' or '.join(_PROMPTED)}.")
        if batch_size < 1:
            raise ValueError(f"found the batch size {batch_size}, expected 1 or more.")
        prompt = self.config.prompts.get(role, "")
        alone = is_one(inputs)
        contents = [[prompt, *pieces_of(one)] for one in ([inputs] if alone else inputs)]
        vectors_nD = np.empty((len(contents), self.config.heads[name]), np.float32)
        training, allowed = self.training, self.processor.allow_urls
        self.eval()
        self.processor.allow_urls = allow_urls
        try:
            for first in range(0, len(contents), batch_size):
                some = slice(first, first + batch_size)
                features = self.processor.prepare(contents[some]).to(self.device)
                vectors_BD = self(**features, task=name).sentence_embedding
                vectors_nD[some] = F.normalize(vectors_BD, dim=-1).cpu().numpy()
        finally:
            self.train(training)
            self.processor.allow_urls = allowed
        return vectors_nD[0] if alone else vectors_nD

    def _with_images(self, input_ids: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
        """The embeddings of tokens, the images' own at their places, (B, L, H)."""
        places_BL = input_ids == self.config.image_token_id
        expected, found = len(pixel_values) * self.config.image_tokens, int(places_BL.sum())
        if found != expected:
            raise PipeError(
                f"found {found} placeholders for {len(pixel_values)} images, expected {expected}; "
                "prepare the inputs with the model's own processor."
            )
        embeddings_BLH = self.get_input_embeddings()(input_ids)
        return place_images(embeddings_BLH, places_BL, self.vision(pixel_values))
