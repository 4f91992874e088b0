"""A sentence-transformers directory: loaded without code of its own, its tokens and its head."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_prep.errors import PipeError
from data_prep.files import read_json
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.compiling import compile_forward
from teacher_cache.encoders.token_loop import Tokens
from teacher_cache.encoders.tower_options import AS_USUAL, TowerOptions
from teacher_cache.encoders.towers import check_filled, check_positions
from teacher_cache.linear_head import LinearHead
from teacher_cache.models import model_directory


def load_model(
    teacher: TeacherConfig, device: str, options: TowerOptions = AS_USUAL
) -> SentenceTransformer:
    """Load a sentence-transformers model without any code of its own.

    Args:
        teacher: The teacher's settings.
        device: A name that torch knows.
        options: How its tower is computed.

    Returns:
        The model, not training.

    Raises:
        PipeError: The model is not there, is another one, needs code of its own, cannot take texts
            as long as ``max_tokens``, or has no tower that could be computed so.
    """
    directory = model_directory(teacher.model, teacher.revision, teacher.sha256)
    settings = {"dtype": getattr(torch, teacher.dtype), "use_safetensors": True}
    if options.kernel != AS_USUAL.kernel:  # not every architecture has even the usual one
        settings["attn_implementation"] = options.kernel
    try:
        model = SentenceTransformer(
            str(directory),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs=settings,
        ).eval()
        tower = getattr(model[0], "auto_model", None)
        if isinstance(tower, PreTrainedModel):
            check_filled(tower, tower_directory(directory))
            if options.compiled:
                compile_forward(tower)
        elif options != AS_USUAL:
            raise PipeError(
                f"found no transformer in {directory}, expected one for {options}; leave that out "
                f"for teacher {teacher.name}."
            )
    except PipeError:
        raise
    except Exception as error:  # raised by any of the libraries below
        raise PipeError(
            f"the model in {directory} cannot be loaded ({error}), expected a "
            "sentence-transformers directory that needs no code of its own."
        ) from error
    check_positions(getattr(model[0], "config", None), teacher)
    return model


def tokenise(
    tokenizer: PreTrainedTokenizerBase,
    teacher: TeacherConfig,
    texts: list[str],
    skip: npt.NDArray[np.int64],
) -> Tokens:
    """Tokenise texts with a model's transformers tokenizer.

    Args:
        tokenizer: The tokenizer.
        teacher: The teacher's settings.
        texts: n texts, their prompts in front.
        skip: Tokens in front of each that pooling leaves out, (n,).

    Returns:
        Their tokens.
    """
    encoded = tokenizer(
        texts,
        truncation=True,
        max_length=teacher.max_tokens,
        padding=False,
        return_attention_mask=False,
    )
    return Tokens(encoded, skip)


def prompt_lengths(
    model: SentenceTransformer, teacher: TeacherConfig, roles: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Count the tokens in front of texts that a model's pooling leaves out; mostly none.

    Args:
        model: The model.
        teacher: The teacher's settings.
        roles: ``passage`` or ``question`` for each text.

    Returns:
        Tokens in front of each text, (n,).
    """
    lengths = dict.fromkeys(("passage", "question"), 0)
    if not all(getattr(module, "include_prompt", True) for module in model):
        tokenizer = model[0].tokenizer
        for role, prompt in teacher.prompts.model_dump().items():
            if prompt:
                ids = tokenizer(prompt)["input_ids"]
                # The closing special token does not stand between the prompt and the text.
                closed = bool(ids) and ids[-1] in tokenizer.all_special_ids
                lengths[role] = len(ids) - closed
    return np.array([lengths[role] for role in roles], np.int64)


def tower_directory(directory: Path) -> Path:
    """Find the files of a model's first module.

    Args:
        directory: The model's directory; one without ``modules.json`` is a bare transformer.

    Returns:
        The first module's directory.
    """
    listed = directory / "modules.json"
    return directory / read_json(listed)[0].get("path", "") if listed.is_file() else directory


def split_off_head(
    modules: list[torch.nn.Module],
) -> tuple[list[torch.nn.Module], LinearHead | None]:
    """Find the linear layer that is a model's last step before normalising.

    Args:
        modules: The model's modules.

    Returns:
        Those in front of it, and the layer; all of them and None if there is no such layer.
    """
    before = list(modules)
    while before and isinstance(before[-1], Normalize):
        before.pop()
    last = before.pop() if before else None
    if (
        not isinstance(last, Dense)
        or not isinstance(last.activation_function, torch.nn.Identity)
        or last.use_residual
        or (last.module_input_name, last.module_output_name) != ("sentence_embedding",) * 2
    ):
        return list(modules), None
    weight, bias = last.linear.weight, last.linear.bias
    return before, LinearHead(
        weight.detach().float().cpu().numpy(),
        None if bias is None else bias.detach().float().cpu().numpy(),
    )


def pad_id(model: SentenceTransformer, tokenizer: object) -> int:
    """Find what fills up a batch; some models count positions by it, so theirs comes first.

    Args:
        model: The model.
        tokenizer: Its tokenizer, if it has one.

    Returns:
        A token's number; 0 if neither says any.
    """
    config = getattr(model[0], "config", None)
    for owner, name in (
        (tokenizer, "pad_token_id"),
        (config, "pad_token_id"),
        (tokenizer, "eos_token_id"),
    ):
        found = getattr(owner, name, None)
        if isinstance(found, int):
            return found
    return 0
