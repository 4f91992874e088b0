"""Where a run keeps its students: the start, and every stage's checkpoints and final weights."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from data_prep.files import sync, write_json

# The name that transformers.Trainer gives a checkpoint's directory.
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
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
        return self.checkpoints(number) / f"checkpoint-{step}"

    def final(self, number: int) -> Path:
        """A finished stage's student; the student's start for number 0."""
        return self.stage(number) / "final" if number else self.root / "start"

    @property
    def start_settings(self) -> Path:
        """The settings that the kept start was made from."""
        return self.root / "start.json"

    def finished(self, number: int) -> bool:
        """Whether a stage's final student is there; looks at the disk."""
        return (self.final(number) / "student.json").is_file()

    def last_finished(self, stages: int) -> int:
        """The last finished stage of so many, or 0; looks at the disk."""
        return max((n for n in range(1, stages + 1) if self.finished(n)), default=0)

    def last_checkpoint(self, number: int) -> int:
        """The step of the newest checkpoint that is whole, or 0; looks at the disk."""
        return max((step for step, path in self._checkpoints(number) if is_whole(path)), default=0)

    def remove_unfinished_checkpoints(self, number: int) -> None:
        """Remove the checkpoints that an interrupted process did not write to their end."""
        for _, path in self._checkpoints(number):
            if not is_whole(path):
                shutil.rmtree(path)

    def remove_old_checkpoints(self, number: int, keep: int) -> None:
        """Remove all but the newest checkpoints.

        Args:
            number: The stage.
            keep: How many stay.
        """
        for _, path in sorted(self._checkpoints(number))[:-keep]:
            shutil.rmtree(path)

    def _checkpoints(self, number: int) -> list[tuple[int, Path]]:
        found = [
            (_CHECKPOINT.fullmatch(path.name), path) for path in self.checkpoints(number).glob("*")
        ]
        return [(int(match[1]), path) for match, path in found if match]


def mark_whole(checkpoint: Path) -> None:
    """Say of a checkpoint that all of it is on disk; without that nobody resumes from it.

    Args:
        checkpoint: Its directory, completely written.
    """
    files = {path.name: path.stat().st_size for path in checkpoint.iterdir() if path.is_file()}
    for name in files:
        sync(checkpoint / name)
    write_json(checkpoint / _COMPLETE, files)


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end and has lost nothing since.

    Args:
        checkpoint: Its directory.
    """
    try:
        files = json.loads((checkpoint / _COMPLETE).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, AttributeError):
        return False
