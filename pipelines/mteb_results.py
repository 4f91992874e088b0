"""A student's results on MTEB's tasks, as its model card tells them."""

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from pipelines.report import say
from pipelines.run import Run

_SHORTEST_REVISION = 8
_OF_THE_MODEL = "model_meta.json"


def mteb_results(run: Run, weights: str, head: str) -> tuple[EvalResult, ...]:
    """Read what the mteb library has measured of a student.

    mteb keeps results as ``MODEL/REVISION/TASK.json``; they count where the model's name ends with
    the head's, and the revision is the digest of the weights or its beginning.

    Args:
        run: The run; the results lie somewhere below the directory of its evaluation.
        weights: Digest of the student's weights.
        head: The head in use.

    Returns:
        One result for each task, split and subset, in mteb's own words. None of tasks that mteb
        does not know, such as the user's own; none at all where mteb is not installed, which a
        line then says.
    """
    found = [path for path in sorted(run.results.parent.rglob("*.json")) if _is_of(path, weights)]
    found = [path for path in found if path.parent.parent.name.endswith(head)]
    if not found:
        return ()
    try:
        from mteb.results import TaskResult  # noqa: PLC0415 - large, and needed here alone
    except ImportError:
        say("mteb is not installed, so the card omits its results (pip install mteb)")
        return ()
    return tuple(result for path in found for result in _results(TaskResult, path))


def _is_of(path: Path, weights: str) -> bool:
    revision = path.parent.name
    return (
        path.name != _OF_THE_MODEL
        and len(revision) >= _SHORTEST_REVISION
        and weights.startswith(revision)
    )


def _results(reader: Any, path: Path) -> list[EvalResult]:
    try:
        results: list[EvalResult] = reader.from_disk(path).get_hf_eval_results()
    except KeyError:  # no task of mteb's
        return []
    except ValueError:
        say(f"{path} holds no result of mteb's; the card omits it")
        return []
    return results
