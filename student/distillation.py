"""What the stages of a run share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from student.config import LossConfig, StageConfig, StudentConfig, TrainingConfig
from student.places import Places
from student.stage_rows import RowChoice
from teacher_cache.config import TeacherConfig
from teacher_cache.open_store import RemoteStore

Report = Callable[[str], None]
"""Takes a line for the user."""


@dataclass(frozen=True)
class Distillation:
    """Everything that the stages of a run share.

    Attributes:
        corpus: The corpus directory.
        store: The store directory, or where the store lies and the cache for it.
        places: Where the start, the checkpoints and the final weights go.
        teachers: The teachers in the target, in order, with the recipe's settings.
        student: The recipe's student.
        losses: The recipe's loss weights.
        stages: The recipe's stages.
        training: How training runs.
        rows: Which rows a stage takes when it begins: ``all``, or those of the ``available``
            shards, which every teacher in the target has committed by then.
        sets: The recipe's directory of evaluation sets, if it names one.
    """

    corpus: Path
    store: Path | RemoteStore
    places: Places
    teachers: Sequence[TeacherConfig]
    student: StudentConfig
    losses: LossConfig
    stages: Sequence[StageConfig]
    training: TrainingConfig
    rows: RowChoice = "all"
    sets: Path | None = None

    @property
    def weights(self) -> dict[str, float]:
        """The teachers' names, in the order of the target's columns, and the weight of each."""
        return {teacher.name: teacher.weight for teacher in self.teachers}

    @property
    def target_width(self) -> int:
        """T: the widths of the teachers in the target together."""
        return sum(teacher.dim for teacher in self.teachers)

    @property
    def head_widths(self) -> dict[str, int]:
        """D: the width of every head of the recipe."""
        return {
            head: self.target_width if width == "target" else width
            for head, width in self.student.heads.items()
        }

    def title(self, number: int) -> str:
        """A stage, for people.

        Args:
            number: The stage, from 1.
        """
        return f"stage {number} ({self.stages[number - 1].name})"
