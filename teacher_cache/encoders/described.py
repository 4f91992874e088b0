"""Settings for a model that no recipe describes, as its own files give them."""

import re

from data_prep.errors import PipeError
from teacher_cache.config import Prompts, TeacherConfig
from teacher_cache.encoders.sentence_transformers_files import load_model
from teacher_cache.models import model_directory

_LONGEST = 512
"""Tokens of a text for a model that sets no limit itself."""


def described_model(model: str) -> TeacherConfig:
    """Read how a model is to be used.

    Args:
        model: A sentence-transformers directory, ``package:NAME/directory`` or a hub name.

    Returns:
        A teacher with the width, the longest text (at most 512 tokens unless the model sets
        another limit) and the prompts (``query`` and ``document``, or the default) of the model.

    Raises:
        PipeError: It is not there, or cannot be loaded without code of its own.
    """
    directory = str(model_directory(model, setting="the model's name"))
    name = re.sub(r"[^a-z0-9._-]+", "-", model.lower()).strip("-._") or "model"
    kind = "sentence-transformers"
    unread = TeacherConfig(name=name, kind=kind, model=directory, dim=1, max_tokens=3)
    loaded = load_model(unread, "cpu")
    dim = loaded.get_embedding_dimension()
    if not dim:
        raise PipeError(
            f"the model {model} does not say how wide its vectors are; expected a "
            "sentence-transformers directory whose modules do."
        )
    prompts = {key: text or "" for key, text in loaded.prompts.items()}
    default = prompts.get(loaded.default_prompt_name or "", "")
    return TeacherConfig(
        name=name,
        kind=kind,
        model=directory,
        dim=dim,
        max_tokens=int(loaded.max_seq_length or _LONGEST),
        prompts=Prompts(
            question=prompts.get("query") or default, passage=prompts.get("document") or default
        ),
    )
