"""A student's results on MTEB's tasks, as its model card tells them."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from huggingface_hub import EvalResult

from pipelines.model_names import head_name
from pipelines.report import say
from pipelines.run import Run
from student.evaluation.result_store import result_files

_HUB_TASKS: Final = {
    "BitextMining": "translation",
    "Classification": "text-classification",
    "MultilabelClassification": "text-classification",
    "Clustering": "text-classification",
    "PairClassification": "text-classification",
    "Reranking": "text-ranking",
    "InstructionReranking": "text-ranking",
    "Retrieval": "text-retrieval",
    "InstructionRetrieval": "text-retrieval",
    "STS": "sentence-similarity",
    "Summarization": "summarization",
}
"""What the hub calls each type of mteb's tasks."""


def mteb_results(run: Run, revision: str, head: str) -> tuple[EvalResult, ...]:
    """Read what the mteb library has measured of a student.

    Args:
        run: The run, with the results that ``pipe eval --mteb`` keeps.
        revision: ``results_revision`` of the student.
        head: The head in use.

    Returns:
        One result for each task, split and subset, in mteb's own words. None of tasks that mteb
        does not know, such as the user's own; none at all where mteb is not installed, which a
        line then says.
    """
    found = result_files(run.benchmarks, head_name(head), revision)
    if not found:
        return ()
    try:
        from mteb import get_task  # noqa: PLC0415 - large, and needed here alone
        from mteb.results import TaskResult  # noqa: PLC0415
    except ImportError:
        say("mteb is not installed, so the card omits its results (pip install mteb)")
        return ()
    return tuple(result for path in found for result in _results(TaskResult, get_task, path))


def _results(reader: Any, get_task: Callable[[str], Any], path: Path) -> Iterator[EvalResult]:
    """The results on the task's own splits and subsets, of those that were measured."""
    try:
        kept = reader.from_disk(path)
        task = get_task(kept.task_name)
    except KeyError:  # no task of mteb's
        return
    except ValueError:
        say(f"{path} holds no result of mteb's; the card omits it")
        return
    about = task.metadata
    for split in task.eval_splits:
        for scores in kept.scores.get(split, ()):
            subset, score = scores["hf_subset"], float(scores["main_score"])
            if (subset in task.hf_subsets or task.is_aggregate) and math.isfinite(score):
                yield EvalResult(
                    task_type=_HUB_TASKS.get(about.type, "other"),
                    task_name=about.type,
                    dataset_type=about.dataset["path"],
                    dataset_name=f"{about.name} ({subset})",
                    dataset_config=subset,
                    dataset_split=split,
                    dataset_revision=about.dataset["revision"],
                    metric_type=about.main_score,
                    metric_name=about.main_score,
                    metric_value=score,
                    source_name="MTEB",
                    source_url="https://github.com/embeddings-benchmark/mteb/",
                )
