"""vLLM model classes of the native teachers; vLLM imports them, through ``plugin.register``.

Both take their tower from vLLM and pool the mean of a span of its states, which each request may
choose: all but a prompt, or the first token alone, from which the canary sees who attends to whom.

Shape legend: N tokens of all the texts in a batch, B texts, D the tower's width.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.pooler import DispatchPooler, Pooler
from vllm.model_executor.layers.pooler.seqwise import SequencePooler, SequencePoolingMethod
from vllm.model_executor.models.adapters import as_embedding_model
from vllm.model_executor.models.mistral import MistralModel
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.v1.pool.metadata import PoolingMetadata

from teacher_cache.encoders.latent_attention import POOLER_NAMES, LatentAttention, LatentSizes
from teacher_cache.encoders.nv_embed_files import TOWER

# Wide inner layers (8 D for each token) are run on so many tokens at a time.
_TOKENS_AT_A_TIME = 8192


class SpanMean(SequencePoolingMethod):
    """The mean of a text's states from ``skip`` to ``stop`` in its request's ``extra_kwargs``."""

    def forward(
        self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata
    ) -> torch.Tensor:
        """Average in float32.

        Args:
            hidden_states: (N, D) states, text after text.
            pooling_metadata: Where each text is, and what its request asks for.

        Returns:
            (B, D) float32.
        """
        cursor = pooling_metadata.get_pooling_cursor()
        if cursor.is_partial_prefill():
            raise RuntimeError("found a part of a text, expected whole ones: no chunked prefill")
        texts = hidden_states.split(cursor.prompt_lens_cpu.tolist())
        pooled = hidden_states.new_empty((len(texts), hidden_states.shape[-1]), dtype=torch.float32)
        for place, (states_LD, params) in enumerate(
            zip(texts, pooling_metadata.pooling_params, strict=True)
        ):
            span = params.extra_kwargs or {}
            pooled[place] = states_LD[span.get("skip", 0) : span.get("stop")].float().mean(0)
        return pooled


def _pooler() -> Pooler:
    """Only the mean: heads and normalising are applied where every engine's are."""
    return DispatchPooler({"embed": SequencePooler(SpanMean(), lambda pooled, _: pooled)})


class StellaTower(as_embedding_model(Qwen2ForCausalLM)):  # type: ignore[misc]
    """vLLM's Qwen2; ``is_causal`` in its config says which way tokens look."""

    def _init_pooler(self, vllm_config: VllmConfig, prefix: str = "") -> Pooler:
        return _pooler()


class NvEmbedTower(nn.Module):
    """vLLM's Mistral and the latent attention behind it, by the checkpoint's original names.

    ``latent_sizes`` in its config are the fields of ``LatentSizes``.
    """

    is_pooling_model = True

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        """Make the tower; the latent attention is made of its weights when they come.

        Args:
            vllm_config: vLLM's settings.
            prefix: Of the parameters' names.
        """
        super().__init__()
        config = vllm_config.model_config.hf_config
        self._sizes = LatentSizes(**config.latent_sizes)
        self._dtype = vllm_config.model_config.dtype
        self.model = MistralModel(vllm_config=vllm_config, prefix=f"{prefix}.model".lstrip("."))
        self.pooler = _pooler()

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Look token embeddings up.

        Args:
            input_ids: (N,) token ids.

        Returns:
            (N, D) embeddings.
        """
        embedded: torch.Tensor = self.model.embed_input_ids(input_ids)
        return embedded

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: object = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Run the tower, and let every state ask the latents.

        Args:
            input_ids: (N,) token ids.
            positions: (N,) places in their texts.
            intermediate_tensors: Not used.
            inputs_embeds: (N, D) instead of ids.

        Returns:
            (N, D) states.
        """
        states_ND = self.model(input_ids, positions, None, inputs_embeds)
        parts = states_ND.split(_TOKENS_AT_A_TIME)
        return torch.cat([self.latent_attention(part) for part in parts])

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Take the checkpoint's tensors, whose names and shapes have been checked before.

        Args:
            weights: Names and tensors.

        Returns:
            The names of the parameters that are filled.
        """
        pooler: dict[str, torch.Tensor] = {}

        def tower() -> Iterator[tuple[str, torch.Tensor]]:
            for name, tensor in weights:
                if name.startswith(TOWER):
                    yield name.removeprefix(TOWER), tensor
                elif name in POOLER_NAMES:
                    pooler[name] = tensor.clone()  # a loader may use its memory again

        loaded = {f"model.{name}" for name in self.model.load_weights(tower())}
        device = next(self.model.parameters()).device
        self.latent_attention = LatentAttention(
            pooler.__getitem__, self._sizes, self._dtype, device
        )
        return loaded
