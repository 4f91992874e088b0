"""Evaluation sets of a directory as mteb's own tasks; imported where mteb is there."""

from collections.abc import Callable
from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

from student.evaluation.sets import ClassificationSet, EvaluationSet, RetrievalSet, StsSet

SPLIT = "test"


def _metadata(data: EvaluationSet, kind: str, main_score: str) -> TaskMetadata:
    return TaskMetadata(
        name=data.name,
        description=f"The evaluation set {data.name} of a directory.",
        dataset={"path": "local", "revision": "local"},
        type=kind,
        category="t2t",
        eval_splits=[SPLIT],
        eval_langs=["eng-Latn"],
        main_score=main_score,
        prompt=data.instruction,
    )


class _LocalSts(AbsTaskSTS):
    def __init__(self, data: StsSet) -> None:
        self.metadata = _metadata(data, "STS", "cosine_spearman")
        super().__init__()
        columns = {"sentence1": data.first, "sentence2": data.second, "score": data.scores}
        self.dataset = DatasetDict({SPLIT: Dataset.from_dict(columns)})
        self.data_loaded = True


class _LocalRetrieval(AbsTaskRetrieval):
    def __init__(self, data: RetrievalSet) -> None:
        self.metadata = _metadata(data, "Retrieval", "ndcg_at_10")
        super().__init__()
        corpus = Dataset.from_dict({"id": data.document_ids, "text": data.documents})
        queries = Dataset.from_dict({"id": data.query_ids, "text": data.queries})
        relevant = {query: dict(gains) for query, gains in data.qrels.items()}
        split = {"corpus": corpus, "queries": queries, "relevant_docs": relevant}
        self.dataset = {"default": {SPLIT: {**split, "top_ranked": None}}}
        self.data_loaded = True


class _LocalClassification(AbsTaskClassification):
    def __init__(self, data: ClassificationSet) -> None:
        self.metadata = _metadata(data, "Classification", "accuracy")
        super().__init__()
        names = sorted({*data.train_labels, *data.test_labels})
        number = {name: place for place, name in enumerate(names)}

        def split(texts: tuple[str, ...], labels: tuple[str, ...]) -> Dataset:
            return Dataset.from_dict({"text": texts, "label": [number[name] for name in labels]})

        self.dataset = DatasetDict(
            {
                "train": split(data.train_texts, data.train_labels),
                SPLIT: split(data.test_texts, data.test_labels),
            }
        )
        self.data_loaded = True


_TASKS: dict[type[EvaluationSet], Callable[[Any], AbsTask]] = {
    StsSet: _LocalSts,
    RetrievalSet: _LocalRetrieval,
    ClassificationSet: _LocalClassification,
}


def make_task(data: EvaluationSet) -> AbsTask:
    """Make mteb's task of an evaluation set.

    Args:
        data: A set of any kind.

    Returns:
        An ``AbsTaskSTS``, ``AbsTaskRetrieval`` or ``AbsTaskClassification`` with its data loaded,
        its name and its instruction.
    """
    return _TASKS[type(data)](data)
