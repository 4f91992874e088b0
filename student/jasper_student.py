"""The released Jasper, whole, as a student."""

from pathlib import Path
from typing import Any

from data_prep.errors import PipeError
from data_prep.files import read_json
from student.backbone import load_backbone, load_tokenizer, require_positions, require_vocabulary
from student.jasper_format import read_heads, read_settings, require_image_ids
from student.model import Student
from student.vision import VisionEncoder
from student.vision_config import VisionConfig
from teacher_cache.config import Prompts

_MAX_TOKENS = 512
"""Where texts are cut off, as in training (paper, section 3.1), if the directory does not say."""


def load_jasper(directory: Path) -> Student:
    """Load a directory in the format of the released Jasper, with all heads and the vision encoder.

    Args:
        directory: The directory; ``student.jasper_format`` says what is expected in it.

    Returns:
        A student in evaluation mode. Its heads are called as there, ``vector_linear_1024``; the
        one that ``vector_dim`` names is the default. Questions get the prompt ``s2p_query``.

    Raises:
        PipeError: A part is missing or does not fit the others.
    """
    settings = read_settings(directory)
    backbone = load_backbone(directory)
    tokenizer = load_tokenizer(directory)
    require_vocabulary(backbone, tokenizer)
    require_image_ids(tokenizer, directory)
    prompts = _optional(directory / "config_sentence_transformers.json").get("prompts") or {}
    max_tokens = _optional(directory / "sentence_bert_config.json").get("max_seq_length")
    student = Student(
        backbone,
        tokenizer,
        max_tokens=max_tokens or _MAX_TOKENS,
        prompts=Prompts(question=prompts.get("s2p_query", "")),
        default_head=f"vector_linear_{settings.vector_dim}",
    )
    require_positions(backbone, student.max_tokens)
    student.heads.update(read_heads(directory, student.hidden))
    if student.default_head not in student.heads:
        raise PipeError(
            f"{directory / 'config.json'} names the head {student.default_head}, which is not "
            f"among the weights ({', '.join(student.heads) or 'no head'}); take a complete "
            "checkpoint."
        )
    vision = VisionConfig(start=str(directory.resolve()), tokens=settings.num_img_tokens)
    student.vision = VisionEncoder.from_start(vision, student.hidden, seed=0)
    return student.eval()


def _optional(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where there is none."""
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}
