"""What the stages of a run share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.errors import PipeError
from student.config import LoggingConfig, LossConfig, StudentConfig, TrainingConfig
from student.places import Places
from student.stage_config import StageConfig
from student.stage_rows import RowChoice
from teacher_cache.config import TeacherConfig
from teacher_cache.open_store import RemoteStore

Report = Callable[[str], None]
"""Takes a line for the user."""


@dataclass(frozen=True)
class StageData:
    """The rows that a stage reads, and the vectors that its target is made from.

    Attributes:
        corpus: The corpus directory.
        store: The store directory, or where the store lies and the cache for it.
        teachers: The teachers in the target, in order, with the recipe's settings.
    """

    corpus: Path
    store: Path | RemoteStore
    teachers: Sequence[TeacherConfig]

    @property
    def weights(self) -> dict[str, float]:
        """The teachers' names, in the order of the target's columns, and the weight of each."""
        return {teacher.name: teacher.weight for teacher in self.teachers}


@dataclass(frozen=True)
class Distillation:
    """Everything that the stages of a run share.

    Attributes:
        texts: What stages on texts read.
        places: Where the start, the checkpoints and the final weights go.
        student: The recipe's student.
        losses: The recipe's loss weights.
        stages: The recipe's stages.
        training: How training runs.
        rows: Which rows a stage takes when it begins: ``all``, or those of the ``available``
            shards, which every teacher in the target has committed by then.
        sets: The recipe's directory of evaluation sets, if it names one.
        pairs: What stages on images read: image-caption pairs, and the captions' vectors by the
            student of the stage before; None where the recipe has none.
        logging: Where metrics go besides the run's own files.
    """

    texts: StageData
    places: Places
    student: StudentConfig
    losses: LossConfig
    stages: Sequence[StageConfig]
    training: TrainingConfig
    rows: RowChoice = "all"
    sets: Path | None = None
    pairs: StageData | None = None
    logging: LoggingConfig = field(default_factory=LoggingConfig)

    def data(self, number: int) -> StageData:
        """What a stage reads.

        Args:
            number: The stage, from 1.

        Raises:
            PipeError: It trains on images, and the recipe has no image-caption pairs.
        """
        if self.stages[number - 1].inputs == "texts":
            return self.texts
        if self.pairs is None or self.student.vision is None:
            missing = "student.vision" if self.student.vision is None else "pairs"
            raise PipeError(
                f"{self.title(number)} trains on images, and the recipe has no {missing}; add it, "
                "as docs/images.md says."
            )
        return self.pairs

    @property
    def target_width(self) -> int:
        """T: the widths of the teachers in the target together."""
        return sum(teacher.dim for teacher in self.texts.teachers)

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
