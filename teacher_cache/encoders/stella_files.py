"""A directory like stella_en_1.5B_v5's: checked, tokenised and with its head, for every engine."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import Qwen2Config, Qwen2Model

from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.checkpoint import Checkpoint, read_config
from teacher_cache.encoders.text_tokens import TextTokens
from teacher_cache.encoders.token_loop import Tokens
from teacher_cache.encoders.towers import check_positions, tower_config, tower_shapes
from teacher_cache.linear_head import LinearHead
from teacher_cache.models import model_directory


class StellaFiles:
    """What a directory like Stella's holds, short of running its tower.

    Attributes:
        directory: The directory.
        config: The tower's config, attention bidirectional.
        prefix: Stands in front of the tower's parameters' names in the checkpoint.
        tower_parameters: How many numbers the tower is made of.
    """

    def __init__(self, teacher: TeacherConfig) -> None:
        """Find the directory and check it against its own config and the settings.

        Args:
            teacher: The teacher's settings.

        Raises:
            PipeError: The model is not there or is another one; a tensor is missing, is unknown or
                has another shape than ``config.json`` says; or as for ``check``.
        """
        self.directory = model_directory(teacher.model, teacher.revision, teacher.sha256)
        self.config = tower_config(Qwen2Config, read_config(self.directory), self.directory)
        self._tokens = TextTokens(self.directory)
        self.check(teacher)

        checkpoint = Checkpoint(self.directory)
        named = any(name.startswith("model.") for name in checkpoint.shapes)
        self.prefix = "model." if named else ""
        tower = tower_shapes(Qwen2Model, self.config, self.directory)
        shapes = {self.prefix + name: shape for name, shape in tower.items()}
        checkpoint.expect_names(shapes, ignored=["lm_head.weight"])
        checkpoint.expect_shapes(shapes)
        self.tower_parameters = sum(math.prod(shape) for shape in shapes.values())

    @property
    def end_id(self) -> int:
        """The end token's number; 0 if there is none, which masked padding may be as well."""
        return self._tokens.eos_id or 0

    def check(self, teacher: TeacherConfig) -> None:
        """Check settings of the texts.

        Args:
            teacher: The teacher's settings.

        Raises:
            PipeError: Texts may be longer than the model's positions, or there is no end token to
                append.
        """
        check_positions(self.config, teacher)
        if teacher.eos == "append" and self._tokens.eos_id is None:
            raise PipeError(
                f"found no end token in the tokenizer in {self.directory}, expected one for "
                f'`eos = "append"` of teacher {teacher.name}; copy tokenizer_config.json as well, '
                'or use `eos = "none"`.'
            )

    def tokenise(self, teacher: TeacherConfig, texts: Sequence[str]) -> Tokens:
        """Tokenise texts, the end token last or nowhere; a text that is cut off keeps it.

        Args:
            teacher: The teacher's settings.
            texts: n texts, their prompts in front.

        Returns:
            Their tokens; all of them are averaged.
        """
        most, closes = teacher.max_tokens, self._tokens.closes
        if teacher.eos == "append" and not closes:
            ids = [[*text, self.end_id] for text in self._tokens.ids(texts, most - 1)]
        elif teacher.eos != "append" and closes:
            ids = [text[:-1] for text in self._tokens.ids(texts, most + 1)]
        else:
            ids = self._tokens.ids(texts, most)
        return Tokens({"input_ids": ids}, np.zeros(len(ids), np.int64))

    def head(self, dim: int) -> LinearHead:
        """Load a head.

        Args:
            dim: T.

        Returns:
            The head.

        Raises:
            PipeError: As for ``load_head``.
        """
        return load_head(self.directory, dim, self.config.hidden_size)


def load_head(directory: Path, dim: int, width: int) -> LinearHead:
    """Load one of a model's heads.

    Args:
        directory: The model's directory.
        dim: T; the head lies in ``2_Dense_{dim}``.
        width: H.

    Returns:
        The head.

    Raises:
        PipeError: There is no such head, or it is no linear layer from H to T numbers.
    """
    place = directory / f"2_Dense_{dim}"
    if not place.is_dir():
        there = sorted(
            int(name)
            for path in directory.glob("2_Dense_*")
            if (name := path.name.removeprefix("2_Dense_")).isdigit()
        )
        raise PipeError(
            f"found no head {place.name} in {directory}, expected one of those that the model has "
            f"({', '.join(map(str, there)) or 'none'}); mend the teacher's `dim`, or copy the head."
        )
    settings = read_config(place)
    activation = str(settings.get("activation_function", "")).rsplit(".", 1)[-1]
    if activation != "Identity":
        raise PipeError(
            f"found the activation {activation or 'Tanh (by default)'} in {place}, expected "
            "Identity, as in Stella's heads; use kind sentence-transformers for this model."
        )
    head = Checkpoint(place)
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (dim, width)}
    if settings.get("bias", True):
        shapes["linear.bias"] = (dim,)
    head.expect_names(shapes)
    head.expect_shapes(shapes)
    weight, *bias = (head.tensor(name).float().numpy() for name in shapes)
    return LinearHead(weight, *bias)
