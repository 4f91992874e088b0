"""Vision towers: SigLIP's, from a checkpoint or with random weights, without its pooling head."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, SiglipVisionConfig, SiglipVisionModel

from data_prep.draws import draw
from data_prep.errors import PipeError, first_line
from data_prep.files import read_json
from student.jasper_format import MODEL_TYPE
from student.loading import without_report
from student.vision_config import NewTowerConfig

_TOWER = "siglip_vision_model"
_WHOLE = {"siglip", MODEL_TYPE}
# A released Jasper's names, to those of a tower; either is assumed (see student.jasper_format).
_JASPERS_NAMES = {r"^vision_model\.vision_model\.": "vision_model."}


def load_tower(directory: Path) -> PreTrainedModel:
    """Load a vision tower in float32.

    SigLIP2's checkpoints of fixed resolution are of the same kind as SigLIP's.

    Args:
        directory: A checkpoint of the tower alone, of a whole SigLIP model, or a released Jasper.

    Returns:
        The tower, in evaluation mode, without the attention-pooling head that nobody asks.

    Raises:
        PipeError: The directory holds no such tower, or a broken one.
    """
    config, kind = _config(directory)
    try:
        with without_report():
            tower, report = SiglipVisionModel.from_pretrained(
                directory,
                config=config,
                dtype=torch.float32,
                key_mapping=_JASPERS_NAMES if kind == MODEL_TYPE else None,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise PipeError(
            f"{directory} holds no vision tower that transformers can load from safetensors "
            f"({first_line(error)}); expected config.json and model.safetensors of a SigLIP "
            "checkpoint."
        ) from None
    missing = sorted(report["missing_keys"])
    if missing:
        raise PipeError(
            f"{directory} lacks {len(missing)} of the vision tower's weights, the first is "
            f"{missing[0]}; expected all of them, so take a complete checkpoint."
        )
    loaded: PreTrainedModel = tower.eval()
    return loaded


def new_tower(shape: NewTowerConfig, seed: int) -> PreTrainedModel:
    """Build a vision tower whose weights SigLIP's own initialisation draws.

    Args:
        shape: Its shape.
        seed: Decides the weights.

    Returns:
        The tower, in evaluation mode. The random state of the process is as it was.
    """
    config = vision_config(
        {
            "hidden_size": shape.hidden_size,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "intermediate_size": shape.intermediate_size,
            "image_size": shape.image_size,
            "patch_size": shape.patch_size,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(seed, "vision", "tower"))
        tower: PreTrainedModel = SiglipVisionModel(config).eval()
    return tower


def vision_config(settings: dict[str, Any]) -> SiglipVisionConfig:
    """Make a tower's configuration as this project wants it: no pooling head, no dropout.

    Args:
        settings: The keys of a SigLIP vision configuration; what is missing is SigLIP's default.
    """
    return SiglipVisionConfig(**settings | {"vision_use_head": False, "attention_dropout": 0.0})


def _config(directory: Path) -> tuple[SiglipVisionConfig, str]:
    settings = read_json(directory / "config.json")
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind in {"siglip2", "siglip2_vision_model"}:
        raise PipeError(
            f"{directory} holds a SigLIP2 model that takes images of any shape (naflex); choose a "
            "checkpoint of fixed resolution, such as google/siglip2-so400m-patch14-384."
        )
    if kind != _TOWER and kind not in _WHOLE:
        raise PipeError(
            f"{directory} holds a model of the type {kind!r}, expected SigLIP's ('siglip' or "
            f"{_TOWER!r}); choose a SigLIP or SigLIP2 checkpoint of fixed resolution as the start "
            "of student.vision."
        )
    if kind in _WHOLE:
        settings = settings.get("vision_config")
    if not isinstance(settings, dict):
        raise PipeError(
            f"{directory / 'config.json'} describes no vision tower, expected it below "
            "vision_config; take a complete checkpoint."
        )
    try:
        config = vision_config(settings)
    except (TypeError, ValueError) as error:
        raise PipeError(
            f"{directory / 'config.json'} describes no vision tower ({first_line(error)}); take a "
            "complete checkpoint."
        ) from None
    if not isinstance(config.image_size, int) or not isinstance(config.patch_size, int):
        raise PipeError(
            f"the vision tower in {directory} takes images of {config.image_size} pixels in "
            f"patches of {config.patch_size}; expected squares, so choose another checkpoint."
        )
    return config, kind
