"""The encoding loop that every transformer teacher shares: one plan of batches over a whole shard.

Shape legend: n texts, B texts in a batch, L tokens, T the vector's dimension.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from data_prep.errors import PipeError
from teacher_cache.batching import token_batches
from teacher_cache.workers import local_place

_TOKENS_ON_CPU = 1024  # larger batches leave the processor's caches
_TOKENS_ON_GPU = 65_536
_TEXTS_AHEAD = 1024

Features: TypeAlias = dict[str, torch.Tensor]
"""``input_ids``, ``attention_mask`` and whatever else the tokenizer gave, each (B, L) int64."""

Forward: TypeAlias = Callable[[Features, torch.Tensor], torch.Tensor]
"""From features and the tokens in front that pooling leaves out (B,) to vectors (B, T)."""

_Rows: TypeAlias = npt.NDArray[np.int64]

Tokenise: TypeAlias = Callable[[_Rows], "Tokens"]
"""From the places of some texts to their tokens, called in a thread of its own."""


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

    def expect_some(self, places: npt.NDArray[np.int64], count: int) -> None:
        """Check that every text has tokens.

        Args:
            places: Which of ``count`` texts these are.
            count: How many there are in all.

        Raises:
            PipeError: One has none.
        """
        if not (lengths := self.lengths).all():
            text = f"text {places[np.argmin(lengths)]} of {count}"
            raise PipeError(f"{text} has no tokens, expected at least one; remove empty texts.")


@dataclass(slots=True)
class Work:
    """What a loop has computed.

    Attributes:
        batches: How many batches.
        tokens: Tokens of the texts.
        computed: The same with padding.
    """

    batches: int = 0
    tokens: int = 0
    computed: int = 0


@dataclass(slots=True)
class _Shard:
    """Texts on their way through the model: tokens of some, vectors of others."""

    columns: dict[str, dict[int, Sequence[int]]]
    lengths: _Rows
    skip: _Rows
    vectors: torch.Tensor
    waiting: tuple[_Rows, torch.Tensor] | None = field(default=None)

    def add(self, rows: _Rows, tokens: Tokens) -> None:
        """Take in the tokens of some texts."""
        tokens.expect_some(rows, len(self.lengths))
        self.lengths[rows] = tokens.lengths
        self.skip[rows] = tokens.skip
        for name, column in tokens.columns.items():
            self.columns.setdefault(name, {}).update(zip(rows.tolist(), column, strict=True))

    def keep(self, rows: _Rows, vectors_BT: torch.Tensor | None) -> None:
        """Take over a batch's vectors; a batch's are fetched while the next one runs."""
        if self.waiting is not None:
            self.vectors[torch.from_numpy(self.waiting[0])] = self.waiting[1].cpu()
        self.waiting = None if vectors_BT is None else (rows, vectors_BT)
        for column in self.columns.values():
            for row in rows.tolist():
                del column[row]


class TokenLoop:
    """Runs a shard's texts longest first, in batches under a token budget, padded on the right.

    A thread tokenises ahead of the model, 1,024 texts at a time, the longest by characters first.
    Padding goes to the right whatever the tokenizer would do: positions then count from the first
    token, and a model that reads the attention mask never sees the rest.

    Attributes:
        device: Where batches go.
        budget: Tokens in a batch, padding included; halved for good when memory runs out.
        work: What has been computed so far.
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
        self.work = Work()
        self._pad_id = pad_id

    def run(
        self,
        texts: Sequence[str],
        tokenise: Tokenise,
        forward: Forward,
        dim: int,
        *,
        same_skip: bool = False,
        unit: bool = True,
    ) -> npt.NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: n texts; only their lengths in characters are looked at here.
            tokenise: Gives the tokens of some of them.
            forward: The model, from a padded batch to its vectors, normalised or not.
            dim: T.
            same_skip: Whether all texts of a batch must leave out equally many tokens.
            unit: Whether the vectors are normalised.

        Returns:
            (n, T) float32, unit rows unless told otherwise, in the order of the texts.

        Raises:
            PipeError: A text has no tokens, or is too long for the device's memory.
        """
        count = len(texts)
        shard = _Shard(
            columns={},
            lengths=np.zeros(count, np.int64),
            skip=np.zeros(count, np.int64),
            vectors=torch.empty(count, dim, dtype=torch.float32),
        )
        ready = np.empty(0, np.int64)
        with torch.inference_mode():
            for rows, tokens, last in _ahead(texts, tokenise):
                shard.add(rows, tokens)
                # Texts that would make a small batch wait for those of the next block.
                ready = np.concatenate([ready, rows])
                ready = self._run_batches(shard, ready, forward, same_skip, unit, last)
            shard.keep(ready, None)
        return shard.vectors.numpy()

    def _run_batches(
        self,
        shard: _Shard,
        rows: _Rows,
        forward: Forward,
        same_skip: bool,
        unit: bool,
        last: bool,
    ) -> _Rows:
        """Encode tokenised texts, all of the last block's; which ones are left over."""
        batches = self._plan(shard, rows, same_skip)
        while len(batches) > (0 if last else 1):
            batch = batches[0]
            vectors_BT = self._run_batch(shard, batch, forward, unit)
            if vectors_BT is None:
                self._shrink(shard.lengths[batch])
                batches = self._plan(shard, np.concatenate(batches), same_skip)
                continue
            shard.keep(batch, vectors_BT)
            batches = batches[1:]
        return batches[0] if batches else np.empty(0, np.int64)

    def _run_batch(
        self, shard: _Shard, rows: _Rows, forward: Forward, unit: bool
    ) -> torch.Tensor | None:
        """Vectors (B, T) float32 on the device; None if its memory does not suffice."""
        try:
            skip_B = torch.from_numpy(shard.skip[rows]).to(self.device)
            features = self._pad(shard, rows)
            vectors_BT = forward(features, skip_B).float()
            vectors_BT = F.normalize(vectors_BT, dim=1) if unit else vectors_BT
        except torch.OutOfMemoryError:
            return None
        self.work.batches += 1
        self.work.tokens += int(shard.lengths[rows].sum())
        self.work.computed += features["input_ids"].numel()
        return vectors_BT

    def _pad(self, shard: _Shard, rows: _Rows) -> Features:
        lengths = shard.lengths[rows]
        shape = len(rows), int(lengths.max())
        padded = {
            name: np.full(shape, self._pad_id * (name == "input_ids"), np.int64)
            for name in shard.columns
        }
        for place, row in enumerate(rows.tolist()):
            for name, column in shard.columns.items():
                padded[name][place, : lengths[place]] = column[row]
        padded["attention_mask"] = (np.arange(shape[1]) < lengths[:, None]).astype(np.int64)
        return {name: torch.from_numpy(array).to(self.device) for name, array in padded.items()}

    def _plan(self, shard: _Shard, rows: _Rows, same_skip: bool) -> list[_Rows]:
        """Batches of some rows, each of one group; the shortest texts last."""
        rows = np.sort(rows)  # the plan depends on which texts they are alone
        groups = shard.skip if same_skip else np.zeros_like(shard.skip)
        return [
            batch[groups[batch] == group]
            for places in token_batches(shard.lengths[rows], self.budget)
            for batch in [rows[places]]
            for group in np.unique(groups[batch])
        ]

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


def _ahead(texts: Sequence[str], tokenise: Tokenise) -> Iterator[tuple[_Rows, Tokens, bool]]:
    """Blocks of texts with their tokens, each tokenised while the one before it is used."""
    order = np.argsort([-len(text) for text in texts], kind="stable")
    blocks = np.split(order, range(_TEXTS_AHEAD, len(order), _TEXTS_AHEAD)) if texts else []
    with ThreadPoolExecutor(1, thread_name_prefix="tokenise") as pool:
        coming = deque(pool.submit(tokenise, block) for block in blocks[:1])
        for number, block in enumerate(blocks, 1):
            coming.extend(pool.submit(tokenise, after) for after in blocks[number : number + 1])
            yield block, coming.popleft().result(), number == len(blocks)


def pick_device(device: str) -> str:
    """Choose where a teacher runs.

    Args:
        device: ``auto``, or a name that torch knows.

    Returns:
        A name that torch knows. With ``auto``, a GPU if there is one: among several, the one whose
        turn it is by this process's place among those of its machine.

    Raises:
        UsageError: The launcher's variable for that place is no number.
    """
    if device != "auto":
        return device
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{local_place(os.environ) % torch.cuda.device_count()}"


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
