"""Where a run keeps its students: the start, and every stage's checkpoints and final weights."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import PipeError
from data_prep.files import read_json, sha256_file, sync, write_json

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

    def tensorboard(self, number: int) -> Path:
        """The directory of a stage's metrics for TensorBoard."""
        return self.stage(number) / "tensorboard"

    def wandb(self, number: int) -> Path:
        """What a stage is called at Weights & Biases."""
        return self.stage(number) / "wandb.json"

    def checkpoints(self, number: int) -> Path:
        """The directory of a stage's checkpoints."""
        return self.stage(number) / "checkpoints"

    def checkpoint(self, number: int, step: int) -> Path:
        """The checkpoint behind a step."""
        return self.checkpoints(number) / f"checkpoint-{step}"

    def pooled(self, number: int) -> Path:
        """The directory of a stage's pooled states, while it trains."""
        return self.stage(number) / "pooled"

    def selected(self, number: int) -> Path:
        """Which step's weights a stage keeps or ended with."""
        return self.stage(number) / "selected.json"

    def selected_weights(self, number: int) -> Path:
        """The directory of the weights that a stage keeps while it trains."""
        return self.stage(number) / "selected"

    def final(self, number: int) -> Path:
        """A finished stage's student; the student's start for number 0."""
        return self.stage(number) / "final" if number else self.root / "start"

    def vision_start(self, number: int) -> Path:
        """The vision encoder that a stage adds, as it was before training, while it trains."""
        return self.stage(number) / "vision-start"

    def vision_start_settings(self, number: int) -> Path:
        """The settings that it was made from."""
        return self.stage(number) / "vision-start.json"

    @property
    def start_settings(self) -> Path:
        """The settings that the kept start was made from."""
        return self.root / "start.json"

    @property
    def start_width(self) -> int | None:
        """H of the kept start; None where there is none. Looks at the disk."""
        try:
            config = json.loads((self.final(0) / "backbone" / "config.json").read_text("utf-8"))
            return int(config["hidden_size"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

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

    def clear_scratch(self, number: int) -> None:
        """Remove what a stage needs only while it trains; its checkpoints stay."""
        self.vision_start_settings(number).unlink(missing_ok=True)
        for scratch in (
            self.pooled(number),
            self.selected_weights(number),
            self.vision_start(number),
        ):
            shutil.rmtree(scratch, ignore_errors=True)

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
    files = [path for path in checkpoint.iterdir() if path.is_file()]
    for path in files:
        sync(path)
    record = {p.name: {"bytes": p.stat().st_size, "sha256": sha256_file(p)} for p in files}
    write_json(checkpoint / _COMPLETE, record)


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end and has lost nothing since, by its files' sizes.

    Args:
        checkpoint: Its directory.
    """
    try:
        files = json.loads((checkpoint / _COMPLETE).read_text(encoding="utf-8")).items()
        return all((checkpoint / name).stat().st_size == file["bytes"] for name, file in files)
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return False


def require_unchanged(checkpoint: Path) -> None:
    """Check that every byte of a whole checkpoint is as it was written.

    Args:
        checkpoint: Its directory.

    Raises:
        PipeError: A file is not; it is named.
    """
    for name, file in read_json(checkpoint / _COMPLETE).items():
        if sha256_file(checkpoint / name) != file["sha256"]:
            raise PipeError(
                f"{checkpoint / name} is not what was written there; remove {checkpoint} to go on "
                "from the checkpoint before it."
            )
