"""The encoding loop that every transformer teacher shares: one plan of batches over a whole shard.

Shape legend: n texts, B texts in a batch, L tokens, T the vector's dimension.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from data_prep.errors import PipeError
from teacher_cache.batching import token_batches

_TOKENS_ON_CPU = 2048
_TOKENS_ON_GPU = 65_536

Features: TypeAlias = dict[str, torch.Tensor]
"""``input_ids``, ``attention_mask`` and whatever else the tokenizer gave, each (B, L) int64."""

Forward: TypeAlias = Callable[[Features, torch.Tensor], torch.Tensor]
"""From features and the tokens in front that pooling leaves out (B,) to vectors (B, T)."""

_Rows: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of n texts, not padded.

    Attributes:
        columns: What the tokenizer gave for each text, by name; ``input_ids`` among them.
        skip: Tokens in front of each text that pooling leaves out, (n,) int64.
    """

    columns: Mapping[str, Sequence[Sequence[int]]]
    skip: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text, (n,) int64."""
        return np.array([len(ids) for ids in self.columns["input_ids"]], np.int64)

    def expect_some(self) -> None:
        """Check that every text has tokens.

        Raises:
            PipeError: One has none, and so no direction.
        """
        lengths = self.lengths
        if not lengths.all():
            raise PipeError(
                f"text {int(np.argmin(lengths))} of {len(lengths)} has no tokens, expected at "
                "least one; remove empty texts."
            )


class TokenLoop:
    """Runs a shard's texts longest first, in batches under a token budget, padded on the right.

    Padding goes to the right whatever the tokenizer would do: positions then count from the first
    token, and a model that reads the attention mask never sees the rest.

    Attributes:
        device: Where batches go.
        budget: Tokens in a batch, padding included; halved for good when memory runs out.
    """

    def __init__(self, device: str, pad_id: int = 0, budget: int | None = None) -> None:
        """Set the budget.

        Args:
            device: Where batches go.
            pad_id: The token that fills up ``input_ids``; it is masked, so any will do for most
                models. Other columns are filled with 0.
            budget: Tokens in a batch; by default what suits the device.
        """
        self.device = device
        self.budget = budget or (_TOKENS_ON_CPU if device == "cpu" else _TOKENS_ON_GPU)
        self._pad_id = pad_id

    def run(
        self,
        tokens: Tokens,
        forward: Forward,
        dim: int,
        *,
        same_skip: bool = False,
        unit: bool = True,
    ) -> npt.NDArray[np.float32]:
        """Encode tokenised texts.

        Args:
            tokens: n texts' tokens.
            forward: The model, from a padded batch to its vectors, normalised or not.
            dim: T.
            same_skip: Whether all texts of a batch must leave out equally many tokens.
            unit: Whether the vectors are normalised.

        Returns:
            (n, T) float32, unit rows unless told otherwise, in the order of the texts.

        Raises:
            PipeError: A text has no tokens, or is too long for the device's memory.
        """
        tokens.expect_some()
        lengths = tokens.lengths
        groups = tokens.skip if same_skip else np.zeros_like(tokens.skip)
        vectors = torch.empty(len(lengths), dim, dtype=torch.float32)
        batches = self._plan(np.arange(len(lengths)), lengths, groups)
        waiting: tuple[_Rows, torch.Tensor] | None = None
        with torch.inference_mode():
            while batches:
                rows = batches.popleft()
                encoded = self._run_batch(tokens, rows, forward, unit)
                if encoded is None:
                    self._shrink(lengths[rows])
                    rest = np.sort(np.concatenate([rows, *batches]))
                    batches = self._plan(rest, lengths, groups)
                    continue
                # A batch's vectors are fetched while the next one runs.
                if waiting is not None:
                    vectors[torch.from_numpy(waiting[0])] = waiting[1].cpu()
                waiting = rows, encoded
            if waiting is not None:
                vectors[torch.from_numpy(waiting[0])] = waiting[1].cpu()
        return vectors.numpy()

    def _run_batch(
        self, tokens: Tokens, rows: _Rows, forward: Forward, unit: bool
    ) -> torch.Tensor | None:
        """Vectors (B, T) float32 on the device; None if its memory does not suffice."""
        try:
            skip = torch.from_numpy(tokens.skip[rows]).to(self.device)
            vectors_BT = forward(self._pad(tokens, rows), skip).float()
            return F.normalize(vectors_BT, dim=1) if unit else vectors_BT
        except torch.OutOfMemoryError:
            return None

    def _pad(self, tokens: Tokens, rows: _Rows) -> Features:
        longest = max(len(tokens.columns["input_ids"][row]) for row in rows)
        padded = {
            name: np.full((len(rows), longest), self._pad_id * (name == "input_ids"), np.int64)
            for name in tokens.columns
        }
        mask = np.zeros((len(rows), longest), np.int64)
        for place, row in enumerate(rows):
            for name, column in tokens.columns.items():
                padded[name][place, : len(column[row])] = column[row]
            mask[place, : len(tokens.columns["input_ids"][row])] = 1
        padded["attention_mask"] = mask
        return {name: torch.from_numpy(array).to(self.device) for name, array in padded.items()}

    def _plan(self, rows: _Rows, lengths: _Rows, groups: _Rows) -> deque[_Rows]:
        """Batches of some rows, each of one group."""
        return deque(
            batch[groups[batch] == group]
            for places in token_batches(lengths[rows], self.budget)
            for batch in [rows[places]]
            for group in np.unique(groups[batch])
        )

    def _shrink(self, lengths: _Rows) -> None:
        """Halve the budget after a batch of texts of these lengths did not fit."""
        torch.cuda.empty_cache()
        if len(lengths) == 1:
            raise PipeError(
                f"a text of {int(lengths[0])} tokens does not fit into the memory of "
                f"{self.device}, expected at least that; lower the teacher's `max_tokens`, or use "
                "a device with more free memory."
            )
        self.budget = min(self.budget, len(lengths) * int(lengths.max())) // 2


def pick_device(device: str) -> str:
    """Choose where a teacher runs.

    Args:
        device: ``auto``, or a name that torch knows.

    Returns:
        A name that torch knows: the GPU, if there is one and nothing else was asked for.
    """
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def masked_mean(states_BLH: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
    """Average the states of some tokens in float32.

    Args:
        states_BLH: Token states.
        mask_BL: 1 where a token counts; at least one of a text does.

    Returns:
        (B, H) float32.
    """
    weights_BL1 = mask_BL.unsqueeze(-1).float()
    return (states_BLH.float() * weights_BL1).sum(1) / weights_BL1.sum(1)
