"""Rows of the corpus as training batches: texts and the teachers' target."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data_prep.corpus import Corpus
from student.batches import DistillBatch
from student.pooled_source import PooledSource
from student.row_set import Rows
from student.tokenization import Tokenization
from teacher_cache.open_store import RemoteStore, open_store
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class TextRows:
    """Where texts and their target are read from; a ``RowSource``.

    Attributes:
        corpus: The corpus directory.
        store: The store directory, or where the store lies and the cache for it.
        weights: The teachers in the target, in order, and the weight of each.
        tokenization: How texts become tokens.
        pooled: Gives the rows' pooled states, so that no text is read; None reads the texts.
    """

    corpus: Path
    store: Path | RemoteStore
    weights: dict[str, float]
    tokenization: Tokenization
    pooled: PooledSource | None = None

    def open(self) -> "TextReader":
        """As ``RowSource``."""
        corpus = Corpus.open(self.corpus)
        return TextReader(self, corpus, open_store(self.store, corpus))


@dataclass(frozen=True)
class TextReader:
    """Reads texts and their target; a ``RowReader``.

    Attributes:
        source: What is read.
        corpus: The corpus.
        store: The store.
    """

    source: TextRows
    corpus: Corpus
    store: TeacherStore

    def expect(self, rows: Rows) -> None:
        """As ``RowReader``."""
        self.store.expect(rows, list(self.source.weights))

    def read(self, rows: Rows, step: int) -> DistillBatch:
        """As ``RowReader``."""
        groups, pooled = [], None
        if self.source.pooled is not None:
            pooled = torch.from_numpy(self.source.pooled.read(rows))
        else:
            grouped = self.source.tokenization.groups(*self.corpus.take(rows))
            groups = [tokens for _, tokens in grouped]
            rows = rows[np.concatenate([places for places, _ in grouped])]
        weights = self.source.weights
        target_BT = self.store.read(rows, teachers=list(weights), weights=list(weights.values()))
        return DistillBatch(
            groups=groups,
            pooled=pooled,
            target=torch.from_numpy(target_BT),
            rows=torch.from_numpy(rows),
        )
