"""A backbone's transformer layers: where they are, and a shallower model from some of them."""

import re

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from data_prep.errors import PipeError, first_line


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


def layers_of(backbone: PreTrainedModel) -> list[nn.Module]:
    """The transformer layers of a backbone, the lowest first.

    Args:
        backbone: A transformers model.

    Raises:
        PipeError: It keeps them in no list.
    """
    return list(backbone.get_submodule(layers_path(backbone)).children())


def keep_layers(model: PreTrainedModel, layers: tuple[int, ...]) -> PreTrainedModel:
    """Build a shallower model from some of a model's layers.

    Args:
        model: The deep model.
        layers: Which layers to keep, counted from 0, in this order.

    Returns:
        A new model whose configuration says its own depth.

    Raises:
        PipeError: A layer does not exist, or cannot stand where it would.
    """
    config: PretrainedConfig = model.config
    depth = config.num_hidden_layers
    absent = [layer for layer in layers if not 0 <= layer < depth]
    if absent:
        raise PipeError(
            f"student.layers names layer {absent[0]}, but the start has layers 0 to {depth - 1}."
        )
    settings = config.to_dict()
    # What a configuration says layer by layer: layer_types, mlp_layer_types, no_rope_layers.
    by_layer = {
        key: [value[layer] for layer in layers]
        for key, value in settings.items()
        if "layer" in key and isinstance(value, list) and len(value) == depth
    }
    depth_key = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    try:
        shallow_config = type(config).from_dict(settings | by_layer | {depth_key: len(layers)})
    except ValueError as error:
        raise PipeError(
            f"student.layers is {list(layers)}, which {type(model).__name__} cannot be built from "
            f"({first_line(error)}); keep all layers, or choose a start whose layers are alike."
        ) from None
    shallow: PreTrainedModel = AutoModel.from_config(shallow_config, dtype=torch.float32)
    shallow.load_state_dict(_moved_state(model, shallow, layers))
    return shallow


def _moved_state(
    deep: PreTrainedModel, shallow: PreTrainedModel, layers: tuple[int, ...]
) -> dict[str, torch.Tensor]:
    """The deep model's weights under the names that they have in the shallow one."""
    path = layers_path(deep)
    pattern = re.compile(re.escape(path) + r"\.(\d+)\.(.+)")
    deep_state, shallow_state = deep.state_dict(), shallow.state_dict()
    state = {name: value for name, value in deep_state.items() if not pattern.fullmatch(name)}
    for name, value in deep_state.items():
        found = pattern.fullmatch(name)
        if found:
            for new in (place for place, old in enumerate(layers) if old == int(found[1])):
                state[f"{path}.{new}.{found[2]}"] = value
    # ModernBERT's first layer, for one, has a tensor less than the others.
    for name in sorted(state.keys() ^ shallow_state.keys()):
        found = pattern.fullmatch(name)
        new = int(found[1]) if found else 0
        raise PipeError(
            f"layer {layers[new]} of {type(deep).__name__} cannot be layer {new} of a shallower "
            f"model, for layers there differ in {found[2] if found else name}; keep in "
            "student.layers each such layer at the place that it has in the start (ModernBERT: "
            "0 first)."
        )
    return state
