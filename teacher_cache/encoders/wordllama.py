"""Static token embeddings of the wordllama package, whose weights come with it: no download."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from data_prep.files import sha256_file
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.encoders.prompt_setting import PromptSetting
from teacher_cache.models import package_directory

_TEXTS_AT_A_TIME = 256


class WordLlamaEncoder(PromptSetting):
    """The mean of the embeddings of a text's tokens, normalised.

    Attributes:
        dim: Numbers in a vector.
        parameters: How many numbers the model is made of.
    """

    def __init__(self, teacher: TeacherConfig, device: str = "cpu") -> None:
        """Load the embeddings.

        Args:
            teacher: The teacher's settings; ``model`` is one of wordllama's configurations.
            device: Not used: looking embeddings up is no work for a GPU.

        Raises:
            PipeError: The package is not installed, has no such weights, or has other weights.
        """
        package = package_directory("wordllama")
        weights = package / "weights" / f"{teacher.model}_{teacher.dim}.safetensors"
        if not weights.is_file():
            there = ", ".join(sorted(path.stem for path in weights.parent.glob("*.safetensors")))
            raise PipeError(
                f"found no weights {weights.stem} in the wordllama package, expected one of those "
                f"that come with it ({there}); mend the teacher's `model` and `dim`."
            )
        if teacher.sha256 is not None and sha256_file(weights) != teacher.sha256:
            raise PipeError(
                f"found other weights in {weights} than those with SHA-256 {teacher.sha256}; "
                "install the version of wordllama that the project asks for."
            )
        with _root_logger_kept():
            from wordllama import WordLlama  # noqa: PLC0415  configures logging when imported

            model = WordLlama.load(
                teacher.model, dim=teacher.dim, cache_dir=package, disable_download=True
            )
        self._teacher = teacher
        self._embeddings: npt.NDArray[np.float32] = model.embedding
        self._tokenizer: Any = model.tokenizer
        # The package pads every batch and masks the padding; the mean needs neither.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=teacher.max_tokens)
        self.dim = int(self._embeddings.shape[1])
        self.parameters = int(self._embeddings.size)

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: n texts.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, dim) float32, unit rows.

        Raises:
            PipeError: A text holds a lone surrogate, or has no tokens and so no direction.
        """
        whole = prompted(self._teacher, texts, roles)
        vectors = np.empty((len(whole), self.dim), np.float32)
        for first in range(0, len(whole), _TEXTS_AT_A_TIME):
            block = whole[first : first + _TEXTS_AT_A_TIME]
            encoded = self._tokenizer.encode_batch_fast(block, add_special_tokens=False)
            ids = [encoding.ids for encoding in encoded]
            lengths = np.array([len(text_ids) for text_ids in ids])
            if not lengths.all():
                place = first + int(np.argmin(lengths))
                raise PipeError(
                    f"text {place} of {len(whole)} has no tokens for {self._teacher.name} "
                    f"({texts[place]!r}), expected at least one; remove empty texts."
                )
            starts = np.cumsum(lengths) - lengths
            tokens = self._embeddings[np.concatenate(ids)]
            # Sums have the direction of means.
            vectors[first : first + len(block)] = np.add.reduceat(tokens, starts, axis=0)
        norms: npt.NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / norms


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Undo what an import does to the root logger: wordllama sets it to INFO, with a handler."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
