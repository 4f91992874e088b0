"""How much a model's scores hang on the words of an instruction (paper, section 4.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from student.evaluation.comparison import Scores
from student.evaluation.intervals import Estimate, gain
from student.evaluation.items import resampled
from student.evaluation.lines import MEAN
from student.evaluation.paraphrases import Wording
from student.evaluation.plain_table import aligned
from student.evaluation.published_robustness import PAPER_MEANS, PAPER_SCORES
from student.evaluation.tasks import Measured

_PAPER = "arXiv 2412.19048v2, Table 3"


@dataclass(frozen=True)
class TaskScores:
    """One model on one task, under every wording.

    Attributes:
        wording: The instruction and its paraphrases.
        none: What it got without any instruction.
        instruction: What it got with the instruction.
        paraphrases: What it got with each paraphrase.
    """

    wording: Wording
    none: Measured
    instruction: Measured
    paraphrases: tuple[Measured, ...]

    @property
    def paraphrase(self) -> float:
        """The mean of the paraphrases' scores."""
        return float(np.mean([one.score for one in self.paraphrases]))


@dataclass(frozen=True)
class ModelScores:
    """One model on all tasks.

    Attributes:
        model: What the table calls it.
        template: How the instruction stands in front of a text.
        instructed: Whether the model's own prompts take an instruction.
        tasks: By name of task.
        failed: By name of task, a sentence on why it is not measured.
    """

    model: str
    template: str
    instructed: bool
    tasks: Mapping[str, TaskScores]
    failed: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def differences(self) -> Mapping[str, Estimate]:
        """Paraphrase minus instruction in points, by task, and their ``mean``.

        The intervals are paired: the same items are drawn for both.
        """
        known = {name: one for name, one in self.tasks.items() if _has_items(one)}
        before = Scores(
            self.model,
            {name: one.instruction.score for name, one in self.tasks.items()},
            resampled={name: _draws((one.instruction,), name) for name, one in known.items()},
        )
        after = Scores(
            self.model,
            {name: one.paraphrase for name, one in self.tasks.items()},
            resampled={name: _draws(one.paraphrases, name) for name, one in known.items()},
        )
        return gain(after, before, {})

    def as_dict(self) -> dict[str, Any]:
        """The model as JSON-like data, as ``robustness_dict`` says."""
        rows = [_task_dict(name, one, self.differences[name]) for name, one in self.tasks.items()]
        mean = self.differences.get(MEAN)
        return {
            "model": self.model,
            "template": self.template,
            "instructed": self.instructed,
            "tasks": rows,
            **{f"mean_{key}": _mean([row[key] for row in rows]) for key in _COLUMNS},
            "mean_difference": mean.value if mean else None,
            "low": mean.low if mean else None,
            "high": mean.high if mean else None,
            "over": mean.over if mean else None,
            "failed": dict(self.failed),
        }


_COLUMNS = ("none", "instruction", "paraphrase")


def robustness_dict(models: Sequence[ModelScores]) -> dict[str, Any]:
    """Write a measurement as JSON-like data.

    Args:
        models: What was measured.

    Returns:
        ``models``: a list of objects of ``model``, ``template``, ``instructed`` (whether its own
        prompts take an instruction), ``tasks``, ``mean_none``, ``mean_instruction``,
        ``mean_paraphrase``, ``mean_difference`` with ``low``, ``high`` and ``over`` (``items`` or
        ``tasks``; all null where nothing could be resampled), and ``failed`` (by task, a sentence).
        ``tasks``: a list of objects of ``task``, ``none``, ``instruction``, ``paraphrase`` (the
        mean over the paraphrases), ``difference`` (paraphrase minus instruction), ``low``,
        ``high``, and ``texts`` (``instruction``, and ``paraphrases``: a list of ``text`` and
        ``score``). Scores are x 100. ``paper``: ``source``, ``model``, ``count`` (of tasks),
        ``instruction``, ``paraphrase``, ``difference`` (means over them), and ``tasks``: those of
        the tasks above that the paper has, with the same three keys.
    """
    names = {name for model in models for name in model.tasks}
    before, after = PAPER_MEANS
    shared = [
        {"task": task, "instruction": one, "paraphrase": other, "difference": round(other - one, 1)}
        for task, (one, other) in PAPER_SCORES.items()
        if task in names
    ]
    return {
        "models": [model.as_dict() for model in models],
        "paper": {
            "source": _PAPER,
            "model": "Jasper",
            "count": len(PAPER_SCORES),
            "instruction": before,
            "paraphrase": after,
            "difference": round(after - before, 1),
            "tasks": shared,
        },
    }


def render_robustness(models: Sequence[ModelScores]) -> str:
    """Write a measurement for people: a table for each model.

    Args:
        models: What was measured.

    Returns:
        Plain text.
    """
    return "\n\n".join(_table(model) for model in models)


def _table(model: ModelScores) -> str:
    data = model.as_dict()
    rows = [
        [row["task"], *(f"{row[key]:.2f}" for key in _COLUMNS), _difference(model, row["task"])]
        for row in data["tasks"]
    ]
    blocks = [rows]
    if rows:
        means = (f"{data[f'mean_{key}']:.2f}" for key in _COLUMNS)
        blocks.append([[MEAN, *means, _difference(model, MEAN)]])
    before, after = PAPER_MEANS
    paper = [f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}"]
    blocks.append([[f"Jasper, {len(PAPER_SCORES)} tasks (paper)", "", *paper]])
    lines = [model.model]
    if not model.instructed:
        lines.append(
            f"its prompts take no instruction; measured behind {model.template!r}, which it was "
            "not trained with"
        )
    header = ["", "without", "instruction", "paraphrase", "difference"]
    lines.append(aligned(header, blocks))
    lines += model.failed.values()
    return "\n".join(lines)


def _difference(model: ModelScores, line: str) -> str:
    return model.differences[line].text("+.2f")


def _task_dict(name: str, scores: TaskScores, difference: Estimate) -> dict[str, Any]:
    texts = zip(scores.wording.paraphrases, scores.paraphrases, strict=True)
    return {
        "task": name,
        "none": scores.none.score,
        "instruction": scores.instruction.score,
        "paraphrase": scores.paraphrase,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "texts": {
            "instruction": scores.wording.instruction,
            "paraphrases": [{"text": text, "score": one.score} for text, one in texts],
        },
    }


def _has_items(scores: TaskScores) -> bool:
    return all(one.items is not None for one in (scores.instruction, *scores.paraphrases))


def _draws(measured: Sequence[Measured], name: str) -> np.ndarray:
    """Scores of resamples, (R,), the mean over several wordings."""
    drawn = [resampled(one.items, name) for one in measured if one.items is not None]
    mean: np.ndarray = np.mean(drawn, axis=0)
    return mean


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
