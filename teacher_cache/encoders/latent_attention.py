"""The pooler of NV-Embed-v2: every token asks a fixed set of latents (NV-Embed, section 3.1).

Shape legend: B texts, L tokens, D the tower's width, C a latent's width, N latents, H heads,
K a head's width, M the feed-forward's width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F

from data_prep.errors import PipeError
from teacher_cache.encoders.checkpoint import Shape

_PARTS = ("weight", "bias")
_ROOT = "latent_attention_model."
_ATTEND = f"{_ROOT}cross_attend_blocks.0."
_FEED = f"{_ROOT}cross_attend_blocks.1."
_LATENTS = f"{_ROOT}latents"
_EPS = 1e-5
_RELEASED_WIDTH, _RELEASED_LATENTS = 4096, 512

POOLER_NAMES = (
    _LATENTS,
    *(f"{_ATTEND}{norm}.{part}" for norm in ("norm", "norm_context") for part in _PARTS),
    *(f"{_ATTEND}fn.{part}.weight" for part in ("to_q", "to_kv", "to_out")),
    *(f"{_FEED}norm.{part}" for part in _PARTS),
    *(f"{_FEED}fn.net.{layer}.{part}" for layer in (0, 2) for part in _PARTS),
)
"""Its tensors, by their names in the checkpoint."""


@dataclass(frozen=True, slots=True)
class LatentSizes:
    """The sizes that the tensors' shapes alone do not settle.

    Attributes:
        num_latents: N.
        heads: H.
        head_dim: K.
    """

    num_latents: int
    heads: int
    head_dim: int

    @classmethod
    def of(
        cls, settings: Mapping[str, Any], found: Mapping[str, Shape], width: int, directory: Path
    ) -> Self:
        """Read the sizes from a config, and what it does not name from the tensors.

        The released config names none of them: there, every head is as wide as the tower (4096),
        and there are 512 latents. A config without sizes is read so.

        Args:
            settings: ``latent_attention_config`` of the config, perhaps empty.
            found: The shapes that the checkpoint's tensors have.
            width: D.
            directory: Where they come from, for errors.

        Returns:
            The sizes.

        Raises:
            PipeError: They are no sizes, or contradict the tensors.
        """
        given = {
            name: settings[name]
            for name in ("num_latents_value", "num_cross_heads", "cross_dim_head", "latent_dim")
            if settings.get(name) is not None
        }
        for name, value in given.items():
            if not isinstance(value, int) or value < 1:
                raise PipeError(
                    f"found {value!r} for {name} in {directory / 'config.json'}, expected a "
                    "positive whole number; copy the model again."
                )
        inner = found[f"{_ATTEND}fn.to_q.weight"][0]
        heads = given.get("num_cross_heads")
        head_dim = given.get("cross_dim_head") or (inner // heads if heads else width)
        heads = heads or inner // head_dim
        if heads * head_dim != inner:
            raise PipeError(
                f"found a latent attention of {inner} numbers in the weights in {directory}, "
                f"expected heads of {head_dim}"
                f"{f', {heads} of them' if heads else ''}, after latent_attention_config in "
                "config.json; check that weights and config belong together."
            )
        unnamed = _RELEASED_LATENTS if width == _RELEASED_WIDTH else found[_LATENTS][0]
        return cls(given.get("num_latents_value", unnamed), heads, head_dim)


def pooler_shapes(
    found: Mapping[str, Shape], settings: Mapping[str, Any], width: int, directory: Path
) -> tuple[LatentSizes, dict[str, Shape]]:
    """Work out the shapes that the pooler's tensors must have.

    Args:
        found: The shapes that the checkpoint's tensors have; all the names are there.
        settings: ``latent_attention_config`` of the config, perhaps empty.
        width: D.
        directory: The checkpoint's, for errors.

    Returns:
        The sizes, and the shapes by name.

    Raises:
        PipeError: Config and tensors contradict each other.
    """
    for name in (_LATENTS, f"{_ATTEND}fn.to_q.weight", f"{_FEED}fn.net.2.weight"):
        if len(found[name]) != 2:
            raise PipeError(
                f"found the tensor {name} of shape {found[name]} in the weights in {directory}, "
                "expected a matrix; copy the model again."
            )
    sizes = LatentSizes.of(settings, found, width, directory)
    inner = sizes.heads * sizes.head_dim
    latent_width = settings.get("latent_dim") or found[_LATENTS][-1]
    feed_width = found[f"{_FEED}fn.net.2.weight"][-1]
    shapes: dict[str, Shape] = {
        _LATENTS: (sizes.num_latents, latent_width),
        f"{_ATTEND}fn.to_q.weight": (inner, width),
        f"{_ATTEND}fn.to_kv.weight": (2 * inner, latent_width),
        f"{_ATTEND}fn.to_out.weight": (width, inner),
        f"{_FEED}fn.net.0.weight": (2 * feed_width, width),
        f"{_FEED}fn.net.0.bias": (2 * feed_width,),
        f"{_FEED}fn.net.2.weight": (width, feed_width),
        f"{_FEED}fn.net.2.bias": (width,),
    }
    for norm, size in (
        (f"{_ATTEND}norm", width),
        (f"{_ATTEND}norm_context", latent_width),
        (f"{_FEED}norm", width),
    ):
        shapes |= {f"{norm}.{part}": (size,) for part in _PARTS}
    return sizes, shapes


class LatentAttention(nn.Module):
    """Cross attention from token states to latents and a gated feed-forward, both residual.

    h = attention(LN(h), LN(latents)) + h;  h = W2 (x * gelu(gate)) + b2 + h, where (x, gate) are
    the halves of W1 LN(h) + b1.

    The latents' keys and values depend on the weights alone, so they are computed once; and because
    they are constant, the query projection is folded into the keys and the output projection into
    the values, head by head:

        logits_h = LN(h) (Wq_h^T K_h^T / sqrt(K))       a (D, N) matrix instead of (D, K) and (K, N)
        out = sum over h of softmax(logits_h) (V_h Wo_h^T)

    For the released sizes (D = K = 4096, N = 512, H = 8) that is a ninth of the work and of the
    parameters of the projections, with fewer roundings. Folding is done in float32.
    """

    ask: torch.Tensor  # (H * N, D)
    answer: torch.Tensor  # (D, H * N)
    attend_norm_weight: torch.Tensor
    attend_norm_bias: torch.Tensor
    feed_norm_weight: torch.Tensor
    feed_norm_bias: torch.Tensor
    widen_weight: torch.Tensor  # (2 * M, D)
    widen_bias: torch.Tensor
    narrow_weight: torch.Tensor  # (D, M)
    narrow_bias: torch.Tensor

    def __init__(
        self,
        tensor: Callable[[str], torch.Tensor],
        sizes: LatentSizes,
        dtype: torch.dtype,
        device: str | torch.device,
    ) -> None:
        """Fold the projections.

        Args:
            tensor: Gives the tensors of ``POOLER_NAMES``, which have been checked.
            sizes: The pooler's sizes.
            dtype: What it computes in.
            device: Where it computes.
        """
        super().__init__()

        def read(name: str) -> torch.Tensor:
            return tensor(name).to(device=device, dtype=torch.float32)

        heads, head_dim = sizes.heads, sizes.head_dim
        self._heads = heads
        latents_NC = F.layer_norm(
            (raw_NC := read(_LATENTS)),
            raw_NC.shape[-1:],
            read(f"{_ATTEND}norm_context.weight"),
            read(f"{_ATTEND}norm_context.bias"),
            _EPS,
        )
        keys, values = (latents_NC @ read(f"{_ATTEND}fn.to_kv.weight").T).chunk(2, dim=-1)
        keys_HNK = keys.unflatten(-1, (heads, head_dim)).transpose(0, 1)
        values_HNK = values.unflatten(-1, (heads, head_dim)).transpose(0, 1)
        query_HKD = read(f"{_ATTEND}fn.to_q.weight").unflatten(0, (heads, head_dim))
        out_HKD = read(f"{_ATTEND}fn.to_out.weight").T.unflatten(0, (heads, head_dim))
        self._keep("ask", (keys_HNK @ query_HKD).flatten(0, 1) * head_dim**-0.5, dtype)
        self._keep("answer", (values_HNK @ out_HKD).flatten(0, 1).T, dtype)
        for name, place in (("attend_norm", f"{_ATTEND}norm"), ("feed_norm", f"{_FEED}norm")):
            self._keep(f"{name}_weight", read(f"{place}.weight"), dtype)
            self._keep(f"{name}_bias", read(f"{place}.bias"), dtype)
        for name, layer in (("widen", 0), ("narrow", 2)):
            self._keep(f"{name}_weight", read(f"{_FEED}fn.net.{layer}.weight"), dtype)
            self._keep(f"{name}_bias", read(f"{_FEED}fn.net.{layer}.bias"), dtype)

    def _keep(self, name: str, value: torch.Tensor, dtype: torch.dtype) -> None:
        self.register_buffer(name, value.to(dtype).contiguous(), persistent=False)

    def forward(self, states_BLD: torch.Tensor) -> torch.Tensor:
        """Let every token state ask the latents.

        Args:
            states_BLD: The tower's states, in the pooler's dtype.

        Returns:
            (B, L, D) states; a token's depends on its own alone.
        """
        normed = _norm(states_BLD, self.attend_norm_weight, self.attend_norm_bias)
        logits_BLHN = F.linear(normed, self.ask).unflatten(-1, (self._heads, -1))
        shares = logits_BLHN.softmax(-1, dtype=torch.float32).to(states_BLD.dtype)
        states_BLD = states_BLD + F.linear(shares.flatten(-2), self.answer)
        normed = _norm(states_BLD, self.feed_norm_weight, self.feed_norm_bias)
        wide, gate = F.linear(normed, self.widen_weight, self.widen_bias).chunk(2, dim=-1)
        return states_BLD + F.linear(wide * F.gelu(gate), self.narrow_weight, self.narrow_bias)


def _norm(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(states, states.shape[-1:], weight, bias, _EPS)
