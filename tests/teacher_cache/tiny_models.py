"""Checkpoints in the formats of the real teachers, small enough to be made in a test."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

TextTensors = dict[str, torch.Tensor]

# Every size is different, so that none can stand in for another.
NV_SIZES = {"width": 48, "layers": 3, "latents": 10, "latent_width": 40, "heads": 3, "head_dim": 20}


def byte_tokenizer(*special: str) -> Tokenizer:
    """A token per byte, and some special ones before them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: number for number, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def write_tokenizer(directory: Path, tokenizer: Tokenizer, **settings: Any) -> None:
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **settings}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


def make_nv_embed(directory: Path, seed: int = 0) -> Path:
    """A checkpoint in NV-Embed-v2's format, in two files, of unusual sizes."""
    torch.manual_seed(seed)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer("<unk>", "<s>", "</s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    write_tokenizer(directory, tokenizer, bos_token="<s>", eos_token={"content": "</s>"})
    size = NV_SIZES
    width, inner = size["width"], size["heads"] * size["head_dim"]
    text = {
        "model_type": "bidir_mistral",
        "hidden_size": width,
        "intermediate_size": 80,
        "num_hidden_layers": size["layers"],
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 200_000,
        "rms_norm_eps": 1e-5,
        "rope_theta": 5e3,
        "sliding_window": 4,  # the reference never applies it
    }
    config = {
        "model_type": "nvembed",
        "auto_map": {"AutoModel": "modeling_nvembed.NVEmbedModel"},
        "text_config": text,
        "latent_attention_config": {
            "model_type": "latent_attention",
            "num_latents_value": size["latents"],
            "num_cross_heads": size["heads"],
            "cross_dim_head": size["head_dim"],
            "latent_dim": size["latent_width"],
        },
    }
    (directory / "config.json").write_text(json.dumps(config))
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (text["vocab_size"], width)}
    for layer in range(size["layers"]):
        at = f"layers.{layer}."
        shapes |= {
            f"{at}input_layernorm.weight": (width,),
            f"{at}post_attention_layernorm.weight": (width,),
            f"{at}mlp.gate_proj.weight": (80, width),
            f"{at}mlp.up_proj.weight": (80, width),
            f"{at}mlp.down_proj.weight": (width, 80),
            f"{at}self_attn.q_proj.weight": (width, width),
            f"{at}self_attn.k_proj.weight": (16, width),
            f"{at}self_attn.v_proj.weight": (16, width),
            f"{at}self_attn.o_proj.weight": (width, width),
        }
    shapes["norm.weight"] = (width,)
    tensors = {f"embedding_model.{name}": shape for name, shape in shapes.items()}
    root = "latent_attention_model."
    attend, feed = f"{root}cross_attend_blocks.0.", f"{root}cross_attend_blocks.1."
    tensors |= {
        f"{root}latents": (size["latents"], size["latent_width"]),
        f"{attend}norm.weight": (width,),
        f"{attend}norm.bias": (width,),
        f"{attend}norm_context.weight": (size["latent_width"],),
        f"{attend}norm_context.bias": (size["latent_width"],),
        f"{attend}fn.to_q.weight": (inner, width),
        f"{attend}fn.to_kv.weight": (2 * inner, size["latent_width"]),
        f"{attend}fn.to_out.weight": (width, inner),
        f"{feed}norm.weight": (width,),
        f"{feed}norm.bias": (width,),
        f"{feed}fn.net.0.weight": (8 * width, width),
        f"{feed}fn.net.0.bias": (8 * width,),
        f"{feed}fn.net.2.weight": (width, 4 * width),
        f"{feed}fn.net.2.bias": (width,),
    }
    made = {name: 0.3 * torch.randn(shape) for name, shape in tensors.items()}
    for name in made:
        if "norm" in name and name.endswith("weight"):
            made[name] += 1
    towers = {name: value for name, value in made.items() if name.startswith("embedding")}
    files = {
        "model-00001-of-00002.safetensors": towers,
        "model-00002-of-00002.safetensors": {n: v for n, v in made.items() if n not in towers},
    }
    weight_map = {}
    for file, part in files.items():
        save_file(part, directory / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def make_stella(
    directory: Path,
    dims: tuple[int, ...] = (24, 40),
    *,
    closes: bool = False,
    seed: int = 1,
    width: int = 32,
    heads: int = 4,
) -> Path:
    """A directory in Stella's format: a Qwen2 tower, mean pooling, a head per dimension."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
    from transformers import Qwen2Config, Qwen2Model

    torch.manual_seed(seed)
    directory.mkdir(parents=True, exist_ok=True)
    tower = directory.parent / f"{directory.name}-tower"
    tokenizer = byte_tokenizer("<|endoftext|>")
    if closes:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
        )
    config = Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=1024,
        rope_theta=1e6,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
    )
    Qwen2Model(config).save_pretrained(tower)
    special = "<|endoftext|>"
    write_tokenizer(tower, tokenizer, eos_token=special, pad_token=special, padding_side="right")
    transformer = Transformer(str(tower), max_seq_length=64)
    SentenceTransformer(modules=[transformer, Pooling(width, "mean")], device="cpu").save(
        str(directory)
    )
    for dim in dims:
        head = Dense(width, dim, activation_function=torch.nn.Identity())
        (directory / f"2_Dense_{dim}").mkdir()
        head.save(str(directory / f"2_Dense_{dim}"))
    assert "is_causal" not in json.loads((directory / "config.json").read_text())
    return directory


def change_tensors(file: Path, change: Callable[[TextTensors], object]) -> None:
    """Rewrite a weight file."""
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


def change_json(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite a settings file."""
    settings = json.loads(file.read_text())
    change(settings)
    file.write_text(json.dumps(settings))


def plain_nv_embed(tensors: Mapping[str, torch.Tensor], ids: list[int], skip: int) -> torch.Tensor:
    """NV-Embed-v2's vector of one text, step by step, for ``NV_SIZES``: nothing folded or shared.

    Returns:
        (D,) float64, of unit norm.
    """
    w = {name: value.double() for name, value in tensors.items()}

    def rms(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x * (x.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * weight

    def turn(x: torch.Tensor) -> torch.Tensor:  # (L, heads, 8), rotary positions
        angle = torch.arange(len(x)).double()[:, None] * 5e3 ** (-torch.arange(0, 8, 2) / 8)
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        one, two = x.chunk(2, -1)
        return torch.cat([one * cos - two * sin, two * cos + one * sin], -1)

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5
        return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1)

    def norm(x: torch.Tensor, place: str) -> torch.Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return x * w[f"{place}.weight"] + w[f"{place}.bias"]

    h = w["embedding_model.embed_tokens.weight"][ids]
    for layer in range(NV_SIZES["layers"]):
        at = f"embedding_model.layers.{layer}."
        x = rms(h, w[f"{at}input_layernorm.weight"])
        q, k, v = (
            (x @ w[f"{at}self_attn.{part}_proj.weight"].T).unflatten(1, (-1, 8)) for part in "qkv"
        )
        k, v = turn(k).repeat_interleave(3, 1), v.repeat_interleave(3, 1)
        h = h + attend(turn(q), k, v) @ w[f"{at}self_attn.o_proj.weight"].T
        x = rms(h, w[f"{at}post_attention_layernorm.weight"])
        gate = torch.nn.functional.silu(x @ w[f"{at}mlp.gate_proj.weight"].T)
        h = h + (gate * (x @ w[f"{at}mlp.up_proj.weight"].T)) @ w[f"{at}mlp.down_proj.weight"].T
    h = rms(h, w["embedding_model.norm.weight"])
    one, two = (f"latent_attention_model.cross_attend_blocks.{n}." for n in (0, 1))
    context = norm(w["latent_attention_model.latents"], f"{one}norm_context")
    heads = (NV_SIZES["heads"], NV_SIZES["head_dim"])
    q = (norm(h, f"{one}norm") @ w[f"{one}fn.to_q.weight"].T).unflatten(1, heads)
    k, v = (context @ w[f"{one}fn.to_kv.weight"].T).chunk(2, -1)
    h = h + attend(q, k.unflatten(1, heads), v.unflatten(1, heads)) @ w[f"{one}fn.to_out.weight"].T
    x, gate = (
        norm(h, f"{two}norm") @ w[f"{two}fn.net.0.weight"].T + w[f"{two}fn.net.0.bias"]
    ).chunk(2, -1)
    x = x * torch.nn.functional.gelu(gate)
    h = h + x @ w[f"{two}fn.net.2.weight"].T + w[f"{two}fn.net.2.bias"]
    return torch.nn.functional.normalize(h[skip:].mean(0), dim=0)
