"""Text backbones: loading, keeping some layers, and attention in both directions."""

import re
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

import student.registered  # noqa: F401 - a directory may hold the exported model
from data_prep.errors import PipeError, first_line
from student.attention import require_bidirectional
from student.jasper_format import is_jasper, text_config
from student.layers import keep_layers
from student.loading import without_report

# Settings that are dropout probabilities, except those of a task's head, which no student has.
_DROPOUT = re.compile(r"dropout|pdrop")
_OF_HEADS = re.compile(r"classifier|pooler|qa_|seq_classif|summary")


def load_backbone(
    directory: Path, *, layers: tuple[int, ...] | None = None, dropout: float = 0.0
) -> PreTrainedModel:
    """Load a transformers backbone in float32, with attention in both directions.

    Args:
        directory: A local model directory with safetensors weights; of a released Jasper, the
            text encoder is taken.
        layers: The layers to keep, counted from 0; None keeps all.
        dropout: Dropout probability set everywhere in the backbone.

    Returns:
        The model, in evaluation mode.

    Raises:
        PipeError: The directory holds no loadable model, a layer does not exist, or the model
            attends in one direction only.
    """
    try:
        released = is_jasper(directory)
        config = (
            text_config(directory)
            if released
            else AutoConfig.from_pretrained(directory, local_files_only=True)
        )
        _require_text_encoder(config, directory)
        _configure(config, dropout)
        with without_report() if released else nullcontext():
            model, report = AutoModel.from_pretrained(
                directory,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except PipeError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise PipeError(
            f"{directory} holds no model that transformers can load from safetensors "
            f"({first_line(error)}); expected config.json and model.safetensors of a text encoder."
        ) from None
    # transformers would fill what is missing with random numbers; mean pooling needs no pooler.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise PipeError(
            f"{directory} lacks {len(missing)} of the model's weights, the first is {missing[0]}; "
            "expected all of them, so take a complete checkpoint."
        )
    if layers is not None:
        model = keep_layers(model, layers)
    model.eval()
    require_bidirectional(model)
    return model


def _require_text_encoder(config: PretrainedConfig, directory: Path) -> None:
    family = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise PipeError(
            f"{directory} holds a model of an encoder and a decoder ({family}); choose a start "
            "that is an encoder alone, such as BERT or ModernBERT, or a decoder alone, such as "
            "Qwen or Mistral."
        )
    for key in ("hidden_size", "num_hidden_layers", "vocab_size"):
        if not isinstance(getattr(config, key, None), int):
            raise PipeError(
                f"{directory} holds no plain text model ({family}): its config.json does not say "
                f"{key}; choose a start that reads text alone."
            )


def _configure(config: PretrainedConfig, dropout: float) -> None:
    """Set what a student needs; all of it is saved and exported with the configuration."""
    for key in config.to_dict():
        if _DROPOUT.search(key) and not _OF_HEADS.match(key):
            setattr(config, key, dropout)
    if hasattr(config, "layerdrop"):
        config.layerdrop = 0.0  # would leave out whole layers, whatever the dropout
    # Decoders build a causal mask unless their configuration says otherwise. EmbeddingGemma's says
    # so in its own way, and is_causal besides would widen its windows by a token.
    if getattr(config, "use_bidirectional_attention", None) not in (True, "all"):
        config.is_causal = False
    config.use_cache = False


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Load a backbone's tokenizer.

    Args:
        directory: A local model directory.

    Returns:
        The tokenizer, padding on the right.

    Raises:
        PipeError: The directory holds none, or a broken one, or one without a padding token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    # The tokenizers library raises bare exceptions for a broken file.
    except Exception as error:
        raise PipeError(
            f"{directory} holds no tokenizer that transformers can load ({first_line(error)}); "
            "expected tokenizer.json and tokenizer_config.json beside the weights."
        ) from None
    if tokenizer.pad_token_id is None:
        raise PipeError(
            f"the tokenizer in {directory} has no padding token; set pad_token in its "
            "tokenizer_config.json."
        )
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        # Without its files, transformers makes up a tokenizer that knows no word.
        raise PipeError(
            f"the tokenizer in {directory} knows {len(tokenizer)} tokens, all of them special; "
            "expected its vocabulary there, such as tokenizer.json, so take a complete checkpoint."
        )
    tokenizer.padding_side = "right"
    loaded: PreTrainedTokenizerBase = tokenizer
    return loaded


def require_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that a backbone has an embedding for every token of its tokenizer.

    Args:
        model: The backbone.
        tokenizer: Its tokenizer.

    Raises:
        PipeError: It lacks one.
    """
    largest, embeddings = max(tokenizer.get_vocab().values()), model.config.vocab_size
    if largest >= embeddings:
        raise PipeError(
            f"the student's start has {embeddings} word embeddings and its tokenizer the token "
            f"{largest}; expected a tokenizer of the same model, so take a complete checkpoint."
        )


def require_positions(model: PreTrainedModel, max_tokens: int) -> None:
    """Check that a backbone has a position for every token of the longest text.

    Args:
        model: The backbone.
        max_tokens: Where texts are cut off.

    Raises:
        PipeError: It has fewer.
    """
    positions = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        # RoBERTa, XLM-R and MPNet count from behind the padding's own position.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            positions = module.num_embeddings - first
    if positions is not None and max_tokens > positions:
        raise PipeError(
            f"student.max_tokens is {max_tokens}, and the start has {positions} positions; lower "
            "max_tokens or choose a start that takes longer texts."
        )
