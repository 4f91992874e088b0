"""What a stage was trained under, and whether that is what is asked for now."""

from typing import Any

from pydantic import ValidationError

from data_prep.config import Settings
from data_prep.errors import PipeError
from data_prep.files import read_json
from data_prep.fingerprint import explain_change
from student.config import LossConfig, StageConfig, StudentConfig, TrainingConfig
from student.places import Places


class TeacherShare(Settings):
    """One teacher's part in the target.

    Attributes:
        name: The teacher.
        weight: Its share of the target's similarities.
        fingerprint: Of what decides its vectors.
    """

    name: str
    weight: float
    fingerprint: str


class StageIdentity(Settings):
    """Everything that a stage was trained under; kept beside its checkpoints.

    Attributes:
        student: The recipe's student.
        losses: The recipe's loss weights.
        stages: The recipe's stages up to this one.
        training: How training runs, with every ``auto`` settled.
        teachers: The teachers in the order of the target's columns.
        corpus: The corpus's fingerprint.
    """

    student: StudentConfig
    losses: LossConfig
    stages: tuple[StageConfig, ...]
    training: TrainingConfig
    teachers: tuple[TeacherShare, ...]
    corpus: str

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the weights; names and log lines do not.

        Returns:
            JSON-like settings; two stages with the same give the same weights on one machine.
        """
        settings = self.model_dump(mode="json")
        used = {head for stage in self.stages for head in stage.heads}
        settings["student"] = start_settings(self.student) | {
            "heads": {head: width for head, width in self.student.heads.items() if head in used}
        }
        for stage in settings["stages"]:
            for key in ("name", "log_every", "save_every"):
                del stage[key]
        for key in ("readers", "keep_checkpoints"):
            del settings["training"][key]
        return settings


def start_settings(student: StudentConfig) -> dict[str, Any]:
    """The settings that decide a student before training.

    Args:
        student: The recipe's student.

    Returns:
        JSON-like settings. With the weights' digest given, it does not matter where they lie.
    """
    others = {"heads", "default_head", "license"}
    if student.sha256 is not None:
        others |= {"start", "revision"}
    return student.model_dump(mode="json", exclude=others)


def recorded_identity(places: Places, number: int) -> StageIdentity | None:
    """Read what a stage was begun under.

    Args:
        places: The run's students.
        number: The stage.

    Returns:
        The settings, or None where the stage was not begun. A setting that is newer than the
        record has its default, which is what the stage was trained under.

    Raises:
        PipeError: The record is broken, or it is gone though the stage has weights.
    """
    path = places.identity(number)
    if not path.exists():
        if places.finished(number) or places.last_checkpoint(number):
            raise PipeError(
                f"{path} is missing beside the weights of stage {number}, so nobody can tell what "
                f"they were trained under; restore it, or remove {path.parent} to train anew."
            )
        return None
    try:
        return StageIdentity.model_validate(read_json(path))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise PipeError(
            f"{path} does not describe a stage (wrong: {where}); restore it, or remove "
            f"{path.parent} to train anew."
        ) from None


def require_same(recorded: StageIdentity, wanted: StageIdentity, places: Places) -> None:
    """Refuse to continue a stage under settings that would give other weights.

    Args:
        recorded: What the stage was begun under.
        wanted: What is asked for now.
        places: The run's students.

    Raises:
        PipeError: Something that decides the weights changed; it is named, from what to what.
    """
    change = explain_change(recorded.deciding(), wanted.deciding())
    if change:
        number = len(recorded.stages)
        raise PipeError(
            f"stage {number} was begun under other settings: {change}. Set them back, use another "
            f"--run, or remove {places.stage(number)} and the stages after it to train anew."
        )
