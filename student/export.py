"""Export: the student as a sentence-transformers directory that loads without remote code.

The layout is Stella's: the backbone at the top, ``1_Pooling``, one ``2_Dense_D`` directory per
head, and ``modules.json``, which names the head in use. Module types and configuration keys are
the ones that sentence-transformers has read since version 2, for vLLM and text-embeddings-inference
know only those.
"""

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from data_prep.errors import PipeError
from data_prep.files import atomic_directory, atomic_write, write_json
from student.export_older import write_for_older
from student.export_record import ExportRecord
from student.model import Student

MODULES = "modules.json"
MODULE_TYPES = "sentence_transformers.models"
"""Where sentence-transformers has had its modules since version 2."""


def export(
    student: Student, directory: Path, card: str, record: ExportRecord,
    beside: Mapping[str, Path] | None = None,
) -> Path:  # fmt: skip
    """Write a directory that ``SentenceTransformer(directory)`` loads.

    It is built beside its place and put there whole; an earlier export there is replaced. Vectors
    are unit rows, equal to those of ``student.encode.StudentEncoder`` with the same head.

    Args:
        student: The model.
        directory: Where the export belongs.
        card: The model card, with its front matter.
        record: Where the export comes from; ``modules.json`` names its head. The record stays in
            the directory, and a directory without one is never replaced.
        beside: Files that the card shows, by the names that they get beside it.

    Returns:
        ``directory``.

    Raises:
        PipeError: The student has no such head, or ``directory`` holds something else.
    """
    heads = dict(student.named_heads())
    if record.head not in heads:
        raise PipeError(
            f"the student has no head {record.head!r} to export; its heads are "
            f"{', '.join(heads) or 'none, so train a stage first'}."
        )
    require_replaceable(directory)
    with atomic_directory(directory) as unfinished:
        _write_text_encoder(student, unfinished)
        write_json(
            unfinished / "1_Pooling" / "config.json",
            {
                "word_embedding_dimension": student.hidden,
                "pooling_mode_cls_token": False,
                "pooling_mode_mean_tokens": True,
                "pooling_mode_max_tokens": False,
                "pooling_mode_mean_sqrt_len_tokens": False,
            },
        )
        for name, layer in heads.items():
            _write_dense(layer, unfinished / dense_directory(student, name))
        write_json(unfinished / MODULES, _modules(dense_directory(student, record.head)))
        record.write(unfinished)
        write_card(unfinished, card, beside or {})
    return directory


def dense_directory(student: Student, head: str) -> str:
    """Name the directory of a head: ``2_Dense_1024``, as Stella does.

    Args:
        student: The model.
        head: One of its heads.

    Returns:
        The name; heads that share a width carry their own names too, ``2_Dense_1024_fc2``.
    """
    widths = {name: layer.out_features for name, layer in student.named_heads()}
    shared = list(widths.values()).count(widths[head]) > 1
    return f"2_Dense_{widths[head]}" + (f"_{head}" if shared else "")


def require_replaceable(directory: Path) -> None:
    """Check that an export may be put in a place.

    Args:
        directory: Where it belongs.

    Raises:
        PipeError: Something else is there.
    """
    if not directory.exists():
        return
    ours = directory.is_dir() and (
        ExportRecord.read(directory) is not None or not any(directory.iterdir())
    )
    if not ours:
        raise PipeError(
            f"{directory} exists and is no export of this project; expected a new directory or an "
            "earlier export, so choose another directory, or remove that one if nobody needs it."
        )


def _write_text_encoder(student: Student, directory: Path) -> None:
    student.text.save_pretrained(directory)
    student.tokenizer.save_pretrained(directory)
    write_for_older(student, directory)
    write_json(
        directory / "sentence_bert_config.json",
        {"max_seq_length": student.max_tokens, "do_lower_case": False},
    )
    write_prompts(student, directory)


def write_card(directory: Path, card: str, beside: Mapping[str, Path]) -> None:
    """Write the model card and copy what it shows.

    Args:
        directory: The export.
        card: The card. One that is there is replaced.
        beside: Files by the names that they get in the directory.
    """
    for name, file in beside.items():
        with atomic_write(directory / name) as temporary:
            shutil.copyfile(file, temporary)
    with atomic_write(directory / "README.md") as temporary:
        temporary.write_text(card, encoding="utf-8")


def write_prompts(student: Student, directory: Path) -> None:
    """Write ``config_sentence_transformers.json``, with the student's prompts.

    Args:
        student: The model.
        directory: The export.
    """
    question, passage = student.prompts.question, student.prompts.passage
    prompted = bool(question or passage)
    write_json(
        directory / "config_sentence_transformers.json",
        {
            "model_type": "SentenceTransformer",
            "__version__": {
                "sentence_transformers": version("sentence-transformers"),
                "transformers": version("transformers"),
                "pytorch": version("torch"),
            },
            # The names under which encode_query and encode_document look.
            "prompts": {"query": question, "document": passage} if prompted else {},
            "default_prompt_name": "document" if passage else None,
            "similarity_fn_name": "cosine",
        },
    )


def _write_dense(layer: nn.Linear, directory: Path) -> None:
    write_json(
        directory / "config.json",
        {
            "in_features": layer.in_features,
            "out_features": layer.out_features,
            "bias": layer.bias is not None,
            # Without this key sentence-transformers would apply Tanh.
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    state = {f"linear.{name}": value.contiguous() for name, value in layer.state_dict().items()}
    save_file(state, directory / "model.safetensors")


def _modules(dense: str) -> list[dict[str, Any]]:
    parts = [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
        (dense, "Dense"),
        ("3_Normalize", "Normalize"),
    ]
    return [
        {"idx": index, "name": str(index), "path": path, "type": f"{MODULE_TYPES}.{kind}"}
        for index, (path, kind) in enumerate(parts)
    ]
