"""Training batches: texts and targets of the rows that a step sees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerBase

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from student.model import TokenGroup
from student.order import TrainingOrder
from student.ranks import ALONE, Ranks
from teacher_cache.batching import token_batches
from teacher_cache.config import Prompts
from teacher_cache.open_store import RemoteStore, open_store
from teacher_cache.store import TeacherStore


class DistillBatch(TypedDict):
    """What a training step gets; all in the order of the groups' texts.

    Attributes:
        groups: The batch's texts in length-sorted groups.
        target: target_BT, float32, unit rows.
        rows: Row numbers, (B,), int64.
    """

    groups: list[TokenGroup]
    target: torch.Tensor
    rows: torch.Tensor


@dataclass(frozen=True)
class Tokenization:
    """How texts become length-sorted groups of tokens.

    Attributes:
        tokenizer: The backbone's tokenizer, padding on the right.
        prompts: Text in front of each text, by role.
        max_tokens: Longer texts are cut off here, special tokens included.
        group_tokens: Bound on a group's padded tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    prompts: Prompts
    max_tokens: int
    group_tokens: int

    def groups(
        self, texts: Sequence[str], roles: Sequence[str]
    ) -> list[tuple[np.ndarray, TokenGroup]]:
        """Tokenise texts and group them by length.

        Args:
            texts: The texts.
            roles: The role of each, which chooses its prompt.

        Returns:
            Pairs of the texts' places in the input and their padded tokens.
        """
        prompted = self.prompts.in_front_of(texts, roles)
        encoded = self.tokenizer(
            prompted, truncation=True, max_length=self.max_tokens, return_attention_mask=False
        )["input_ids"]
        lengths = np.fromiter((len(ids) for ids in encoded), dtype=np.int64, count=len(encoded))
        pad = self.tokenizer.pad_token_id or 0
        groups = []
        for places in token_batches(lengths, self.group_tokens):
            width = max(int(lengths[places].max()), 1)
            ids = np.full((len(places), width), pad, dtype=np.int64)
            for line, place in enumerate(places):
                ids[line, : lengths[place]] = encoded[place]
            mask = np.arange(width) < lengths[places, None]
            tokens = TokenGroup(
                input_ids=torch.from_numpy(ids),
                attention_mask=torch.from_numpy(mask.astype(np.int64)),
            )
            groups.append((places, tokens))
        return groups


class BatchStream(IterableDataset[DistillBatch | PipeError]):
    """The batches of consecutive steps, read from the corpus and the store.

    The files are opened where the stream is read, so that it can move to a reader process.
    """

    def __init__(
        self,
        corpus: Path,
        store: Path | RemoteStore,
        weights: dict[str, float],
        order: TrainingOrder,
        steps: range,
        tokenization: Tokenization,
        ranks: Ranks = ALONE,
    ) -> None:
        """Describe the stream; nothing is read yet.

        Args:
            corpus: The corpus directory.
            store: The store directory, or where the store lies and the cache for it.
            weights: The teachers in the target, in order, and the weight of each.
            order: Which rows a step sees.
            steps: Which steps to yield.
            tokenization: How texts become tokens.
            ranks: This process among those that train; it reads its own rows of a step alone.
        """
        super().__init__()
        self.corpus = corpus
        self.store = store
        self.weights = weights
        self.order = order
        self.steps = steps
        self.tokenization = tokenization
        self.ranks = ranks

    def __iter__(self) -> Iterator[DistillBatch | PipeError]:
        """Yield one batch a step.

        A reader process yields its error as the last item, for torch would wrap it in a traceback.

        Raises:
            PipeError: A row of the order has no committed vector, or the store or a text is not
                the corpus's.
        """
        try:
            yield from self._read()
        except PipeError as error:
            if get_worker_info() is None:
                raise
            yield error

    def _read(self) -> Iterator[DistillBatch]:
        corpus = Corpus.open(self.corpus)
        store = open_store(self.store, corpus)
        window = self.order.steps_per_window
        for step in self.steps:
            if (step - self.steps.start) % window == 0:
                # A window reads from all its shards at once, so the next one is announced as well.
                self._announce(store, range(step, min(step + 2 * window, self.steps.stop)))
            rows = self.ranks.share(self.order.batch(step))
            texts, roles = corpus.take(rows)
            grouped = self.tokenization.groups(texts, roles)
            places = np.concatenate([places for places, _ in grouped])
            target_BT = store.read(
                rows[places], teachers=list(self.weights), weights=list(self.weights.values())
            )
            yield DistillBatch(
                groups=[tokens for _, tokens in grouped],
                target=torch.from_numpy(target_BT),
                rows=torch.from_numpy(rows[places]),
            )

    def _announce(self, store: TeacherStore, steps: range) -> None:
        """Let a remote store fetch what some steps will read."""
        batches = self.order.batches(steps.start, steps.stop)
        rows = np.concatenate([self.ranks.share(batch) for batch in batches])
        store.expect(rows, list(self.weights))

    def loader(self, readers: int) -> "BatchLoader":
        """A loader that reads ahead of the step.

        Args:
            readers: 1 for a reader process, 0 to read in line.

        Returns:
            A loader with its own random generator, so that iterating it moves no other.
        """
        return BatchLoader(
            self,
            batch_size=None,
            num_workers=readers,
            prefetch_factor=4 if readers else None,
            generator=torch.Generator(),
        )


class BatchLoader(DataLoader[DistillBatch | PipeError]):
    """A loader that raises a reader's error as the reader raised it."""

    def __iter__(self) -> Iterator[DistillBatch]:  # type: ignore[override]
        """Yield the stream's batches.

        Raises:
            PipeError: As ``BatchStream``.
        """
        for item in super().__iter__():
            if isinstance(item, PipeError):
                raise item
            yield item
