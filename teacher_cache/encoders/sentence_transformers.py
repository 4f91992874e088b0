"""Any sentence-transformers model as a teacher, batched by tokens rather than by texts.

Shape legend: B texts in a batch, L tokens, H hidden, T the vector's dimension.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from data_prep.errors import PipeError
from teacher_cache.batching import token_batches
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.models import model_directory

_TOKENS_ON_CPU = 2048
_TOKENS_ON_GPU = 65_536
_TEXTS_IN_FALLBACK = 32


class SentenceTransformersEncoder:
    """A sentence-transformers directory or hub name; its remote code is never run.

    The texts of a shard are tokenised once, without padding, and run longest first in batches under
    a token budget; the model's own modules (pooling, dense layers) do the rest.

    Attributes:
        dim: Numbers in a vector.
        parameters: How many numbers the model is made of.
    """

    def __init__(
        self, teacher: TeacherConfig, device: str = "auto", token_budget: int | None = None
    ) -> None:
        """Load the model.

        Args:
            teacher: The teacher's settings.
            device: ``auto``, or a name that torch knows.
            token_budget: Tokens in a batch, padding included; by default what suits the device.

        Raises:
            PipeError: The model is not there, is another one, needs code of its own, or cannot take
                texts as long as ``max_tokens``.
        """
        directory = model_directory(teacher.model, teacher.revision, teacher.sha256)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._model = SentenceTransformer(
                str(directory),
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"dtype": getattr(torch, teacher.dtype)},
            ).eval()
        except Exception as error:  # raised by any of the libraries below
            raise PipeError(
                f"the model in {directory} cannot be loaded ({error}), expected a "
                "sentence-transformers directory that needs no code of its own."
            ) from error
        self._teacher = teacher
        self._budget = token_budget or (_TOKENS_ON_CPU if device == "cpu" else _TOKENS_ON_GPU)
        self._tokenizer = getattr(self._model[0], "tokenizer", None)
        if isinstance(self._tokenizer, Tokenizer):  # a static model's
            self._tokenizer.enable_truncation(max_length=teacher.max_tokens)
        self.dim = int(self._model.get_embedding_dimension() or 0)
        self.parameters = sum(parameter.numel() for parameter in self._model.parameters())
        _check_length(self._model, teacher)

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts, an empty one too.

        Args:
            texts: n texts; longer ones than ``max_tokens`` are cut off, the prompt counted.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, T) float32, unit rows.
        """
        whole = prompted(self._teacher, texts, roles)
        if not whole:
            return np.empty((0, self.dim), np.float32)
        tokenizer = self._tokenizer
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            return self._encode_plainly(whole)
        encoded = tokenizer(
            whole,
            truncation=True,
            max_length=self._teacher.max_tokens,
            padding=False,
            return_attention_mask=False,
        )
        lengths = [len(ids) for ids in encoded["input_ids"]]
        prompt_lengths = self._prompt_lengths(tokenizer, roles)
        vectors = torch.empty(len(whole), self.dim, dtype=torch.float32)
        with torch.inference_mode():
            for indices in _same_prompt(token_batches(lengths, self._budget), prompt_lengths):
                batch = {name: [values[i] for i in indices] for name, values in encoded.items()}
                features = dict(tokenizer.pad(batch, padding=True, return_tensors="pt"))
                vectors[torch.from_numpy(indices)] = self._run(
                    features, int(prompt_lengths[indices[0]])
                )
        return vectors.numpy()

    def _run(self, features: dict[str, Any], prompt_length: int) -> torch.Tensor:
        """Padded token ids (B, L) to unit vectors (B, T), float32, on the CPU."""
        device = self._model.device
        moved: dict[str, Any] = {name: value.to(device) for name, value in features.items()}
        if prompt_length:
            moved["prompt_length"] = prompt_length
        for module in self._model:
            moved = module(moved)
            # Only the tower computes in the teacher's dtype: pooling and heads are cheap.
            if moved.get("token_embeddings") is not None:
                moved["token_embeddings"] = moved["token_embeddings"].float()
        return F.normalize(moved["sentence_embedding"].float(), dim=1).cpu()

    def _prompt_lengths(
        self, tokenizer: PreTrainedTokenizerBase, roles: Sequence[str]
    ) -> npt.NDArray[np.int64]:
        """Tokens in front of each text that its pooling leaves out, (n,); mostly none."""
        lengths = dict.fromkeys(("passage", "question"), 0)
        if not all(getattr(module, "include_prompt", True) for module in self._model):
            for role, prompt in self._teacher.prompts.model_dump().items():
                if prompt:
                    ids = tokenizer(prompt)["input_ids"]
                    # The closing special token does not stand between the prompt and the text.
                    closed = bool(ids) and ids[-1] in tokenizer.all_special_ids
                    lengths[role] = len(ids) - closed
        return np.array([lengths[role] for role in roles], np.int64)

    def _encode_plainly(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Models without a transformers tokenizer, such as static embeddings."""
        vectors: npt.NDArray[np.floating] = self._model.encode(
            texts,
            prompt="",
            batch_size=_TEXTS_IN_FALLBACK,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return vectors.astype(np.float32, copy=False)


def _same_prompt(
    batches: list[npt.NDArray[np.int64]], prompt_lengths: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """Split batches so that each has one prompt length, as pooling wants it."""
    return [
        batch[prompt_lengths[batch] == length]
        for batch in batches
        for length in np.unique(prompt_lengths[batch])
    ]


def _check_length(model: SentenceTransformer, teacher: TeacherConfig) -> None:
    config = getattr(model[0], "config", None)
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and teacher.max_tokens > most:
        raise PipeError(
            f"found max_tokens {teacher.max_tokens} for teacher {teacher.name}, expected at most "
            f"{most}, the positions that its model has; lower the teacher's `max_tokens`."
        )
