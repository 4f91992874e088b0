"""Tiny random students of two families, for tests that need a whole model."""

import torch
from tokenizers import pre_tokenizers
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2Model,
    Qwen2Tokenizer,
)

from student.model import Student
from teacher_cache.config import Prompts

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "over", "moon", "red", "blue"]
WORDS += ["query", ":", "?", ".", "how", "why", "far"]
HIDDEN = 32


def word_tokenizer() -> PreTrainedTokenizerBase:
    """Whole words between [CLS] and [SEP], as BERT does."""
    return BertTokenizer(vocab={word: place for place, word in enumerate([*SPECIAL, *WORDS])})


def byte_tokenizer() -> PreTrainedTokenizerBase:
    """Bytes without anything around them, as Qwen2 does."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: place for place, letter in enumerate([*letters, "<|endoftext|>"])}
    return Qwen2Tokenizer(vocab=vocabulary, merges=[])


def bert() -> PreTrainedModel:
    return BertModel(
        BertConfig(
            vocab_size=300,
            hidden_size=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=64,
        )
    )


def qwen2() -> PreTrainedModel:
    config = Qwen2Config(
        vocab_size=300,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        use_cache=False,
    )
    config.is_causal = False
    return Qwen2Model(config)


FAMILIES = {"bert": (bert, word_tokenizer), "qwen2": (qwen2, byte_tokenizer)}


def student(
    family: str,
    heads: dict[str, int] | None = None,
    prompts: Prompts | None = None,
    max_tokens: int = 16,
) -> Student:
    """A student with random weights, the same ones every time."""
    torch.manual_seed(0)
    backbone, tokenizer = FAMILIES[family]
    model = Student(
        backbone(),
        tokenizer(),
        max_tokens=max_tokens,
        prompts=prompts or Prompts(),
        default_head="fc1",
    )
    for name, width in (heads or {"fc1": 48, "fc2": 12}).items():
        model.heads[name] = nn.Linear(HIDDEN, width)
        # Larger than the default, so that a bias that is lost shows.
        nn.init.normal_(model.heads[name].bias)
    return model.eval()


TEXTS = [
    "The cat sat on the mat.",
    "how far the moon?",
    "a",
    "A red dog ran over the blue mat, and the cat sat on the red moon. The dog ran. The cat ran.",
    "dog unknownword",
    "the",
]
