"""The recipe: every number of a run, read from TOML into validated objects."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field, ValidationError, model_validator

from data_prep.config import CorpusConfig, Settings
from data_prep.errors import UsageError
from data_prep.files import atomic_write
from data_prep.pairs.config import PairsConfig
from data_prep.settings_errors import nearest, setting_sentences
from pipelines.overrides import apply_override
from student.config import (
    CAPTIONS_TEACHER,
    LoggingConfig,
    LossConfig,
    StudentConfig,
    TrainingConfig,
)
from student.stage_config import StageConfig
from teacher_cache.config import TeacherConfig
from teacher_cache.teachers import resolve_teacher


class EvaluationConfig(Settings):
    """What a student is measured on.

    Attributes:
        sets: A directory of evaluation sets (``sts/``, ``retrieval/``, ``classification/``).
        held_out_spans: How many held-out rows are compared with the target.
        speed_texts: How many held-out texts the encoding speed is measured on.
        example_query: A question for the search that ends a run; empty shows none.
        class_captions: What a class of images is called in zero-shot classification, with ``{}``
            for its label; the mean of several stands for the class.
    """

    sets: str | None = None
    held_out_spans: int = Field(default=512, gt=2)
    speed_texts: int = Field(default=256, gt=0)
    example_query: str = ""
    class_captions: tuple[str, ...] = Field(default=("{}",), min_length=1)


class Recipe(Settings):
    """Everything that a run is made from.

    Attributes:
        name: Stands in logs and in the model card.
        corpus: Sources, spans and mixture.
        teachers: The teachers in the order in which their vectors are concatenated; all are
            encoded, and those with a weight above 0 make up the target.
        student: Start and heads.
        losses: Weights of the losses.
        stages: What trains, stage by stage.
        training: How training runs on a machine.
        evaluation: What the student is measured on.
        pairs: Image-caption pairs, for stages on images.
        logging: Where metrics go besides the run's own files.
    """

    name: str
    corpus: CorpusConfig
    teachers: tuple[TeacherConfig, ...] = Field(min_length=1)
    student: StudentConfig
    losses: LossConfig
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    pairs: PairsConfig | None = None
    logging: LoggingConfig = LoggingConfig()

    @model_validator(mode="before")
    @classmethod
    def _fill_in_teachers(cls, data: Any) -> Any:
        teachers = data.get("teachers") if isinstance(data, dict) else None
        if not isinstance(teachers, list):
            return data
        rows = []
        for row in teachers:
            if isinstance(row, dict) and "name" in row and "kind" not in row:
                overrides = {key: value for key, value in row.items() if key != "name"}
                rows.append(resolve_teacher(str(row["name"]), overrides))
            else:
                rows.append(row)
        return {**data, "teachers": rows}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [teacher.name for teacher in self.teachers]
        if len(set(names)) < len(names):
            raise ValueError(f"teachers are {names}; expected each name once")
        if not self.target_weights:
            raise ValueError("every teacher has weight 0; expected one at least in the target")
        self._require_pairs(names)
        for number, stage in enumerate(self.stages):
            if stage.evaluate_sets and self.evaluation.sets is None:
                raise ValueError(
                    f"stages.{number} has evaluate_sets, and evaluation.sets names no directory"
                )
            used = sorted({name for losses in stage.heads.values() for name in losses})
            if not any(getattr(self.losses, name) for name in used):
                raise ValueError(
                    f"stages.{number} has losses of weight 0 alone, so nothing would be learnt; "
                    f"give one of {', '.join(f'losses.{name}' for name in used)} a weight"
                )
            for head in stage.heads:
                if head not in self.student.heads:
                    raise ValueError(
                        f"stages.{number} has losses on the head {head!r}, which is not in "
                        f"student.heads{nearest(head, list(self.student.heads))}"
                    )
        return self

    def _require_pairs(self, teachers: Sequence[str]) -> None:
        kinds = [stage.inputs for stage in self.stages]
        if "images" not in kinds:
            return
        first = kinds.index("images")
        missing = [
            name
            for name, found in (("pairs", self.pairs), ("student.vision", self.student.vision))
            if found is None
        ]
        if missing:
            raise ValueError(
                f"stages.{first} trains on images, and the recipe has no {' and no '.join(missing)}"
            )
        if not first or "texts" in kinds[first:]:
            raise ValueError(
                "stages on images come behind those on texts, at least one of which there must "
                "be, since the captions' vectors are those of the student of the last one"
            )
        if CAPTIONS_TEACHER in teachers:
            raise ValueError(
                f"a teacher is called {CAPTIONS_TEACHER!r}, which is what encodes the captions; "
                "give it another name"
            )

    @property
    def target_teachers(self) -> tuple[TeacherConfig, ...]:
        """The teachers in the target, in the order of its columns."""
        return tuple(teacher for teacher in self.teachers if teacher.weight)

    @property
    def target_weights(self) -> dict[str, float]:
        """The teachers in the target, in the order of its columns, and the weight of each."""
        return {teacher.name: teacher.weight for teacher in self.target_teachers}

    @property
    def target_width(self) -> int:
        """T: the widths of the teachers in the target together."""
        return sum(teacher.dim for teacher in self.target_teachers)

    def teacher(self, name: str) -> TeacherConfig:
        """Find one of the recipe's teachers.

        Args:
            name: Its name.

        Returns:
            The teacher.

        Raises:
            UsageError: The recipe has no such teacher.
        """
        for teacher in self.teachers:
            if teacher.name == name:
                return teacher
        names = [teacher.name for teacher in self.teachers]
        raise UsageError(
            f"the recipe has no teacher {name!r}{nearest(name, names)}; "
            f"its teachers are {', '.join(names)}."
        )


def built_in_recipes() -> list[str]:
    """Names of the recipes that come with the project."""
    files = resources.files("pipelines") / "recipes"
    return sorted(
        file.name.removesuffix(".toml") for file in files.iterdir() if file.name.endswith(".toml")
    )


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: The name of a recipe that comes with the project, or a TOML file.
        overrides: Changes such as ``stages.0.steps=100``.

    Returns:
        The validated recipe.

    Raises:
        UsageError: There is no such recipe, it is not TOML, or a key or value is wrong.
    """
    if name in built_in_recipes():
        text = (resources.files("pipelines") / "recipes" / f"{name}.toml").read_text("utf-8")
    elif Path(name).is_file():
        try:
            text = Path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{name} is not UTF-8 text ({error}); save the recipe as UTF-8."
            ) from None
    else:
        raise UsageError(
            f"there is no recipe {name!r}; expected a TOML file or one of "
            f"{', '.join(built_in_recipes())}{nearest(name, built_in_recipes())}."
        )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is not valid TOML: {error}.") from None
    for override in overrides:
        apply_override(data, override)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{name}: {'; '.join(setting_sentences(error, Recipe))}.") from None


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write a resolved recipe as TOML, unless the file says the same already.

    Args:
        recipe: The recipe.
        path: Where it goes.
    """
    content = tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True)).encode()
    if not path.exists() or path.read_bytes() != content:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
