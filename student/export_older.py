"""What transformers 4 needs to read an export of transformers 5, and what it cannot know.

vLLM, text-embeddings-inference and optimum's ONNX export read the directory with older releases.
"""

import inspect
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from data_prep.files import read_json, write_json
from student.model import Student

_NEW_TOKENIZER = "TokenizersBackend"
_KNOWN_TOKENIZER = "PreTrainedTokenizerFast"
# Of the directory that the tokenizer was loaded from, and of no use to anybody else.
_OF_THIS_MACHINE = ("is_local", "local_files_only")
_FULL, _SLIDING = "full_attention", "sliding_attention"


def write_for_older(student: Student, directory: Path) -> None:
    """Add to a saved backbone and tokenizer what earlier releases of transformers look for.

    Args:
        student: The model.
        directory: Where ``save_pretrained`` has put the backbone and the tokenizer.
    """
    path = directory / "tokenizer_config.json"
    settings = {key: value for key, value in read_json(path).items() if key not in _OF_THIS_MACHINE}
    if settings.get("tokenizer_class") == _NEW_TOKENIZER:
        settings["tokenizer_class"] = _KNOWN_TOKENIZER
    settings["model_input_names"] = _inputs(student.text, student.tokenizer)
    write_json(path, settings)
    path = directory / "config.json"
    write_json(path, older_settings(student.text.config) | read_json(path))


def needs_transformers_5(student: Student) -> bool:
    """Whether earlier releases would load the export without an error and give other vectors.

    Args:
        student: The model.

    Returns:
        True for a decoder that was made to look both ways, since they know no such setting, and
        for windows in an order that they cannot be told.
    """
    config = student.text.config
    modern = config.model_type == "modernbert"
    return (modern and _every_n(config.layer_types) is None) or _obeys_is_causal(student.text)


def older_settings(config: PretrainedConfig) -> dict[str, Any]:
    """Settings under the names that transformers 4 gave them.

    Args:
        config: The backbone's configuration.

    Returns:
        The bases of rotary positions, and how often ModernBERT has a layer without a window; empty
        for backbones without either.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if config.model_type == "modernbert":
        names = {"global_rope_theta": _FULL, "local_rope_theta": _SLIDING}
        found = {name: rope[kind]["rope_theta"] for name, kind in names.items() if kind in rope}
        every = _every_n(config.layer_types)
        return found | ({} if every is None else {"global_attn_every_n_layers": every})
    return {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}


def _every_n(layer_types: list[str]) -> int | None:
    """The n for which every n-th layer, the first among them, has no window; None if none fits."""
    full = [place for place, kind in enumerate(layer_types) if kind == _FULL]
    every = full[1] if len(full) > 1 else len(layer_types)
    return every if full == list(range(0, len(layer_types), every)) else None


def _inputs(backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What the tokenizer gives and the backbone takes; earlier releases would pass more."""
    taken = inspect.signature(backbone.forward).parameters
    return [name for name in tokenizer.model_input_names if name in taken]


def _obeys_is_causal(backbone: PreTrainedModel) -> bool:
    """Whether it is a decoder that looks both ways only by a setting of transformers 5."""
    config = backbone.config
    if "is_causal" not in vars(config):
        return False
    ids = torch.arange(1, 5, device=backbone.device)[None]
    setting, training = config.is_causal, backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            with_it = backbone(input_ids=ids).last_hidden_state[:, 0]
            del config.is_causal
            without = backbone(input_ids=ids).last_hidden_state[:, 0]
    finally:
        config.is_causal = setting
        backbone.train(training)
    return not torch.allclose(with_it, without, rtol=1e-3, atol=1e-3)
