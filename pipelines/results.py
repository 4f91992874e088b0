"""A run's last evaluation as it is kept, and whether it is still of what stands in the run.

``RUN/eval/results.json``, and ``RUN/eval/stage-N/results.json`` of a stage asked for that is not
the last, is an object of

- ``of``: ``stage``, ``weights`` and ``measures``, as in ``Subject``;
- ``table``: the evaluation for people, plain text;
- ``loaded``: by teacher, whether its model could be loaded;
- ``sets``: the directory of evaluation sets, where it is not the recipe's;
- ``teachers``, ``start``, ``students``, ``references``, ``kinds``: as in
  ``student.evaluation.table.as_dict``;
- ``images``: of a student that sees, as in ``pipelines.evaluate_images``.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from data_prep.errors import PipeError
from data_prep.files import read_json, sha256_file, write_json
from data_prep.fingerprint import digest
from data_prep.pairs.manifest import IMAGES
from pipelines.report import say
from pipelines.run import Run
from student.evaluation.sets import SetFiles, find_sets
from student.export_record import weights_digest

Weights = Callable[[], str]
"""Gives a digest of weights."""

_MODELS = ("teachers", "start", "students", "references", "kinds", "images")


@dataclass(frozen=True)
class Subject:
    """What an evaluation is of.

    Attributes:
        stage: The stage.
        weights: Digest of the stage's final weights.
        measures: Digest of the settings, the teachers, the evaluation sets' files and the
            image-caption pairs.
    """

    stage: int
    weights: str
    measures: str


@dataclass(frozen=True)
class Results:
    """An evaluation as it is kept.

    Attributes:
        of: What it is of.
        table: For people.
        loaded: Whether each teacher's model could be loaded, by the teacher's name.
        comparison: For programs: the other keys of the file.
        sets: The directory of evaluation sets, where it is not the recipe's.
    """

    of: Subject
    table: str
    loaded: Mapping[str, bool]
    comparison: Mapping[str, Any]
    sets: str | None = None

    def write(self, path: Path) -> None:
        """Keep the evaluation.

        Args:
            path: The JSON file.
        """
        head = {"of": asdict(self.of), "table": self.table, "loaded": dict(self.loaded)}
        sets = {"sets": self.sets} if self.sets else {}
        write_json(path, head | sets | dict(self.comparison))

    @classmethod
    def read(cls, path: Path) -> "Results | None":
        """Read an evaluation; one that is broken is ignored, and a line says so.

        Args:
            path: The JSON file, which need not exist.

        Returns:
            The evaluation, or None.
        """
        if not path.exists():
            return None
        try:
            data = read_json(path)
            return cls(
                of=Subject(**data["of"]),
                table=str(data["table"]),
                loaded=dict(data["loaded"]),
                comparison={key: data[key] for key in _MODELS if key in data},
                sets=data.get("sets"),
            )
        except (PipeError, OSError, KeyError, TypeError, ValueError):
            say(f"{path} is not a whole evaluation and is ignored; `pipe eval` makes it anew")
            return None


def subject(run: Run, number: int, sets: Path | None, weights: Weights | None = None) -> Subject:
    """Say what an evaluation would be of, as everything stands now.

    Args:
        run: The run.
        number: The stage, which is finished.
        sets: The directory of evaluation sets, if any.
        weights: Gives the digest of the stage's final weights; None reads them.

    Returns:
        Equal for equal weights, settings, teachers, files of the sets and image-caption pairs.

    Raises:
        PipeError: The directory of evaluation sets is missing or holds none.
    """
    settings = run.recipe.evaluation.model_dump(mode="json", exclude={"sets", "example_query"})
    teachers = [[t.fingerprint, t.weight] for t in run.recipe.teachers]
    records = [run.pairs / name for name in ("manifest.json", IMAGES)]
    pairs = [sha256_file(path) if path.is_file() else None for path in records]
    files = [entry for found in find_sets(sets) for entry in _files(found, sets)] if sets else []
    return Subject(
        stage=number,
        weights=weights() if weights else weights_digest(run.students.final(number)),
        measures=digest([settings, teachers, files, pairs]),
    )


def recipe_sets(run: Run) -> Path | None:
    """The directory of evaluation sets that the recipe names, if it names one.

    Args:
        run: The run.
    """
    return Path(run.recipe.evaluation.sets) if run.recipe.evaluation.sets else None


def last_weights(run: Run) -> Weights:
    """Give the digest of the last stage's final weights, which are read once, when first asked.

    Args:
        run: The run.
    """
    return cache(lambda: weights_digest(run.students.final(len(run.recipe.stages))))


def current_results(run: Run, weights: Weights | None = None) -> Results | None:
    """The kept evaluation, if it is of the recipe's last stage as everything stands now.

    Args:
        run: The run.
        weights: ``last_weights``; None reads them.

    Returns:
        The evaluation, or None. Where the recipe names no sets, one on sets of the user's choice is
        as good.

    Raises:
        PipeError: The recipe's directory of evaluation sets is missing or holds none.
    """
    last = len(run.recipe.stages)
    kept = Results.read(run.results)
    if kept is None or kept.of.stage != last or not run.students.finished(last):
        return None
    sets = recipe_sets(run)
    if sets is None and kept.sets is not None and Path(kept.sets).is_dir():
        sets = Path(kept.sets)
    return kept if kept.of == subject(run, last, sets, weights) else None


def _files(found: SetFiles, root: Path) -> list[list[Any]]:
    """Name, size and time of change of each of a set's files."""
    inside = sorted(found.path.iterdir()) if found.path.is_dir() else [found.path]
    stats = [(p, p.stat()) for p in [*inside, found.instruction] if p.is_file()]
    return [[str(path.relative_to(root)), s.st_size, s.st_mtime_ns] for path, s in stats]
