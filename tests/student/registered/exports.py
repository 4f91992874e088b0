"""Tiny students that see, their whole exports, and their vectors computed step by step."""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from student.export_record import ExportRecord
from student.export_whole import export_whole
from student.image_tokens import image_text
from student.model import Student
from teacher_cache.config import Prompts
from tests.student.tiny_students import student as tiny_student
from tests.student.vision.towers import add_vision, new_vision

MAX_TOKENS, IMAGE_TOKENS = 24, 4
RECORD = ExportRecord("0", "tiny", 1, "0" * 64, "fc1")


def seeing_student(family="bert", pooler="adaptive", prompts: Prompts | None = None) -> Student:
    """Heads fc1 and fc2, and fc3 nested in fc1."""
    student = tiny_student(family, {"fc1": 12, "fc2": 6}, prompts, MAX_TOKENS)
    student.add_heads({"fc3": 5}, seed=0, nested={"fc3": "fc1"})
    add_vision(student, new_vision(pooler, IMAGE_TOKENS), seed=0)
    return student.eval()


def whole(student: Student, tmp_path: Path) -> Path:
    return export_whole(student, tmp_path / "whole", "# card", RECORD)


def vector(student: Student, text: str, images: list[Image.Image], head: str) -> np.ndarray:
    """The vector of one input whose text holds ``IMAGE`` where an image stands."""
    filled = text.replace("IMAGE", image_text(IMAGE_TOKENS))
    tokens = student.tokenizer([filled], return_tensors="pt")
    pixels = student.vision.pixels(images) if images else None
    with torch.inference_mode():
        pooled_BH = student.pooled(tokens["input_ids"], tokens["attention_mask"], pixels)
        return F.normalize(student.project(pooled_BH, head), dim=-1)[0].numpy()


def png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "png")
    return file.getvalue()
