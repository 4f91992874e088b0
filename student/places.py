"""Where a run keeps its students: the start, and every stage's checkpoints and final weights."""

import shutil
from dataclasses import dataclass
from pathlib import Path

# The name that transformers.Trainer gives a checkpoint's directory.
_CHECKPOINT = "checkpoint-"
_COMPLETE = "complete.json"


@dataclass(frozen=True)
class Places:
    """Paths below a run's ``student`` directory; pure arithmetic unless it says otherwise.

    Attributes:
        root: The ``student`` directory.
    """

    root: Path

    def stage(self, number: int) -> Path:
        """A stage's directory."""
        return self.root / f"stage-{number}"

    def identity(self, number: int) -> Path:
        """The settings that a stage was begun with."""
        return self.stage(number) / "stage.json"

    def metrics(self, number: int) -> Path:
        """A stage's metrics, one JSON object a line."""
        return self.stage(number) / "metrics.jsonl"

    def checkpoints(self, number: int) -> Path:
        """The directory of a stage's checkpoints."""
        return self.stage(number) / "checkpoints"

    def checkpoint(self, number: int, step: int) -> Path:
        """The checkpoint behind a step."""
        return self.checkpoints(number) / f"{_CHECKPOINT}{step}"

    def final(self, number: int) -> Path:
        """A finished stage's student; the student's start for number 0."""
        return self.stage(number) / "final" if number else self.root / "start"

    def finished(self, number: int) -> bool:
        """Whether a stage's final student is there; looks at the disk."""
        return (self.final(number) / "student.json").is_file()

    def last_finished(self, stages: int) -> int:
        """The last finished stage of so many, or 0; looks at the disk."""
        return max((n for n in range(1, stages + 1) if self.finished(n)), default=0)

    def last_checkpoint(self, number: int) -> int:
        """The step of the newest checkpoint that was written to its end, or 0."""
        whole = self.checkpoints(number).glob(f"{_CHECKPOINT}*/{_COMPLETE}")
        return max((int(mark.parent.name.removeprefix(_CHECKPOINT)) for mark in whole), default=0)

    def remove_unfinished_checkpoints(self, number: int) -> None:
        """Remove the checkpoints that an interrupted process did not write to their end."""
        for path in self.checkpoints(number).glob(f"{_CHECKPOINT}*"):
            if not complete_mark(path).is_file():
                shutil.rmtree(path)


def complete_mark(checkpoint: Path) -> Path:
    """The file that says that a checkpoint is whole.

    Args:
        checkpoint: The checkpoint's directory.
    """
    return checkpoint / _COMPLETE
