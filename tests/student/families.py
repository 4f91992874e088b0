"""Tiny checkpoints of every family of backbones that people embed with, in their real format."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from tests.student.tiny_students import byte_tokenizer

VOCABULARY = 300
_ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
_DECODER = _ENCODER | {
    "num_key_value_heads": 2,
    "head_dim": 8,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
_LOCAL_AND_GLOBAL = ["sliding_attention", "full_attention"] * 2
_MODERN = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}

# The name, the model type, and the settings. Windows are shorter than the texts of the tests.
_FAMILIES = {
    "bert": ("bert", _ENCODER),
    "roberta": ("roberta", _ENCODER),
    "xlm-roberta": ("xlm-roberta", _ENCODER | {"pad_token_id": 1}),
    "mpnet": ("mpnet", _ENCODER | {"pad_token_id": 1}),
    "distilbert": (
        "distilbert",
        {"vocab_size": VOCABULARY, "dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 48}
        | {"max_position_embeddings": 64, "pad_token_id": 0},
    ),
    "electra": ("electra", _ENCODER | {"embedding_size": 16}),
    "deberta-v2": (
        "deberta-v2",
        _ENCODER | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    "nomic-bert": ("nomic_bert", _ENCODER),
    "gte": ("gte", _ENCODER),
    "modernbert": (
        "modernbert",
        _ENCODER | _MODERN | {"local_attention": 7, "global_attn_every_n_layers": 2},
    ),
    "eurobert": ("eurobert", _DECODER | {"mask_token_id": 4}),
    "qwen2": ("qwen2", _DECODER),
    "qwen2-windows": (
        "qwen2",
        _DECODER
        | {"use_sliding_window": True, "sliding_window": 5, "layer_types": _LOCAL_AND_GLOBAL},
    ),
    "qwen3": ("qwen3", _DECODER),
    "mistral": ("mistral", _DECODER | {"sliding_window": 5}),
    "llama": ("llama", _DECODER),
    "gemma": ("gemma", _DECODER),
    "gemma2": ("gemma2", _DECODER | {"sliding_window": 5, "layer_types": _LOCAL_AND_GLOBAL}),
    "gemma3": ("gemma3_text", _DECODER | {"sliding_window": 6, "layer_types": _LOCAL_AND_GLOBAL}),
    "embedding-gemma": (
        "gemma3_text",
        _DECODER
        | {"sliding_window": 6, "layer_types": _LOCAL_AND_GLOBAL}
        | {"use_bidirectional_attention": True},
    ),
    "phi3": ("phi3", _DECODER),
    "gpt2": (
        "gpt2",
        {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64}
        | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
    ),
}
FAMILIES = tuple(_FAMILIES)
# Those whose published models attend to the left only.
CAUSAL = tuple(
    name
    for name in FAMILIES
    if name.startswith(("qwen", "mistral", "llama", "gemma", "phi", "gpt"))
)


def save_family(directory: Path, name: str, **settings: object) -> Path:
    """Write a checkpoint with random weights in bfloat16, as most of them are published."""
    kind, sizes = _FAMILIES[name]
    return save_model(directory, kind, **sizes | settings)


def save_model(directory: Path, kind: str, **settings: object) -> Path:
    """Write a checkpoint of any model type that transformers knows."""
    torch.manual_seed(0)
    model = AutoModel.from_config(CONFIG_MAPPING[kind](**settings))
    for parameter in model.parameters():
        if parameter.ndim > 1:  # larger than usual, so that every mask shows
            torch.nn.init.normal_(parameter, std=0.2)
    model.eval().to(torch.bfloat16).save_pretrained(directory)
    # AutoTokenizer takes the class from the model type here, and Qwen2's works on bytes.
    pad = getattr(model.config, "pad_token_id", None) or 0
    (byte_tokenizer() if kind == "qwen2" else _words(pad)).save_pretrained(directory)
    return directory


def _words(pad: int) -> PreTrainedTokenizerBase:
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    special.insert(pad, "[PAD]")
    words = [*special, *(f"word{n}" for n in range(VOCABULARY - 5))]
    tokenizer = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(word, words.index(word)) for word in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip
