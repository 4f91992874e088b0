"""Which step's weights a stage ends with: the last one's, the best one's, or those of a step."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data_prep.errors import PipeError
from data_prep.files import atomic_directory, read_json, write_json
from student.places import Places
from student.stage_config import StageConfig

Save = Callable[[Path], None]
"""Writes the student as it is now to a directory: ``Student.save``."""


@dataclass(frozen=True)
class Selected:
    """The step whose weights are kept.

    Attributes:
        step: The step.
        metric: What it was chosen by; None where it was named.
        value: The metric's value at that step.
    """

    step: int
    metric: str | None = None
    value: float | None = None

    def as_text(self) -> str:
        """The step for people, with its value."""
        measured = "" if self.value is None else f" ({self.metric} {self.value:.4f})"
        if self.metric is not None and self.value is None:
            measured = f", though {self.metric} was no number at any step"
        return f"step {self.step}{measured}"

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the record of a stage.

        Args:
            path: Its file, which need not exist.

        Returns:
            The record; None if there is none.

        Raises:
            PipeError: It is broken.
        """
        if not path.exists():
            return None
        data = read_json(path)
        try:
            return cls(int(data["step"]), data["metric"], data["value"])
        except (KeyError, TypeError, ValueError):
            raise PipeError(
                f"{path} does not say which step was selected; remove {path.parent} to train the "
                "stage anew."
            ) from None


class Selection:
    """Keeps the weights of the chosen step until the stage ends.

    The weights lie in ``stage-N/selected/step-S``; ``stage-N/selected.json`` says which of them
    count, and is written after them. It stays when the weights have become the final ones.
    """

    def __init__(self, places: Places, number: int, stage: StageConfig, save: Save) -> None:
        """Describe the choice; nothing is read or written yet.

        Args:
            places: Where the run's students lie.
            number: The stage's number.
            stage: What is selected, by which metric.
            save: Writes the student.
        """
        self.places = places
        self.number = number
        self.stage = stage
        self.save = save

    def resume(self, step: int, metrics: Sequence[str]) -> None:
        """Check what is kept against where training continues.

        Args:
            step: The step that training continues from; 0 forgets what an earlier attempt kept.
            metrics: The names that a metric may have.

        Raises:
            PipeError: The stage selects by a metric that is not measured; or the weights that
                should have been kept by now are gone.
        """
        metric = self.stage.metric
        if self.stage.select == "best" and metric not in metrics:
            raise PipeError(
                f"stage {self.number} ({self.stage.name}) selects by the metric {metric!r}, "
                f"expected one of {', '.join(metrics)}."
            )
        if not step:
            self.places.selected(self.number).unlink(missing_ok=True)
            shutil.rmtree(self.places.selected_weights(self.number), ignore_errors=True)
            return
        first = self.stage.selected_step or self.stage.evaluate_every
        kept = self._kept()
        wrong = self.stage.selected_step is not None and kept != Selected(first)
        if self.stage.select != "last" and step >= first and (kept is None or wrong):
            raise PipeError(
                f"stage {self.number} continues from step {step}, and the weights that "
                f"select = {self.stage.select!r} has kept by then are not in "
                f"{self.places.selected_weights(self.number)}; restore them, or remove "
                f"{self.places.stage(self.number)} to train the stage anew."
            )

    def offer(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Keep a step's weights if it is the best so far; an equal one is not better.

        Args:
            step: The step.
            metrics: What was measured behind it.

        Returns:
            Whether its weights are kept.
        """
        name = self.stage.metric
        if self.stage.select != "best" or name is None:
            return False
        value, kept = float(metrics[name]), self._kept()
        if kept is not None and not _better(name, value, kept.value):
            return False
        self._keep(Selected(step, name, value if math.isfinite(value) else None))
        return True

    def reached(self, step: int) -> bool:
        """Keep a step's weights if it is the one that the stage names.

        Args:
            step: The step.

        Returns:
            Whether its weights are kept.
        """
        if step != self.stage.selected_step:
            return False
        self._keep(Selected(step))
        return True

    def finish(self, final: Path) -> Selected | None:
        """Put the selected weights in the final place.

        Args:
            final: Where the stage's student belongs.

        Returns:
            What was selected; None if the stage ends with the weights of its last step, so that
            nothing was put anywhere.

        Raises:
            PipeError: The weights that were kept are gone.
        """
        if self.stage.select == "last":
            return None
        kept = self._kept()
        if kept is None:
            raise PipeError(
                f"found no selected weights in {self.places.selected_weights(self.number)}, "
                f"expected those of select = {self.stage.select!r}; restore them, or remove "
                f"{self.places.stage(self.number)} to train the stage anew."
            )
        with atomic_directory(final) as unfinished:
            shutil.copytree(self._weights(kept), unfinished, dirs_exist_ok=True)
        return kept

    def _keep(self, selected: Selected) -> None:
        weights = self._weights(selected)
        self.save(weights)
        record = {"step": selected.step, "metric": selected.metric, "value": selected.value}
        write_json(self.places.selected(self.number), record)
        for other in weights.parent.iterdir():
            if other != weights:
                shutil.rmtree(other)

    def _kept(self) -> Selected | None:
        kept = Selected.read(self.places.selected(self.number))
        return kept if kept and (self._weights(kept) / "student.json").is_file() else None

    def _weights(self, selected: Selected) -> Path:
        return self.places.selected_weights(self.number) / f"step-{selected.step}"


class SelectStep(TrainerCallback):
    """Keeps the weights of the step that a stage names."""

    def __init__(self, selection: Selection) -> None:
        """Say who keeps them.

        Args:
            selection: The stage's selection.
        """
        self.selection = selection

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Keep them when the step has been done."""
        self.selection.reached(state.global_step)


def _better(metric: str, value: float, than: float | None) -> bool:
    """Whether a value is better; one that is no number is worse than every other."""
    if not math.isfinite(value):
        return False
    if than is None:
        return True
    # What is measured in evaluation is an agreement or a score; all other metrics are losses.
    return value > than if metric.startswith("eval/") else value < than
