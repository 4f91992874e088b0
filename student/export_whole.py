"""Export of a student with its vision encoder and all heads, for texts and images.

The directory holds one transformers model, which loads without remote code after
``import student.registered``. The export of texts alone (``student.export``) stands on its own.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import SiglipVisionConfig

from data_prep.errors import PipeError
from data_prep.files import atomic_directory, write_json
from student.export import MODULE_TYPES, MODULES, require_replaceable, write_card, write_prompts
from student.export_record import ExportRecord
from student.image_tokens import IMAGE_TOKEN
from student.model import Student
from student.registered import JasperDistillConfig, JasperDistillModel, JasperDistillProcessor


def export_whole(
    student: Student, directory: Path, card: str, record: ExportRecord,
    beside: Mapping[str, Path] | None = None,
) -> Path:  # fmt: skip
    """Write a directory that ``AutoModel`` and ``SentenceTransformer`` load, images included.

    It is built beside its place and put there whole; an earlier export there is replaced. Vectors
    are the student's own, for each head: ``encode(inputs, task="fc2")``.

    Args:
        student: The model, with a vision encoder.
        directory: Where the export belongs.
        card: The model card, with its front matter.
        record: Where the export comes from; its head is the one in use where none is named.
        beside: Files that the card shows, by the names that they get beside it.

    Returns:
        ``directory``.

    Raises:
        PipeError: The student has no vision encoder or no such head, or ``directory`` holds
            something else.
    """
    heads = {name: layer.out_features for name, layer in student.named_heads()}
    if record.head not in heads:
        raise PipeError(
            f"the student has no head {record.head!r} to export; its heads are "
            f"{', '.join(heads) or 'none, so train a stage first'}."
        )
    if student.vision is None:
        raise PipeError(
            "the student has no vision encoder to export; train a stage with "
            'inputs = "images", or export it for texts alone.'
        )
    require_replaceable(directory)
    model = _whole_model(student, heads, record.head)
    processor = JasperDistillProcessor(
        student.vision.processor.processor,
        copy.deepcopy(student.tokenizer),  # saving leaves the processor's name in it
        image_tokens=student.vision.tokens,
        image_size=student.vision.image_size,
        max_tokens=student.max_tokens,
    )
    with atomic_directory(directory) as unfinished:
        model.save_pretrained(unfinished)
        processor.save_pretrained(unfinished)
        student.vision.processor.save(unfinished)
        write_json(unfinished / "sentence_bert_config.json", _transformer_settings(student))
        write_prompts(student, unfinished)
        write_json(unfinished / MODULES, _modules())
        record.write(unfinished)
        write_card(unfinished, card, beside or {})
    return directory


def _whole_model(student: Student, heads: dict[str, int], default: str) -> JasperDistillModel:
    """The model that shares the student's parts."""
    vision = student.seeing()
    config = JasperDistillConfig(
        text_config=copy.deepcopy(student.text.config),
        vision_config=SiglipVisionConfig(**vision.tower.config.to_dict()),
        pooler=vision.kind,
        image_tokens=vision.tokens,
        image_token_id=student.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        heads=heads,
        nested={name: whole for name, (whole, _) in student.nested.items()},
        default_head=default,
        prompts=student.prompts.model_dump(),
        dtype="float32",
    )
    with torch.device("meta"):  # its own weights would only be thrown away
        model = JasperDistillModel(config)
    model.text, model.vision, model.heads = student.text, vision, student.heads
    return model


def _transformer_settings(student: Student) -> dict[str, Any]:
    """What sentence-transformers' Transformer module reads.

    All inputs come as messages, so that texts and images may stand in one batch; the processor
    reads them, and needs nothing put back that truncation took.
    """
    method = {"method": "forward", "method_output_name": "sentence_embedding"}
    return {
        "max_seq_length": student.max_tokens,
        "transformer_task": "feature-extraction",
        "modality_config": {
            "text": method,
            "image": method,
            "message": method | {"format": "structured"},
        },
        "module_output_name": "sentence_embedding",
        "processing_kwargs": {"chat_template": {"restore_suffix": False}},
    }


def _modules() -> list[dict[str, Any]]:
    """The model gives the vector of the head that ``task`` names; then it becomes a unit row."""
    return [
        {"idx": 0, "name": "0", "path": "", "type": f"{MODULE_TYPES}.Transformer"}
        | {"kwargs": ["task"]},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": f"{MODULE_TYPES}.Normalize"},
    ]
