"""Checkpoints in the format of the released Jasper (``jasper_en_vision_language_v1``).

Known from its public files: ``config.json`` has ``model_type: jasper_vl``, the text encoder (Qwen2)
below ``text_config``, the vision tower (SigLIP) below ``vision_config``, ``num_img_tokens``, the
three tokens of an image by name and id, and ``vector_dim``, the width of the head in use, which is
one of 12288, 1024, 512 and 256. Heads are ``vector_linear_{width}``, linear layers with a bias on
the text encoder's width. An image is the start, ``num_img_tokens`` placeholders and the end, and
texts and images follow one another in the order given. ``preprocessor_config.json`` is SigLIP's.
There is one ``model.safetensors`` in bfloat16, whose size is that of all four heads and of a tower
with its pooling head.

Assumed, for the weights and most of the code could not be read: the text encoder's names begin with
``model.``, the tower's with ``vision_model.vision_model.`` or ``vision_model.``; attention runs in
both directions; a vector is the head's output on the mean of all tokens' states; and the tokenizer
is the plain Qwen2 one of ``tokenizer.json``, though the directory also brings code for one.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PretrainedConfig, PreTrainedTokenizerBase, Qwen2Config

from data_prep.config import Settings
from data_prep.errors import PipeError, first_line
from data_prep.files import read_json
from student.image_tokens import IMAGE_END, IMAGE_START, IMAGE_TOKEN

MODEL_TYPE: Final = "jasper_vl"
HEAD: Final = re.compile(r"^vector_linear_([1-9][0-9]*)$")
"""How the heads are called; the number is the width."""


class JasperSettings(Settings, extra="ignore"):
    """What is needed of ``config.json``.

    Attributes:
        text_config: The text encoder's configuration.
        vision_config: The vision tower's.
        num_img_tokens: How many tokens an image becomes.
        vector_dim: Width of the head in use.
        img_start_token: In front of an image's tokens.
        img_token: What stands in the place of each of them.
        img_end_token: Behind them.
        img_start_token_id: Its id.
        img_token_id: Its id.
        img_end_token_id: Its id.
    """

    text_config: dict[str, Any]
    vision_config: dict[str, Any]
    num_img_tokens: int = Field(gt=0)
    vector_dim: int = Field(gt=0)
    img_start_token: str = IMAGE_START
    img_token: str = IMAGE_TOKEN
    img_end_token: str = IMAGE_END
    img_start_token_id: int
    img_token_id: int
    img_end_token_id: int


def is_jasper(directory: Path) -> bool:
    """Whether a model's directory is in this format.

    Args:
        directory: A local model directory.
    """
    config = directory / "config.json"
    settings = read_json(config) if config.is_file() else None
    return isinstance(settings, dict) and settings.get("model_type") == MODEL_TYPE


def read_settings(directory: Path) -> JasperSettings:
    """Read ``config.json``.

    Args:
        directory: A directory in this format.

    Returns:
        Its settings.

    Raises:
        PipeError: Keys are missing or wrong.
    """
    try:
        return JasperSettings.model_validate(read_json(directory / "config.json"))
    except ValidationError as error:
        wrong = ".".join(map(str, error.errors()[0]["loc"]))
        raise PipeError(
            f"{directory / 'config.json'} is not that of a released Jasper "
            f"({error.error_count()} wrong fields, the first is {wrong}); take a complete "
            "checkpoint."
        ) from None


def text_config(directory: Path) -> PretrainedConfig:
    """The configuration of the text encoder.

    Args:
        directory: A directory in this format.

    Returns:
        Qwen2's; how it attends is for the caller to set.

    Raises:
        PipeError: It is another kind of model.
    """
    settings = read_settings(directory).text_config
    kind = settings.get("model_type")
    if kind != "qwen2":
        raise PipeError(
            f"{directory / 'config.json'} describes a text encoder of the type {kind!r}, expected "
            "'qwen2' in a released Jasper; take a complete checkpoint."
        )
    # The class and the type of the numbers are this project's choice.
    dropped = {"architectures", "torch_dtype", "dtype", "model_type"}
    kept = {k: v for k, v in settings.items() if k not in dropped and not k.startswith("_")}
    return Qwen2Config(**kept)


def require_image_ids(tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Check that the tokenizer and ``config.json`` mean the same tokens of an image.

    Args:
        tokenizer: The tokenizer of the same directory.
        directory: A directory in this format.

    Raises:
        PipeError: They do not, or the tokens are called otherwise.
    """
    settings = read_settings(directory)
    for name, usual, number in (
        (settings.img_start_token, IMAGE_START, settings.img_start_token_id),
        (settings.img_token, IMAGE_TOKEN, settings.img_token_id),
        (settings.img_end_token, IMAGE_END, settings.img_end_token_id),
    ):
        found = tokenizer.get_vocab().get(usual)
        if name != usual or found != number:
            raise PipeError(
                f"{directory / 'config.json'} calls a token of an image {name!r}, with the id "
                f"{number}, and the tokenizer beside it has {usual!r} as {found}; expected the "
                "same, so take a complete checkpoint."
            )


def read_heads(directory: Path, hidden: int) -> dict[str, nn.Linear]:
    """Load the heads.

    Args:
        directory: A directory in this format.
        hidden: Width of the pooled state, H.

    Returns:
        Linear(H, D) by name, float32, the widest first.

    Raises:
        PipeError: A head has another shape.
    """
    with _tensors(directory) as files:
        layers = {name.removesuffix(".weight") for name in files if name.endswith(".weight")}
        heads = {}
        for name in sorted(filter(HEAD.match, layers), key=_width, reverse=True):
            head = nn.utils.skip_init(nn.Linear, hidden, _width(name))
            for kind, parameter in head.named_parameters():
                tensor = _tensor(files, f"{name}.{kind}", directory)
                if tensor.shape != parameter.shape:
                    raise PipeError(
                        f"{name}.{kind} in {directory} has the shape {tuple(tensor.shape)}, "
                        f"expected {tuple(parameter.shape)}; take a complete checkpoint."
                    )
                parameter.data.copy_(tensor)
            heads[name] = head
    return heads


def require_heads(wanted: Iterable[str], there: Collection[str], start: Path | str) -> None:
    """Check that the heads that a recipe calls as in this format are among a start's.

    Args:
        wanted: The recipe's heads.
        there: The start's; none where it is of another format, whose new heads are called at will.
        start: Where the start lies, for people.

    Raises:
        PipeError: One is missing.
    """
    missing = [name for name in wanted if HEAD.match(name) and name not in there]
    if there and missing:
        raise PipeError(
            f"the head {min(missing)} is not in {start}, whose heads are {', '.join(there)}; give "
            "a new head a name of its own, such as fc1."
        )


def _width(head: str) -> int:
    return int(head.rpartition("_")[2])


def _tensor(files: Mapping[str, Any], name: str, directory: Path) -> torch.Tensor:
    if name not in files:
        raise PipeError(
            f"{directory} lacks the tensor {name}; expected every head's weight and bias, so take "
            "a complete checkpoint."
        )
    tensor: torch.Tensor = files[name].get_tensor(name)
    return tensor


@contextmanager
def _tensors(directory: Path) -> Iterator[dict[str, Any]]:
    """Which open file of a directory holds each tensor."""
    files: dict[str, Any] = {}
    try:
        for path in sorted(directory.glob("*.safetensors")):
            file = safe_open(path, "pt")
            files |= dict.fromkeys(file.keys(), file)
    except (OSError, SafetensorError) as error:
        raise PipeError(
            f"the weights in {directory} cannot be read ({first_line(error)}); take a complete "
            "checkpoint."
        ) from None
    yield files
