"""Text towers on transformers' own classes, loaded from checkpoints with other names."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.checkpoint import Shape, some_names
from teacher_cache.encoders.compiling import compile_forward
from teacher_cache.encoders.tower_options import TowerOptions

_LEGACY_ROPE = ("rope_theta", "rope_scaling")


def tower_config(
    kind: type[PreTrainedConfig], settings: Mapping[str, Any], directory: Path
) -> PreTrainedConfig:
    """Make the config of a text tower from what a checkpoint says of it.

    Only what the architecture itself knows is taken over: no sliding window (the reference models
    never apply theirs), no cache, no settings of other transformers versions.

    Args:
        kind: The architecture's config class.
        settings: The settings in the checkpoint.
        directory: Where they come from, for errors.

    Returns:
        The config, attention bidirectional.

    Raises:
        PipeError: A setting has a wrong value.
    """
    own = inspect.signature(kind).parameters.keys() - _general_settings()
    known = own | {*_LEGACY_ROPE, "bos_token_id", "eos_token_id"}
    taken = {
        name: value
        for name, value in settings.items()
        if name in known and not (name in _LEGACY_ROPE and value is None)
    }
    forced: dict[str, Any] = {"sliding_window": None, "use_cache": False, "pad_token_id": None}
    if "use_sliding_window" in own:
        forced.update(use_sliding_window=False, layer_types=None)
    try:
        config = kind(**{**taken, **forced})
    except Exception as error:  # the config classes raise errors of several libraries
        raise _wrong_settings(directory, kind, error) from None
    # It must stand in the config: masks are made from there.
    config.is_causal = False
    return config


def tower_shapes(
    model: type[PreTrainedModel], config: PreTrainedConfig, directory: Path
) -> dict[str, Shape]:
    """List a tower's parameters without making them.

    Args:
        model: The architecture.
        config: Its config.
        directory: Where it comes from, for errors.

    Returns:
        Shapes by name.

    Raises:
        PipeError: There is no such model.
    """
    try:
        with torch.device("meta"):
            skeleton = model(config)
    except Exception as error:  # a wrong value shows where a layer first needs it
        raise _wrong_settings(directory, model.config_class, error) from None
    return {name: tuple(value.shape) for name, value in skeleton.state_dict().items()}


def load_tower(
    model: type[PreTrainedModel],
    config: PreTrainedConfig,
    directory: Path,
    *,
    prefix: str,
    teacher: TeacherConfig,
    device: str,
    options: TowerOptions,
) -> PreTrainedModel:
    """Load a text tower whose tensors have been checked.

    Args:
        model: The architecture.
        config: Its config.
        directory: Where its weights are.
        prefix: Stands in front of its parameters' names in the checkpoint.
        teacher: Gives the dtype.
        device: Where it goes.
        options: How it is computed.

    Returns:
        The tower, not training.

    Raises:
        PipeError: It cannot be loaded.
    """
    escaped = prefix.replace(".", r"\.")
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # a table of the tensors that are not the tower's
    try:
        tower, report = model.from_pretrained(
            directory,
            config=config,
            key_mapping={f"^{escaped}": ""} if prefix else None,
            dtype=getattr(torch, teacher.dtype),
            attn_implementation=options.kernel,
            device_map=None if device == "cpu" else {"": device},
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # raised by any of the libraries below
        raise PipeError(
            f"the model in {directory} cannot be loaded ({error}), expected weights that fit the "
            "memory and an attention kernel that is installed."
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    if report["missing_keys"]:
        raise PipeError(
            f"the tensor {some_names(sorted(report['missing_keys']))} was not filled from the "
            f"weights in {directory}, expected every one; use another version of transformers."
        )
    loaded: PreTrainedModel = tower.eval()
    if options.compiled:
        compile_forward(loaded)
    return loaded


def check_filled(tower: PreTrainedModel, directory: Path) -> None:
    """Check that every tensor of a tower that another library loaded came from its weights.

    Transformers fills one that is missing with random numbers, and says so in a log at most.

    Args:
        tower: The loaded tower.
        directory: Where its weights are.

    Raises:
        PipeError: A tensor is missing; a pooler's are not looked at, because nothing asks it.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:  # on the meta device: names and shapes, no numbers
        _, report = type(tower).from_pretrained(
            directory,
            config=tower.config,
            dtype=tower.dtype,
            device_map={"": "meta"},
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name.split("."))
    if missing:
        raise PipeError(
            f"found no tensor {some_names(missing)} in the weights in {directory}, expected it of "
            "this kind of model; check that the model was copied whole."
        )


def _wrong_settings(directory: Path, kind: type[PreTrainedConfig], error: Exception) -> PipeError:
    reason = " ".join(str(error).split())
    return PipeError(
        f"the settings in {directory / 'config.json'} are not those of a {kind.model_type} model "
        f"({reason}), expected the file that belongs to the weights; copy the model again."
    )


def _general_settings() -> set[str]:
    return set(inspect.signature(PreTrainedConfig).parameters)


def check_positions(config: Any, teacher: TeacherConfig) -> None:
    """Check that a model takes texts as long as the teacher's settings allow.

    Args:
        config: The model's config; one without a limit takes any.
        teacher: The teacher's settings.

    Raises:
        PipeError: It does not.
    """
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and teacher.max_tokens > most:
        raise PipeError(
            f"found max_tokens {teacher.max_tokens} for teacher {teacher.name}, expected at most "
            f"{most}, the positions that its model has; lower the teacher's `max_tokens`."
        )
