"""What does a GPU make of NV-Embed-v2's shape, against a plain padded loop?

Random weights in bfloat16 at full size, texts as long as the paper's mixture has them. The plain
loop takes texts as they come, pads every batch to its longest, and computes the latents' keys and
values anew for every text.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F
from transformers import MistralConfig, MistralModel

from benchmarks.harness import alternate, finish, options, show
from teacher_cache.encoders.latent_attention import LatentAttention, LatentSizes
from teacher_cache.encoders.token_loop import Features, TokenLoop, Tokens, masked_mean

_TEXTS_OF_THE_PAPER = 8_000_000
_MAX_TOKENS = 512
_PLAIN_BATCH = 16
_ATTEND = "latent_attention_model.cross_attend_blocks.0."
_FEED = "latent_attention_model.cross_attend_blocks.1."


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the model; the defaults are NV-Embed-v2's."""

    width: int = 4096
    layers: int = 32
    feed: int = 14336
    heads: int = 32
    key_heads: int = 8
    latents: int = 512
    cross_heads: int = 8
    vocab: int = 32000

    def linear_flop(self) -> int:
        """Of one token in the tower's and the (folded) pooler's matrix products."""
        keys = self.width * self.key_heads // self.heads
        layer = 2 * self.width * self.width + 2 * self.width * keys + 3 * self.width * self.feed
        pooler = 2 * self.width * self.latents * self.cross_heads + 12 * self.width * self.width
        return 2 * (self.layers * layer + pooler)


TINY = Shape(width=64, layers=2, feed=128, heads=4, key_heads=2, latents=8, cross_heads=2, vocab=99)


class RandomCheckpoint:
    """The pooler's tensors, made when they are asked for, the same each time."""

    def __init__(self, shape: Shape, device: str) -> None:
        width, inner = shape.width, shape.width * shape.cross_heads
        self._device = device
        self._shapes: dict[str, tuple[int, ...]] = {
            "latent_attention_model.latents": (shape.latents, width),
            f"{_ATTEND}fn.to_q.weight": (inner, width),
            f"{_ATTEND}fn.to_kv.weight": (2 * inner, width),
            f"{_ATTEND}fn.to_out.weight": (width, inner),
            f"{_FEED}fn.net.0.weight": (8 * width, width),
            f"{_FEED}fn.net.0.bias": (8 * width,),
            f"{_FEED}fn.net.2.weight": (width, 4 * width),
            f"{_FEED}fn.net.2.bias": (width,),
        }

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor by its name in the checkpoint; norms have ones and zeros."""
        if "norm" in name:
            width = self._shapes[f"{_FEED}fn.net.2.bias"]
            return (torch.ones if name.endswith("weight") else torch.zeros)(width)
        generator = torch.Generator(self._device).manual_seed(sum(map(ord, name)))
        sizes = self._shapes[name]
        return torch.randn(sizes, generator=generator, device=self._device) * sizes[-1] ** -0.5


class PlainPooler:
    """The pooler as it is written down: keys and values of the latents for every text anew."""

    def __init__(
        self, checkpoint: RandomCheckpoint, shape: Shape, dtype: torch.dtype, device: str
    ) -> None:
        def read(name: str) -> torch.Tensor:
            return checkpoint.tensor(name).to(device, dtype)

        self._heads = shape.cross_heads
        self._latents = read("latent_attention_model.latents")
        names = [f"{_ATTEND}fn.{part}.weight" for part in ("to_q", "to_kv", "to_out")]
        self._to_q, self._to_kv, self._to_out = map(read, names)
        names = [f"{_FEED}fn.net.{n}.{part}" for n in (0, 2) for part in ("weight", "bias")]
        self._feed = [read(name) for name in names]

    def __call__(self, states_BLD: torch.Tensor) -> torch.Tensor:
        """(B, L, D) to the same."""
        width = states_BLD.shape[-1:]
        latents = self._latents.expand(len(states_BLD), *self._latents.shape)
        keys, values = F.linear(F.layer_norm(latents, width), self._to_kv).chunk(2, -1)
        query = F.linear(F.layer_norm(states_BLD, width), self._to_q)
        attended = F.scaled_dot_product_attention(
            *(x.unflatten(-1, (self._heads, -1)).transpose(1, 2) for x in (query, keys, values))
        )
        states_BLD = states_BLD + F.linear(attended.transpose(1, 2).flatten(2), self._to_out)
        widen, widen_bias, narrow, narrow_bias = self._feed
        wide, gate = F.linear(F.layer_norm(states_BLD, width), widen, widen_bias).chunk(2, -1)
        return states_BLD + F.linear(wide * F.gelu(gate), narrow, narrow_bias)


def mixture_lengths(count: int) -> npt.NDArray[np.int64]:
    """Tokens of texts as the paper mixes them (3.2): 56% whole, 24% cut, 20% questions."""
    rng = np.random.default_rng(0)
    kinds = rng.choice(3, count, p=[0.56, 0.24, 0.20])
    documents = rng.lognormal(6.5, 0.8, count)
    spans = rng.integers(1, 11, count) * rng.normal(25, 5, count)
    questions = rng.integers(8, 30, count)
    lengths = np.choose(kinds, [documents, spans, questions])
    return lengths.clip(4, _MAX_TOKENS).astype(np.int64)


def matmul_peak(device: str, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a square matrix product."""
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def run() -> None:
        for _ in range(10):
            torch.mm(one, other)
        wait(device)

    return 10 * 2 * size**3 / alternate({"": run}, 3)[""]


def wait(device: str) -> None:
    """Wait until a device has done what it was given; a CPU has.

    Args:
        device: Its name.
    """
    if device == "cuda":
        torch.cuda.synchronize()


def _tower(shape: Shape, device: str, dtype: torch.dtype) -> MistralModel:
    config = MistralConfig(
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        intermediate_size=shape.feed,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        vocab_size=shape.vocab,
        sliding_window=None,
        attn_implementation="sdpa",
        use_cache=False,
    )
    config.is_causal = False
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return MistralModel(config).eval()
    finally:
        torch.set_default_dtype(before)


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, tiny="A tiny model on the CPU; its figures mean nothing.")
    if not chosen.tiny and not torch.cuda.is_available():
        sys.exit(
            "found no GPU that torch can use, expected one for a model of 8 billion parameters; "
            "run this on a machine with a GPU of 40 GB, or try it with --tiny."
        )
    device = "cpu" if chosen.tiny else "cuda"
    shape = TINY if chosen.tiny else Shape()
    dtype = torch.bfloat16
    count = 32 if chosen.tiny else 256 if chosen.quick else 2048
    lengths = mixture_lengths(count)
    rng = np.random.default_rng(1)
    ids = [rng.integers(3, shape.vocab, length).tolist() for length in lengths]
    torch.manual_seed(0)
    tower = _tower(shape, device, dtype)
    checkpoint = RandomCheckpoint(shape, device)
    sizes = LatentSizes(shape.latents, shape.cross_heads, shape.width)
    folded = LatentAttention(checkpoint.tensor, sizes, dtype, device)
    plain = PlainPooler(checkpoint, shape, dtype, device)
    loop = TokenLoop(device)

    def forward(pooler: Any, batch: Features) -> torch.Tensor:
        states_BLD = tower(**batch, use_cache=False).last_hidden_state
        return masked_mean(pooler(states_BLD), batch["attention_mask"])

    def ours() -> npt.NDArray[np.float32]:
        def tokens(rows: npt.NDArray[np.int64]) -> Tokens:
            return Tokens({"input_ids": [ids[row] for row in rows]}, np.zeros(len(rows), np.int64))

        texts = ["x" * int(length) for length in lengths]  # only their lengths are looked at
        found = loop.run(texts, tokens, lambda batch, _: forward(folded, batch), shape.width)
        wait(device)
        return found

    def padded() -> npt.NDArray[np.float32]:
        found = [_plain_batch(ids[n : n + _PLAIN_BATCH]) for n in range(0, count, _PLAIN_BATCH)]
        return np.concatenate(found)

    def _plain_batch(batch: Sequence[list[int]]) -> npt.NDArray[np.float32]:
        filled = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(one) for one in batch], batch_first=True
        )
        features = {
            "input_ids": filled.to(device),
            "attention_mask": (filled > 0).long().to(device),
        }
        with torch.inference_mode():
            return F.normalize(forward(plain, features), dim=1).cpu().numpy()

    seconds = alternate({"ours": ours, "plain": padded}, 1 if chosen.tiny or chosen.quick else 3)
    cosine = float(np.einsum("nd,nd->n", ours(), padded()).min())
    total = int(lengths.sum())
    flop = total * shape.linear_flop() + float(4 * shape.width * shape.layers * (lengths**2).sum())
    peak = matmul_peak(device, dtype, 256 if chosen.tiny else 8192)
    rows = [
        [name, count / time, total / time, flop / time / peak, _hours(time / count)]
        for name, time in seconds.items()
    ]
    show(["", "texts/s", "tokens/s", "of the matmul peak", "hours for 8 M texts"], rows)
    figures = {
        "texts_per_s": round(count / seconds["ours"], 2),
        "tokens_per_s": round(total / seconds["ours"]),
        "matmul_share": round(flop / seconds["ours"] / peak, 3),
        "matmul_tflops": round(peak / 1e12, 1),
        "vs_plain": round(seconds["plain"] / seconds["ours"], 2),
        "padding_share": round(1 - loop.work.tokens / loop.work.computed, 4),
        "min_cosine": round(cosine, 5),
        "gpu_hours_8m": round(_hours(seconds["ours"] / count), 1),
        "gpu_hours_8m_plain": round(_hours(seconds["plain"] / count), 1),
        "tokens_per_text": round(total / count, 1),
        "budget": loop.budget,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "tiny": chosen.tiny,
    }
    finish(figures, chosen.json)


def _hours(seconds_per_text: float) -> float:
    return seconds_per_text * _TEXTS_OF_THE_PAPER / 3600


if __name__ == "__main__":
    main()
