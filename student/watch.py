"""Watching a stage: one progress line and a metrics file."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from data_prep.files import atomic_write
from student.evaluating import evaluation_line
from student.stage_config import Inputs


class MetricsFile(TrainerCallback):
    """Appends every line of metrics to a JSONL file; a resumed stage continues it.

    For the first process alone, like all callbacks that write or measure; those of the other
    processes have none.
    """

    def __init__(self, path: Path, resumed_at: int) -> None:
        """Open the file.

        Args:
            path: The JSONL file.
            resumed_at: Lines of later steps belong to an interrupted run and are dropped.
        """
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if 0 < _step_of(line) <= resumed_at]
        with atomic_write(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Append a line."""
        if logs and is_line_of_metrics(logs):
            with self.path.open("a") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def is_line_of_metrics(logs: Mapping[str, float]) -> bool:
    """Whether what the library logs is a step's metrics or an evaluation, and no summary.

    Args:
        logs: What is logged.
    """
    return "loss" in logs or bool(evaluation_line(logs))


def _step_of(line: str) -> int:
    """The step of a line of metrics; 0 for half a line, as a kill can leave one."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 0


def _is_term(key: str) -> bool:
    """Whether a metric is a head's loss, such as ``fc1/cosine``, and no share of time."""
    return "/" in key and not key.startswith("time/")


class ProgressLine(TrainerCallback):
    """One bar on a terminal, plain lines in a log."""

    def __init__(
        self, title: str, batch_size: int, report: Callable[[str], None], inputs: Inputs = "texts"
    ) -> None:
        """Describe the line.

        Args:
            title: The stage.
            batch_size: Texts or images in a step.
            report: Takes each plain line where there is no terminal.
            inputs: Which of them.
        """
        self.title = title
        self.batch_size = batch_size
        self.report = report
        self.inputs = inputs
        self.bar: tqdm[Any] | None = None
        self.began = 0.0
        self.first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock, and the bar on a terminal."""
        self.began = time.monotonic()
        self.first_step = state.global_step
        if sys.stderr.isatty():
            self.bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc=self.title, unit="step"
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Say step, losses, rate and time left."""
        if not logs:
            return
        if measured := evaluation_line(logs):
            line = f"{self.title}  step {state.global_step}/{state.max_steps}  {measured}"
            (self.report if self.bar is None else self.bar.write)(line)
        if "loss" not in logs:
            return
        terms = "  ".join(f"{key} {value:.4f}" for key, value in logs.items() if _is_term(key))
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {logs['loss']:.4f}")
            return
        seconds = time.monotonic() - self.began
        steps = state.global_step - self.first_step
        left = (state.max_steps - state.global_step) * seconds / steps
        self.report(
            f"{self.title}  step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  "
            f"{terms}  {steps * self.batch_size / seconds:.0f} {self.inputs}/s  {left:.0f} s left"
        )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
