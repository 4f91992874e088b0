"""The student as an embedding function: texts and roles in, unit rows out."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import numpy as np
import torch
from torch.nn import functional as F

from data_prep.errors import PipeError
from student.model import Student
from student.parts import part_names
from student.tokenization import Tokenization
from teacher_cache.config import Prompts

CPU_TOKENS = 2048
ACCELERATOR_TOKENS = 32768
TEXTS_AT_ONCE = 8192
"""Texts tokenised and sorted by length together; bounds the memory of a large set."""


class StudentEncoder:
    """Embeds texts with one head of a student; an ``Embed`` of ``student.evaluation``.

    Attributes:
        student: The model, on whatever device it is.
        head: The head's name; None gives the pooled state itself.
        dim: Numbers in a vector.
        tokens_per_batch: Bound on a batch's padded tokens; None chooses by device.
        normalize: Whether vectors become unit rows.
        prompts: Text in front of each text, by role; the student's own, unless ``under`` others.
    """

    def __init__(
        self,
        student: Student,
        head: str | None = None,
        tokens_per_batch: int | None = None,
        *,
        normalize: bool = True,
    ) -> None:
        """Choose what to embed with.

        Args:
            student: The model.
            head: A head's name, or None for the pooled state.
            tokens_per_batch: Bound on a batch's padded tokens; None chooses by device.
            normalize: Whether vectors become unit rows.

        Raises:
            PipeError: The student has no such head.
        """
        widths = {name: layer.out_features for name, layer in student.named_heads()}
        if head is not None and head not in widths:
            raise PipeError(
                f"the student has no head {head!r}; its heads are {', '.join(widths) or 'none'}."
            )
        self.student = student
        self.head = head
        self.dim = student.hidden if head is None else widths[head]
        self.tokens_per_batch = tokens_per_batch
        self.normalize = normalize
        self.prompts = student.prompts

    def under(self, prompts: Prompts) -> Self:
        """Use the student with other prompts.

        Args:
            prompts: Text in front of each text, by role.

        Returns:
            Another encoder on the same weights.
        """
        other = copy.copy(self)
        other.prompts = prompts
        return other

    def __call__(self, texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
        """Encode, as ``encode`` does; this makes an encoder an ``Embed``."""
        return self.encode(texts, roles)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
        """Embed texts, each with the prompt of its role in front.

        Args:
            texts: n texts in any order; they are batched by length.
            roles: "passage" or "question" for each.

        Returns:
            (n, dim) float32, unit rows unless told otherwise, in the order of ``texts``. The
            student's training mode is as it was before.
        """
        device = next(self.student.parameters()).device
        tokenization = Tokenization(
            tokenizer=self.student.tokenizer,
            prompts=self.prompts,
            max_tokens=self.student.max_tokens,
            group_tokens=self.tokens_per_batch
            or (CPU_TOKENS if device.type == "cpu" else ACCELERATOR_TOKENS),
            sees=self.student.vision is not None,
        )
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        with evaluating(self.student):
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                part = slice(start, start + TEXTS_AT_ONCE)
                for places, tokens in tokenization.groups(texts[part], roles[part]):
                    states_BD = self.student.pooled(
                        tokens["input_ids"].to(device), tokens["attention_mask"].to(device)
                    )
                    if self.head is not None:
                        states_BD = self.student.project(states_BD, self.head)
                    if self.normalize:
                        states_BD = F.normalize(states_BD, dim=-1)
                    vectors[start + places] = states_BD.cpu().numpy()
        return vectors


@torch.no_grad()
def head_vectors(student: Student, states_NH: np.ndarray, head: str) -> np.ndarray:
    """Apply a head to pooled states, of images or of texts.

    Args:
        student: The model.
        states_NH: Pooled states.
        head: The head's name.

    Returns:
        vectors_ND, float32, unit rows.
    """
    device = next(student.parameters()).device
    vectors_ND = student.project(torch.from_numpy(states_NH).to(device), head)
    unit_ND: np.ndarray = F.normalize(vectors_ND, dim=-1).cpu().numpy()
    return unit_ND


def parameters_in_use(student: Student, head: str | None = None) -> int:
    """Count the parameters that take part in a vector: the backbone's and one head's.

    Args:
        student: The model.
        head: The head's name; None for the pooled state.

    Returns:
        The number of parameters; what a checkpoint carries unused does not count.
    """
    text = sum(p.numel() for name, p in part_names(student).items() if name.startswith("text."))
    layer = dict(student.named_heads())[head].parameters() if head else ()
    return text + sum(parameter.numel() for parameter in layer)


@contextmanager
def evaluating(student: Student) -> Iterator[None]:
    """Switch dropout off, and back on afterwards if it was on.

    Args:
        student: The model.
    """
    training = student.training
    student.eval()
    try:
        yield
    finally:
        student.train(training)
