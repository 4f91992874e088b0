"""The held-out spans of a corpus with their target: what agreement is measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_prep.corpus import Corpus
from teacher_cache.store import TeacherStore

LEAST_SPANS: Final = 3
"""Fewer have no pairs to rank."""


@dataclass(frozen=True)
class HeldOutSpans:
    """N spans that training never saw; T target width.

    Attributes:
        texts: Their texts.
        roles: The role of each.
        target_NT: Their target, float32 unit rows, of the teachers that have a weight.
    """

    texts: Sequence[str]
    roles: Sequence[str]
    target_NT: np.ndarray


def measured_spans(corpus: Corpus, most: int) -> int:
    """Say how many held-out spans are measured on: the first rows of the corpus.

    Args:
        corpus: The corpus.
        most: How many are wanted.

    Returns:
        Their number; 0 where the corpus holds out too few.
    """
    count = min(corpus.held_out_rows, most)
    return count if count >= LEAST_SPANS else 0


def read_held_out_spans(
    corpus: Corpus, store: TeacherStore, weights: Mapping[str, float], count: int
) -> HeldOutSpans:
    """Read the first held-out spans.

    Args:
        corpus: The corpus.
        store: The store.
        weights: The teachers in the target, in order, and the weight of each.
        count: How many, as ``measured_spans`` says.

    Returns:
        The spans.

    Raises:
        PipeError: The store lacks rows of a teacher, or a text is not the corpus's.
    """
    rows = np.arange(count)
    target_NT = store.read(rows, teachers=list(weights), weights=list(weights.values()))
    texts, roles = corpus.take(rows)
    return HeldOutSpans(texts, roles, target_NT)
