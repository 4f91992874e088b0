"""The figures of single items, taken from mteb's tasks while they score; imported where mteb is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import numpy as np
from datasets import Dataset
from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskRetrieval, AbsTaskSTS

from student.evaluation.items import Items

_TREC_NAMES = {"ndcg_at_": "ndcg_cut_", "map_at_": "map_cut_", "recall_at_": "recall_"}


class Recorded:
    """What a task was seen to score its items with."""

    def __init__(self, main_score: str) -> None:
        """Begin without anything.

        Args:
            main_score: The task's main measure.
        """
        self._main_score = main_score
        self._found: list[Items] = []
        self._labels: list[Any] = []

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
        self._labels.append(labels)
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
        if not self._found:
            return None
        items = self._found[0]
        if len(self._found) > 1:
            # Draws of one test set; several splits or languages have other texts.
            if not self._labels or any(
                not np.array_equal(labels, self._labels[0]) for labels in self._labels
            ):
                return None
            items = Items("mean", np.mean([found.figures_N for found in self._found], axis=0))
        return items if items.make(main_score) else None


@contextmanager
def recorded(task: AbsTask) -> Iterator[Recorded]:
    """Watch one of mteb's tasks score.

    Args:
        task: Any task; of other kinds than STS, retrieval and classification nothing is noted.

    Yields:
        What is noted.
    """
    found = Recorded(task.metadata.main_score)
    kinds: list[tuple[type, str, Callable[[Any], Any]]] = [
        (AbsTaskSTS, "_calculate_scores", partial(_noting, found.sts)),
        (AbsTaskRetrieval, "task_specific_scores", partial(_noting, found.retrieval)),
        (AbsTaskClassification, "_calculate_scores", partial(_noting_labels, found.classification)),
        (AbsTaskClassification, "_undersample_data", _listing),
    ]
    watched = [
        (name, around)
        for kind, name, around in kinds
        # Tasks derived from these, such as multilabel ones, may score in their own way.
        if isinstance(task, kind) and (kind is AbsTaskRetrieval or _inherits(task, kind, name))
    ]
    for name, around in watched:
        setattr(task, name, around(getattr(task, name)))
    try:
        yield found
    finally:
        for name, _ in watched:
            delattr(task, name)


def _inherits(task: AbsTask, kind: type, name: str) -> bool:
    return getattr(type(task), name) is getattr(kind, name)


def _noting(note: Callable[..., None], method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def noted(*args: Any, **kwargs: Any) -> Any:
        note(*args, **kwargs)
        return method(*args, **kwargs)

    return noted


def _noting_labels(note: Callable[..., None], method: Callable[..., Any]) -> Callable[..., Any]:
    """The same with the labels as an array: every measure reads a column's labels one by one."""

    @wraps(method)
    def noted(labels: Any, predictions: Any) -> Any:
        labels = np.asarray(labels[:])
        note(labels, predictions)
        return method(labels, predictions)

    return noted


def _listing(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def listed(data: Dataset, *args: Any, **kwargs: Any) -> Any:
        return method(_Listed(data), *args, **kwargs)

    return listed


class _Listed:
    """A data set whose columns are lists: drawing reads label by label, and a column is slow."""

    def __init__(self, data: Dataset) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, column: str) -> list[Any]:
        columns: dict[str, list[Any]] = self._data.select_columns([column])[:]
        return columns[column]

    def select(self, rows: list[int]) -> Dataset:
        return self._data.select(rows)
