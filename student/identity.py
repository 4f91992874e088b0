"""What a stage was trained under, and whether that is what is asked for now."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator

from data_prep.config import Settings
from data_prep.errors import PipeError
from data_prep.files import read_json
from data_prep.fingerprint import explain_change
from student.config import LossConfig, StudentConfig, TrainingConfig
from student.places import Places
from student.stage_config import StageConfig
from teacher_cache.shard_list import format_shards, parse_shards

if TYPE_CHECKING:
    from student.texts_known import TextsKnown


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


class AvailableShards(Settings):
    """The shards that a stage is trained on where it was begun before all of them had come.

    Attributes:
        ranges: Their numbers, such as ``0-99,120``.
        count: How many they are.
    """

    ranges: str
    count: int = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            found = len(self.numbers)
        except PipeError as error:
            raise ValueError(str(error)) from None
        if found != self.count:
            raise ValueError(f"found {found} shards in {self.ranges!r}, expected {self.count}")
        return self

    @classmethod
    def of(cls, shards: Iterable[int]) -> Self:
        """Describe some shards.

        Args:
            shards: Their numbers.
        """
        numbers = set(shards)
        return cls(ranges=format_shards(numbers), count=len(numbers))

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Their numbers, ascending."""
        return parse_shards(self.ranges)


class StageIdentity(Settings):
    """Everything that a stage was trained under; kept beside its checkpoints.

    Attributes:
        student: The recipe's student.
        losses: The recipe's loss weights.
        stages: The recipe's stages up to this one.
        training: How training runs, with every ``auto`` settled.
        teachers: The teachers in the order of the target's columns.
        corpus: The fingerprint of the corpus, or of the image-caption pairs.
        shards: What the training rows lie in; None where they are all training rows.
        earlier_shards: The same of every stage before; None where each was on all training rows.
        ranks: How many processes train, where their number decides the batches or the losses.
    """

    student: StudentConfig
    losses: LossConfig
    stages: tuple[StageConfig, ...]
    training: TrainingConfig
    teachers: tuple[TeacherShare, ...]
    corpus: str
    shards: AvailableShards | None = None
    earlier_shards: tuple[AvailableShards | None, ...] | None = None
    ranks: int | None = None

    @model_validator(mode="after")
    def _one_for_each(self) -> Self:
        if self.earlier_shards is not None and len(self.earlier_shards) != len(self.stages) - 1:
            raise ValueError("earlier_shards does not tell of every stage before")
        return self

    def as_of(self, earlier: "StageIdentity", texts: "TextsKnown") -> Self:
        """What an earlier stage would have been begun under, to compare with what it was.

        How training runs, on how many shards and in how many processes, may differ by stage; and
        a stage on images has rows and a teacher of its own, so that of an earlier one on texts is
        compared what this machine knows.

        Args:
            earlier: The earlier stage's record.
            texts: What is known here of what stages on texts are trained on.
        """
        kept = ("training", "shards", "earlier_shards", "ranks")
        update = {name: getattr(earlier, name) for name in kept}
        update["stages"] = self.stages[: len(earlier.stages)]
        if self.stages[-1].inputs == "images" and earlier.stages[-1].inputs == "texts":
            update |= {
                "corpus": earlier.corpus if texts.corpus is None else texts.corpus,
                "teachers": texts.beside(earlier.teachers),
            }
        return self.model_copy(update=update)

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the weights; names and log lines do not.

        Returns:
            JSON-like settings; two stages with the same give the same weights on one machine.
        """
        settings = self.model_dump(mode="json")
        used = self.student.with_wholes(head for stage in self.stages for head in stage.heads)
        settings["student"] = start_settings(self.student) | {
            key: {head: value for head, value in settings["student"][key].items() if head in used}
            for key in ("heads", "nested")
        }
        if any(stage.inputs == "images" for stage in self.stages):
            settings["student"]["vision"] = vision_settings(self.student)
        for stage in settings["stages"]:
            decides_nothing = ["name", "save_every", "evaluate_sets"]
            if stage["select"] != "best":
                decides_nothing += ["evaluate_every", "evaluate_spans", "metric"]
            if stage["select"] != "best" or stage["metric"].startswith("eval/"):
                decides_nothing += ["log_every"]  # a loss is the mean since the line before
            for key in decides_nothing:
                del stage[key]
        for key in ("readers", "keep_checkpoints", "sharding", "recompute"):
            del settings["training"][key]
        return settings


def start_settings(student: StudentConfig) -> dict[str, Any]:
    """The settings that decide a student before training.

    Args:
        student: The recipe's student.

    Returns:
        JSON-like settings. With the weights' digest given, it does not matter where they lie.
    """
    others = {"heads", "nested", "default_head", "vision", "license"}
    if student.sha256 is not None:
        others |= {"start", "revision"}
    return student.model_dump(mode="json", exclude=others)


def vision_settings(student: StudentConfig) -> dict[str, Any]:
    """The settings that decide a vision encoder before training.

    Args:
        student: The recipe's student, which has one.

    Returns:
        JSON-like settings. With the weights' digest given, it does not matter where they lie.
    """
    if student.vision is None:
        return {}
    others = {"license"} | ({"start", "revision"} if student.vision.sha256 is not None else set())
    return student.vision.model_dump(mode="json", exclude=others)


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


def earlier_records(places: Places, number: int) -> dict[int, StageIdentity]:
    """Read what the stages before one were begun under.

    Args:
        places: The run's students.
        number: The stage.

    Returns:
        By stage; without those whose record is gone.

    Raises:
        PipeError: As ``recorded_identity``.
    """
    found = {
        earlier: recorded_identity(places, earlier)
        for earlier in range(1, number)
        if places.identity(earlier).exists()
    }
    return {earlier: record for earlier, record in found.items() if record is not None}


def earlier_shards(
    earlier: Mapping[int, StageIdentity], number: int, recorded: StageIdentity | None
) -> tuple[AvailableShards | None, ...] | None:
    """The shards that the stages before one were trained on.

    Args:
        earlier: The records of those stages, by number.
        number: The stage.
        recorded: What the stage itself was begun under, if it was; it stands in for the record of
            a stage whose directory is gone.

    Returns:
        For each stage before, None for all training rows; None where each was on all of them.
    """
    known = recorded.earlier_shards if recorded is not None else None
    shards = list(known or (None,) * (number - 1))
    for stage, record in earlier.items():
        shards[stage - 1] = record.shards
    return tuple(shards) if any(shards) else None


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
