"""How much scores hang on the words of an instruction, as it is kept: a table for each model."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from pipelines.report_page.facts import Table


class _Changed(BaseModel):
    """A difference with its interval, if it has one."""

    low: float | None
    high: float | None

    def text(self, value: float) -> str:
        within = "" if self.low is None else f" [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{value:+.2f}{within}"


class _Task(_Changed):
    task: str
    none: float
    instruction: float
    paraphrase: float
    difference: float


class _Model(_Changed):
    model: str
    template: str
    instructed: bool
    tasks: tuple[_Task, ...]
    mean_none: float | None
    mean_instruction: float | None
    mean_paraphrase: float | None
    mean_difference: float | None


class _Paper(BaseModel):
    source: str
    model: str
    count: int
    instruction: float
    paraphrase: float
    difference: float


def wording_tables(kept: Any) -> Iterator[Table]:
    """Scores without an instruction, with it, and with other words for it.

    Args:
        kept: What ``robustness.json`` holds.

    Yields:
        A table for each model that has a score.

    Raises:
        ValueError: It has another shape.
        KeyError: A part of it is missing.
    """
    paper = _Paper.model_validate(kept["paper"])
    for part in kept["models"]:
        model = _Model.model_validate(part)
        if model.mean_difference is None:
            continue
        rows = [
            (
                task.task,
                *_cells(task.none, task.instruction, task.paraphrase),
                task.text(task.difference),
            )
            for task in model.tasks
        ]
        means = (model.mean_none, model.mean_instruction, model.mean_paraphrase)
        rows.append(("mean", *_cells(*means), model.text(model.mean_difference)))
        known = (paper.instruction, paper.paraphrase)
        rows.append(
            (
                f"{paper.model}, {paper.count} tasks",
                *_cells(None, *known),
                f"{paper.difference:+.2f}",
            )
        )
        note = f"{paper.model}: {paper.source}."
        if not model.instructed:
            note = (
                f"The model was not trained with instructions; they stand behind the template "
                f"{model.template!r}. {note}"
            )
        header = ("", "without", "instruction", "paraphrase", "difference")
        yield Table(f"Instructions in other words: {model.model}", header, tuple(rows), note)


def _cells(*values: float | None) -> tuple[str, ...]:
    return tuple("" if value is None else f"{value:.2f}" for value in values)
