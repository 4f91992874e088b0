"""Tiny real models for tests: random weights, a real tokenizer, the real file formats."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from tests.student.tiny_students import byte_tokenizer

WORDS = (
    "the a of and to in is it for on with as by at from this that file line read write open close "
    "list dict set key value number text word model teacher student vector store shard row loss "
    "cat dog bird tree river city road house light dark day night sun moon star sea"
).split()
_SIZES = {
    "vocab_size": 5 + len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "pad_token_id": 0,
}


def _tokenizer(kind: str) -> PreTrainedTokenizerBase:
    if kind == "qwen2":
        # AutoTokenizer takes the class from the model type, and Qwen2's works on bytes.
        return byte_tokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


_MODELS = {
    "bert": lambda: BertModel(BertConfig(**_SIZES)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**_SIZES)),
    "qwen2": lambda: Qwen2Model(Qwen2Config(**_SIZES | {"vocab_size": 300}, num_key_value_heads=2)),
    "modernbert": lambda: ModernBertModel(
        ModernBertConfig(**_SIZES, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3)
    ),
}
KINDS = tuple(_MODELS)


def save_backbone(directory: Path, kind: str = "bert", seed: int = 0) -> Path:
    """Write a tiny model directory with random weights."""
    torch.manual_seed(seed)
    _MODELS[kind]().eval().save_pretrained(directory)
    _tokenizer(kind).save_pretrained(directory)
    return directory
