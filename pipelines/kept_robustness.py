"""The last measurement of how much instructions matter, and whether it is still of this student."""

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from data_prep.errors import PipeError
from data_prep.files import read_json
from pipelines.model_names import head_name
from pipelines.results import Weights
from pipelines.results_revision import results_revision
from pipelines.run import Run
from student.export_record import weights_digest
from student.student_record import read_record

COMMAND: Final = "pipe robustness"


@dataclass(frozen=True, slots=True)
class KeptRobustness:
    """What ``pipe robustness`` measured last.

    Attributes:
        stage: Of the student; None where it was not measured.
        revisions: By model, a digest of its weights and prompts; empty in files of older versions.
        command: What measures the same anew, without ``--run``.
        data: All that ``robustness.json`` holds.
    """

    stage: int | None
    revisions: Mapping[str, str]
    command: str
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "KeptRobustness | None":
        """Read it.

        Args:
            path: ``robustness.json``.

        Returns:
            It, or None where nothing was measured.

        Raises:
            PipeError: The file is no such measurement.
        """
        if not path.is_file():
            return None
        data = read_json(path)
        try:
            stage = data["stage"]
            return cls(
                stage=None if stage is None else int(stage),
                revisions=dict(data.get("revisions", {})),
                command=shlex.join([*COMMAND.split(), *map(str, data.get("options", []))]),
                data=data,
            )
        except (LookupError, TypeError, ValueError, AttributeError):
            raise PipeError(
                f"{path} is no measurement of `{COMMAND}`; remove it and measure anew."
            ) from None

    def older(self, run: Run, weights: Weights) -> str:
        """Say of which other student it is.

        Args:
            run: The run.
            weights: ``last_weights`` of the run.

        Returns:
            As ``older_student``; empty also where it is of no student.
        """
        if self.stage is None:
            return ""
        return older_student(run, self.stage, self.revisions, weights)


def older_student(
    run: Run,
    stage: int | None,
    revisions: Mapping[str, str],
    weights: Weights,
    names: Collection[str] | None = None,
) -> str:
    """Say of which other student a measurement is than of the one that would be measured now.

    That is the student of the last stage that is finished.

    Args:
        run: The run.
        stage: The stage of the student that was measured.
        revisions: By model, ``results_revision`` of what was measured.
        weights: ``last_weights`` of the run.
        names: The models that are heads of the student; None takes the default head.

    Returns:
        ``stage N`` or ``other weights or prompts``; empty where it is of this one, or where the
        measurement names no stage or no revision at all. One that names none of ``names`` is of
        another student.
    """
    stages = len(run.recipe.stages)
    last = run.students.last_finished(stages) or stages
    if stage not in (None, last):
        return f"stage {stage}"
    if stage is None or not revisions:
        return ""
    try:
        record = read_record(run.students.final(last))
        names = [head_name(record.default_head)] if names is None else names
        digest = weights() if last == stages else weights_digest(run.students.final(last))
        now = results_revision(digest, record.prompts, record.max_tokens)
    except (PipeError, OSError):  # no student, or a broken one
        return "other weights or prompts"
    found = {revisions[name] for name in names if name in revisions}
    return "" if found == {now} else "other weights or prompts"
