"""Tiny SigLIP checkpoints with random weights, in the real file formats."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipVisionModel

from student.model import Student
from student.vision import VisionEncoder
from student.vision_config import NewTowerConfig, VisionConfig

SIZE, PATCH = 32, 8
_SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
NEW = NewTowerConfig(
    hidden_size=16, layers=2, heads=2, intermediate_size=24, image_size=SIZE, patch_size=PATCH
)


def save_siglip(directory: Path, *, whole: bool = True) -> Path:
    """Write a tiny SigLIP checkpoint: the whole model, or its vision tower with its head."""
    torch.manual_seed(0)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "vocab_size": 50}
    config = SiglipConfig(
        text_config=_SHAPE | ids,
        vision_config=_SHAPE | {"image_size": SIZE, "patch_size": PATCH},
    )
    model = SiglipModel(config) if whole else SiglipVisionModel(config.vision_config)
    model.save_pretrained(directory)
    SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE}).save_pretrained(directory)
    return directory


def new_vision(pooler: str = "adaptive", tokens: int = 6) -> VisionConfig:
    return VisionConfig(new=NEW, pooler=pooler, tokens=tokens)


def add_vision(student: Student, config: VisionConfig, seed: int) -> None:
    student.see_with(VisionEncoder.from_start(config, student.hidden, seed), seed)


def pictures(count: int = 2) -> list[Image.Image]:
    """Random pictures of different shapes."""
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 255, (20 + 9 * i, 40 - 3 * i, 3), dtype=np.uint8))
        for i in range(count)
    ]
