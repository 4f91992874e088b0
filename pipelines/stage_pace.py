"""How a stage's training goes on, as its metrics tell whoever looks."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.report import duration
from student.metrics import last_metrics, steps_per_second
from student.stage_config import StageConfig

_SILENT_LINES = 5
_SILENT_SECONDS = 120.0
"""A stage that has logged nothing for so many usual gaps between lines, and so long, has stopped,
or is at something else than steps: an evaluation, say."""


@dataclass(frozen=True)
class StagePace:
    """How a stage is getting on.

    Attributes:
        metrics: The last line of metrics of a step.
        seconds_ago: When it was written.
        steps_per_second: The pace of the steps before it; None if the line does not tell.
        steps_left: Steps behind it.
        log_every: Steps between two lines.
    """

    metrics: Mapping[str, Any]
    seconds_ago: float
    steps_per_second: float | None
    steps_left: int
    log_every: int

    @classmethod
    def of(cls, path: Path, stage: StageConfig) -> "StagePace | None":
        """Look at a stage's metrics.

        Args:
            path: Its ``metrics.jsonl``, which need not exist.
            stage: Its settings.

        Returns:
            Its pace; None before its first line.
        """
        metrics = last_metrics(path)
        if metrics is None:
            return None
        try:
            ago = max(time.time() - path.stat().st_mtime, 0.0)
            return cls(
                metrics=metrics,
                seconds_ago=ago,
                steps_per_second=steps_per_second(metrics, stage.batch_size),
                steps_left=max(stage.steps - int(metrics["step"]), 0),
                log_every=stage.log_every,
            )
        except (OSError, KeyError, TypeError, ValueError):
            return None

    @property
    def silent(self) -> bool:
        """Whether nothing has been logged for longer than a line takes."""
        pace = self.steps_per_second
        usual = _SILENT_LINES * self.log_every / pace if pace else 0.0
        return self.seconds_ago > max(usual, _SILENT_SECONDS)

    @property
    def seconds_left(self) -> float | None:
        """For the steps that are left, at this pace; None if that cannot be told."""
        return self.steps_left / self.steps_per_second if self.steps_per_second else None

    def as_words(self) -> list[str]:
        """The same for people."""
        words = [f"loss {self.metrics['loss']:.4f} at step {self.metrics['step']:,}"]
        pace, left = self.steps_per_second, self.seconds_left
        if pace is not None and left is not None:
            shown = f"{pace:.1f} steps/s" if pace >= 1 else f"{1 / pace:.1f} s a step"
            words += (
                [f"{shown} when it ran"] if self.silent else [shown, f"about {duration(left)} left"]
            )
        return [*words, f"last line {duration(self.seconds_ago)} ago"]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "steps_per_second": self.steps_per_second,
            "seconds_left": self.seconds_left,
            "last_line_seconds_ago": round(self.seconds_ago, 1),
        }
