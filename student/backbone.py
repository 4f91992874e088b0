"""Text backbones: loading, keeping some layers, and attention in both directions."""

import re
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

from data_prep.errors import PipeError

# The names under which transformers' configurations keep their dropout probabilities.
_DROPOUT_KEYS = (
    "attention_dropout",
    "attention_probs_dropout_prob",
    "dropout",
    "embedding_dropout",
    "hidden_dropout_prob",
    "mlp_dropout",
)


def layers_path(backbone: PreTrainedModel) -> str:
    """Find the module list that holds a backbone's transformer layers.

    Args:
        backbone: A transformers model.

    Returns:
        Its dotted name, such as ``encoder.layer`` (BERT) or ``layers`` (Qwen2).

    Raises:
        PipeError: There is none.
    """
    count = backbone.config.num_hidden_layers
    for name, module in backbone.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return str(name)
    raise PipeError(
        f"{type(backbone).__name__} has no list of {count} layers; choose a start whose model has "
        "its transformer layers in one list, such as BERT, XLM-R, ModernBERT, Qwen or Mistral."
    )


def load_backbone(
    directory: Path, *, layers: tuple[int, ...] | None = None, dropout: float = 0.0
) -> PreTrainedModel:
    """Load a transformers backbone in float32, with attention in both directions.

    Args:
        directory: A local model directory with safetensors weights.
        layers: The layers to keep, counted from 0; None keeps all.
        dropout: Dropout probability set everywhere in the backbone.

    Returns:
        The model, in evaluation mode.

    Raises:
        PipeError: The directory holds no loadable model, a layer does not exist, or the model
            attends in one direction only.
    """
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        for key in _DROPOUT_KEYS:
            if hasattr(config, key):
                setattr(config, key, dropout)
        # Decoders build a causal mask unless their configuration says otherwise.
        config.is_causal = False
        config.use_cache = False
        model, report = AutoModel.from_pretrained(
            directory,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
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
    tokenizer.padding_side = "right"
    loaded: PreTrainedTokenizerBase = tokenizer
    return loaded


def require_positions(model: PreTrainedModel, max_tokens: int) -> None:
    """Check that a backbone has a position for every token of the longest text.

    Args:
        model: The backbone.
        max_tokens: Where texts are cut off.

    Raises:
        PipeError: It has fewer.
    """
    config = model.config
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and "roberta" in config.model_type:
        positions -= config.pad_token_id + 1  # RoBERTa counts from behind the padding's position.
    if positions is not None and max_tokens > positions:
        raise PipeError(
            f"student.max_tokens is {max_tokens}, and the start has {positions} positions; lower "
            "max_tokens or choose a start that takes longer texts."
        )


def first_line(error: BaseException) -> str:
    """The first line of a library's error, for a sentence of ours.

    Args:
        error: The error.
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def keep_layers(model: PreTrainedModel, layers: tuple[int, ...]) -> PreTrainedModel:
    """Build a shallower model from some of a model's layers.

    Args:
        model: The deep model.
        layers: Which layers to keep, counted from 0, in this order.

    Returns:
        A new model whose configuration says its own depth.

    Raises:
        PipeError: A layer does not exist.
    """
    config: PretrainedConfig = model.config
    depth = config.num_hidden_layers
    absent = [layer for layer in layers if not 0 <= layer < depth]
    if absent:
        raise PipeError(
            f"student.layers names layer {absent[0]}, but the start has layers 0 to {depth - 1}."
        )
    shallow_config = type(config).from_dict(config.to_dict())
    shallow_config.is_causal = False
    shallow_config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):
        shallow_config.layer_types = [config.layer_types[layer] for layer in layers]
    shallow: PreTrainedModel = AutoModel.from_config(shallow_config, dtype=torch.float32)

    deep_state = model.state_dict()
    pattern = re.compile(re.escape(layers_path(shallow)) + r"\.(\d+)\.(.+)")
    state = {}
    for name in shallow.state_dict():
        found = pattern.fullmatch(name)
        source = name
        if found:
            source = f"{layers_path(model)}.{layers[int(found[1])]}.{found[2]}"
        state[name] = deep_state[source]
    shallow.load_state_dict(state)
    return shallow


@torch.inference_mode()
def require_bidirectional(model: PreTrainedModel) -> None:
    """Check that a later token moves an earlier token's state.

    Args:
        model: A backbone in evaluation mode.

    Raises:
        PipeError: The model attends to the left only, so mean pooling would be wrong.
    """
    device = next(model.parameters()).device
    ids_BL = torch.arange(5, 13, device=device).repeat(2, 1) % model.config.vocab_size
    ids_BL[1, -1] = (ids_BL[1, -1] + 1) % model.config.vocab_size
    states_BLH = model(input_ids=ids_BL, attention_mask=torch.ones_like(ids_BL)).last_hidden_state
    if torch.equal(states_BLH[0, 0], states_BLH[1, 0]):
        raise PipeError(
            f"{type(model).__name__} attends to the left only even with is_causal = false; choose "
            "a start that transformers can run in both directions."
        )
