"""Low-rank adapters on the backbone's linear layers while a stage trains (peft's LoRA)."""

import copy
import math
from pathlib import Path

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from data_prep.draws import draw
from data_prep.errors import PipeError
from student.model import Student
from student.parts import match_parts, part_names
from student.stage_config import LoraConfig

_ADAPTER = "default"


def add_adapters(student: Student, config: LoraConfig, seed: int) -> list[str]:
    """Put an adapter beside each chosen linear layer of the backbone.

    At first the adapters change nothing. The layer's own weight stays where it was, frozen once
    ``student.parts.train_only`` is called, and ``part_names`` names it as before.

    Args:
        student: The model, changed in place, on whatever device it is.
        config: Which layers, and the adapters' rank.
        seed: Decides, with a layer's name, its adapter's first weights.

    Returns:
        The names of the layers that have an adapter now, such as
        ``encoder.layer.2.attention.self.query``.

    Raises:
        PipeError: peft is not installed, a pattern matches nothing or no linear layer of the
            backbone, or the rank is no less than a layer's own.
    """
    try:
        from peft import LoraConfig as PeftConfig  # noqa: PLC0415
        from peft import inject_adapter_in_model  # noqa: PLC0415
    except ImportError:
        raise PipeError(
            "the stage has lora, and peft is not installed; pip install 'jasper-distill[lora]'."
        ) from None
    layers = _linear_layers(student, config)
    # The first weights are drawn below, whatever was drawn before.
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(
            PeftConfig(
                r=config.rank,
                lora_alpha=config.alpha,
                lora_dropout=config.dropout,
                target_modules=layers,
                # GPT-2 keeps its weights the other way round.
                fan_in_fan_out=isinstance(student.text.get_submodule(layers[0]), Conv1D),
            ),
            student.text,
            _ADAPTER,
        )
        for name in layers:
            adapted = student.text.get_submodule(name)
            torch.manual_seed(draw(seed, "lora", name))
            down_RI = torch.empty(adapted.lora_A[_ADAPTER].weight.shape)
            nn.init.kaiming_uniform_(down_RI, a=math.sqrt(5))
            with torch.no_grad():
                adapted.lora_A[_ADAPTER].weight.copy_(down_RI)
                adapted.lora_B[_ADAPTER].weight.zero_()
    student.train(student.training)  # new modules are in training mode, whatever the others are in
    return layers


def merge_adapters(student: Student) -> None:
    """Add each adapter's product to its layer's weight and leave a plain student.

    Args:
        student: The model, changed in place; one without adapters stays as it is.
    """
    if not hasattr(student.text, "peft_config"):
        return
    from peft.tuners.lora import LoraLayer  # noqa: PLC0415

    for name, module in list(student.text.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(student.text.get_submodule(parent), last, module.get_base_layer())
    del student.text.peft_config


def save_plain(student: Student, directory: Path) -> None:
    """Save a student without its adapters, whose products are in the weights of what is saved.

    Args:
        student: The model, which stays as it is.
        directory: As for ``Student.save``.
    """
    if hasattr(student.text, "peft_config"):
        # Merging and undoing it would not give the same weights bit for bit.
        student = copy.deepcopy(student)
        merge_adapters(student)
    student.save(directory)


def _linear_layers(student: Student, config: LoraConfig) -> list[str]:
    """The names of the backbone's linear layers that the patterns choose."""
    parts = part_names(student)
    found: dict[str, torch.Size] = {}
    for pattern in config.targets:
        chosen = {id(parts[name]) for name in match_parts(student, [pattern])}
        shapes = {
            name: module.weight.shape
            for name, module in student.text.named_modules()
            if isinstance(module, nn.Linear | Conv1D) and id(module.weight) in chosen
        }
        if not shapes:
            raise PipeError(
                f"lora.targets has {pattern!r}, which chooses no linear layer of the text encoder; "
                "write text.layers[-3:], say, and let heads train in full through trainable."
            )
        found |= shapes
    for name, shape in found.items():
        if config.rank >= min(shape):
            raise PipeError(
                f"lora.rank is {config.rank}, and {name} is {shape[0]} x {shape[1]}; choose a rank "
                f"below {min(shape)}, or train the layer in full."
            )
    return list(found)
