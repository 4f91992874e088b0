"""The same model with wider attention heads: vLLM's CPU kernels have none narrower than 32."""

import json
import math
import shutil
from pathlib import Path

import torch

from tests.teacher_cache.tiny_models import TextTensors, change_json, change_tensors


def widen_heads(source: Path, directory: Path, head_dim: int = 32) -> Path:
    """Copy a checkpoint in NV-Embed-v2's format, its heads filled up with zeros.

    Rotary position i of d turns by theta^(-2i/d), so it becomes position i * head_dim / d of
    head_dim; queries grow by sqrt(head_dim / d) for the scale of their products.
    """
    shutil.copytree(source, directory, copy_function=shutil.copyfile)
    directory.chmod(0o755)
    text = json.loads((directory / "config.json").read_text())["text_config"]
    narrow = text["hidden_size"] // text["num_attention_heads"]
    factor = head_dim // narrow
    half = torch.arange(narrow // 2) * factor
    turned = torch.cat([half, half + head_dim // 2])

    def rows(weight: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        heads = weight.unflatten(0, (-1, narrow))
        wide = weight.new_zeros(heads.shape[0], head_dim, weight.shape[1])
        wide[:, places] = heads
        return wide.flatten(0, 1)

    def widen(tensors: TextTensors) -> None:
        for name, weight in list(tensors.items()):
            if name.endswith("q_proj.weight"):
                tensors[name] = rows(weight, turned) * math.sqrt(factor)
            elif name.endswith("k_proj.weight"):
                tensors[name] = rows(weight, turned)
            elif name.endswith("v_proj.weight"):
                tensors[name] = rows(weight, torch.arange(narrow))
            elif name.endswith("o_proj.weight"):
                tensors[name] = rows(weight.T, torch.arange(narrow)).T.contiguous()

    for file in directory.glob("*.safetensors"):
        change_tensors(file, widen)
    change_json(
        directory / "config.json", lambda config: config["text_config"].update(head_dim=head_dim)
    )
    return directory
