"""The configuration of an exported model."""

from typing import Any

from transformers import AutoConfig, PretrainedConfig, SiglipVisionConfig


class JasperDistillConfig(PretrainedConfig):
    """What decides an exported model's shape.

    Attributes:
        text_config: The text encoder's configuration.
        vision_config: The vision tower's.
        pooler: How patches become tokens, as in the recipe.
        image_tokens: How many tokens an image becomes.
        image_token_id: The id of the token that stands in the place of each of them.
        heads: Width of each head.
        nested: For a head without weights of its own, the head whose first numbers it is.
        default_head: The head in use where none is named.
        prompts: Text in front of each input, by role: ``question`` and ``passage``.
    """

    model_type = "jasper_distill"
    sub_configs = {"text_config": AutoConfig, "vision_config": SiglipVisionConfig}  # noqa: RUF012

    def __init__(
        self,
        text_config: PretrainedConfig | dict[str, Any] | None = None,
        vision_config: PretrainedConfig | dict[str, Any] | None = None,
        pooler: str = "adaptive",
        image_tokens: int = 300,
        image_token_id: int | None = None,
        heads: dict[str, int] | None = None,
        nested: dict[str, str] | None = None,
        default_head: str | None = None,
        prompts: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Describe a model; transformers also makes one without any argument."""
        if not isinstance(text_config, PretrainedConfig):
            text_config = AutoConfig.for_model(**{"model_type": "qwen2"} | (text_config or {}))
        if not isinstance(vision_config, PretrainedConfig):
            vision_config = SiglipVisionConfig(**{"vision_use_head": False} | (vision_config or {}))
        self.text_config = text_config
        self.vision_config = vision_config
        self.pooler = pooler
        self.image_tokens = image_tokens
        self.image_token_id = image_token_id
        self.heads = heads or {}
        self.nested = nested or {}
        self.default_head = default_head
        self.prompts = prompts or {}
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of the pooled state, H."""
        text: PretrainedConfig = self.text_config
        return int(text.hidden_size)

    @property
    def projection_dim(self) -> int:
        """Width of the vectors of the default head; sentence-transformers asks for it."""
        return self.heads.get(self.default_head or "", self.hidden_size)
