"""What others measured: the paper's Table 1, and results in mteb's own layout."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.errors import PipeError
from student.evaluation.comparison import Scores
from student.evaluation.lines import MEAN, MEAN_BY_TYPE, tasks_by_kind
from student.evaluation.mteb_library import quietly

PAPER_BENCHMARK = "MTEB(eng, v1)"
"""The paper's 56 sets, as mteb calls them."""

PAPER_MODELS = {
    "NV-Embed-v2": "nvidia/NV-Embed-v2",
    "stella_en_1.5B_v5": "NovaSearch/stella_en_1.5B_v5",
    "Jasper": "NovaSearch/jasper_en_vision_language_v1",
}
"""Where the hub has the models of Table 1."""

_TYPES = (
    "Classification",
    "Clustering",
    "PairClassification",
    "Reranking",
    "Retrieval",
    "STS",
    "Summarization",
)
# arXiv 2412.19048v2, Table 1: MTEB, 56 sets, of 24 December 2024. The mean over the sets, then the
# mean of each type in the order above.
_TABLE_1 = {
    "NV-Embed-v2": (72.31, 90.37, 58.46, 88.67, 60.65, 62.65, 84.31, 30.70),
    "stella_en_1.5B_v5": (71.19, 87.63, 57.69, 88.07, 61.21, 61.01, 84.51, 31.49),
    "Jasper": (71.54, 88.49, 58.04, 88.07, 60.91, 61.33, 84.67, 31.42),
}


def paper_scores(kinds: Mapping[str, str]) -> tuple[Scores, ...]:
    """The paper's Table 1.

    Args:
        kinds: The type of each of the benchmark's tasks.

    Returns:
        Each model with its score by line: the types, the mean, and the mean by type, which the
        paper does not print and which is that of its types.
    """
    counts = {kind: len(tasks) for kind, tasks in tasks_by_kind(list(kinds), kinds).items()}
    found = []
    for model, (mean, *by_type) in _TABLE_1.items():
        lines = {
            f"{kind} ({counts.get(kind, 0)})": score
            for kind, score in zip(_TYPES, by_type, strict=True)
        }
        lines |= {MEAN: mean, MEAN_BY_TYPE: sum(by_type) / len(by_type)}
        found.append(Scores(f"{model} (paper)", published=lines))
    return tuple(found)


def published_scores(
    directory: Path,
    models: Sequence[str],
    tasks: Sequence[Any],
    pinned: Mapping[str, str] | None = None,
) -> tuple[Scores, ...]:
    """Results that lie in mteb's layout: its results repository, or any cache of results.

    Args:
        directory: Holds ``results/MODEL/REVISION/TASK.json``.
        models: The models to look for, as the hub names them.
        tasks: mteb's tasks; only their own splits and languages count.
        pinned: The revision to take of a model, if it is there.

    Returns:
        Each model that has a result on any of the tasks, all of one revision: the pinned one, or
        else that of the most tasks, or else the first by name. A task that was not measured whole
        is left out.

    Raises:
        PipeError: The directory holds no results.
    """
    if directory.name == "results" and not (directory / "results").is_dir():
        directory = directory.parent
    if not any((directory / place).is_dir() for place in ("results", "remote/results")):
        raise PipeError(
            f"found no directory {directory / 'results'}; expected a checkout of mteb's results "
            "repository or a cache of its results, with results/MODEL/REVISION/TASK.json."
        )
    from mteb import ResultCache  # noqa: PLC0415  an extra

    with quietly():
        found = ResultCache(directory).load_results(
            models=list(models),
            tasks=list(tasks),
            require_model_meta=False,
            validate_and_filter=True,
            load_experiments="no_experiments",
        )
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for result in found:
        own = scores.setdefault(result.model_name, {}).setdefault(str(result.model_revision), {})
        for one in result.task_results:
            score = 100 * float(one.get_score())
            if math.isfinite(score):
                own[one.task_name] = score
    chosen = {model: _one_revision(own, (pinned or {}).get(model)) for model, own in scores.items()}
    return tuple(Scores(f"{model} (published)", own) for model, own in chosen.items() if own)


def _one_revision(
    found: Mapping[str, Mapping[str, float]], pinned: str | None
) -> Mapping[str, float]:
    best = min(found, key=lambda name: (name != pinned, -len(found[name]), name))
    return found[best]
