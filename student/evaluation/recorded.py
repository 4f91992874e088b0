"""The figures of single items, taken from mteb's tasks while they score; imported where mteb is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskRetrieval, AbsTaskSTS

from student.evaluation.items import Items

_TREC_NAMES = {"ndcg_at_": "ndcg_cut_", "map_at_": "map_cut_", "recall_at_": "recall_"}
_ROUNDED = 1e-4
"""mteb rounds a score when it keeps it."""


class Recorded:
    """What a task was seen to score its items with."""

    def __init__(self, main_score: str) -> None:
        """Begin without anything.

        Args:
            main_score: The task's main measure.
        """
        self._main_score = main_score
        self._found: list[Items] = []

    def sts(self, scores: Any, gold: Any) -> None:
        """Note the pairs of ``AbsTaskSTS._calculate_scores``."""
        figures = np.asarray(scores["cosine_scores"], np.float64)
        self._found.append(Items("spearman", figures, np.asarray(gold, np.float64)))

    def retrieval(self, scores: Any, *_: Any, **__: Any) -> None:
        """Note the queries of ``AbsTaskRetrieval.task_specific_scores``."""
        name = self._main_score
        for mteb_name, trec_name in _TREC_NAMES.items():
            name = name.replace(mteb_name, trec_name)
        # By query, so that the figures of two models pair up.
        figures = [scores[query].get(name, np.nan) for query in sorted(scores)]
        self._found.append(Items("mean", np.asarray(figures, np.float64)))

    def classification(self, labels: Any, predictions: Any) -> None:
        """Note the test texts of ``AbsTaskClassification._calculate_scores``; each draw calls."""
        right = np.asarray(labels) == np.asarray(predictions)
        self._found.append(Items("mean", right.astype(np.float64)))

    def items(self, main_score: float) -> Items | None:
        """Give the figures that the main score is made of.

        Args:
            main_score: The score that mteb gave.

        Returns:
            The figures; None if the score does not follow from them, as with a main score that is
            no mean, or a task in several parts.
        """
        if not self._found or len({len(found.figures_N) for found in self._found}) > 1:
            return None
        items = self._found[0]
        if items.measure == "mean":  # of several draws, too
            items = Items("mean", np.mean([found.figures_N for found in self._found], axis=0))
        elif len(self._found) > 1:
            return None
        return items if abs(items.score - main_score) < _ROUNDED else None


@contextmanager
def recorded(task: AbsTask) -> Iterator[Recorded]:
    """Watch one of mteb's tasks score.

    Args:
        task: Any task; of other kinds than STS, retrieval and classification nothing is noted.

    Yields:
        What is noted.
    """
    found = Recorded(task.metadata.main_score)
    kinds: list[tuple[type, str, Callable[..., None]]] = [
        (AbsTaskSTS, "_calculate_scores", found.sts),
        (AbsTaskRetrieval, "task_specific_scores", found.retrieval),
        (AbsTaskClassification, "_calculate_scores", found.classification),
    ]
    watched = [(name, note) for kind, name, note in kinds if isinstance(task, kind)]
    for name, note in watched:
        setattr(task, name, _noting(getattr(task, name), note))
    try:
        yield found
    finally:
        for name, _ in watched:
            delattr(task, name)


def _noting(method: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    @wraps(method)
    def noted(*args: Any, **kwargs: Any) -> Any:
        note(*args, **kwargs)
        return method(*args, **kwargs)

    return noted
