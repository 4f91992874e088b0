"""The models of a run that can take part in a benchmark, loaded when they have something to do."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from data_prep.errors import PipeError, UsageError
from data_prep.fingerprint import digest
from pipelines.contenders import (
    Contender,
    as_loaded,
    load_teacher,
    start_contender,
    student_contenders,
)
from pipelines.model_names import START, head_name, teacher_name
from pipelines.results_revision import REVISION_DIGITS, saved_revision
from pipelines.run import Run
from student.evaluation.mteb_model import Instruction, MtebModel
from student.evaluation.result_store import has_results
from student.model import Student
from student.pooled_once import PooledOnce
from student.start import load_start
from student.student_record import read_record
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.described import described_model
from teacher_cache.known_digests import known_sha256
from teacher_cache.models import hub_commit, is_hub_name, model_directory, weights_digest

STUDENT = "student"
_KEPT_NUMBERS = 2**29
"""Numbers of pooled states that several heads share, 2 GiB."""

_DECIDING_FILES = {".safetensors", ".json"}

_Loaded = tuple[list[Contender], PooledOnce | None]


@dataclass
class Entrant:
    """A model that may take part: a student with its heads, the start, or a teacher.

    Attributes:
        role: ``student``, ``start`` or ``teacher``.
        parts: What the table calls it; of a student, every head that takes part.
        revision: What tells its weights and prompts from others.
        asked: Whether it runs tasks; otherwise it takes part with the results that it has.
        load: Gives its parts, and what heads share.
        dims: Numbers in a vector, by part, as far as known.
        stage: Of a student.
    """

    role: str
    parts: tuple[str, ...]
    revision: str
    asked: bool
    load: Callable[[], _Loaded]
    dims: dict[str, int] = field(default_factory=dict)
    stage: int | None = None
    _contenders: dict[str, Contender] | None = None
    _refused: PipeError | None = None
    _pooled: PooledOnce | None = None

    def known(self, part: str) -> MtebModel:
        """The name and revision under which a part's results are kept; it cannot embed."""
        return MtebModel(_not_loaded, part, self.revision)

    def loaded(self, part: str, instructions: Mapping[str, Instruction]) -> MtebModel:
        """Load the model, unless that is done, and give a part as mteb sees it.

        Args:
            part: One of ``parts``.
            instructions: What each task asks for, for a model that takes instructions.

        Raises:
            PipeError: It cannot be loaded; it is not tried again.
        """
        return self.contender(part).as_mteb(self.revision, instructions=instructions)

    def contender(self, part: str) -> Contender:
        """Load the model, unless that is done.

        Args:
            part: One of ``parts``.

        Raises:
            PipeError: It cannot be loaded; it is not tried again.
        """
        if self._refused is not None:
            raise self._refused
        if self._contenders is None:
            try:
                found, self._pooled = self.load()
            except PipeError as error:
                self._refused = error
                raise
            self._contenders = {one.name: one for one in found}
        return self._contenders[part]

    def forget(self) -> None:
        """Drop what the heads of a student shared on a task."""
        if self._pooled is not None:
            self._pooled.forget()

    def release(self) -> None:
        """Let the model go, so that the next one has its memory."""
        self._contenders = self._pooled = None
        self.load = _released
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _not_loaded(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
    raise RuntimeError("this model is known by its name alone")


def _released() -> _Loaded:
    raise RuntimeError("this model was released")


def entrants(
    run: Run, models: Sequence[str], stage: int | None, *, all_heads: bool
) -> list[Entrant]:
    """Say which models take part: those asked for, and those that may have results from before.

    Args:
        run: The run.
        models: ``student``, ``start`` and names of teachers.
        stage: The student of which stage; None takes the last that is finished.
        all_heads: Whether every head of the student takes part, or its default head alone.

    Returns:
        Teachers in the order of the recipe, those in the target first; the start; the student.

    Raises:
        UsageError: A model is none of these.
        PipeError: ``student`` is asked for and no stage is finished, or not the one that is named.
    """
    configs = sorted(run.recipe.teachers, key=lambda config: not config.weight)
    names = [STUDENT, START, *(config.name for config in configs)]
    for model in models:
        if model not in names:
            raise UsageError(f"found no model {model!r}, expected one of {', '.join(names)}.")
    number = 0
    if stage is not None or STUDENT in models:
        others = ", ".join(names[1:])
        number = run.finished_stage(stage, f", or name another model ({others}) with --model")
    # Without results a teacher that is not asked for has no part, and its weights are not read.
    found = [
        _teacher(config, asked=config.name in models)
        for config in configs
        if config.name in models or has_results(run.benchmarks, teacher_name(config))
    ]
    if START in models or run.students.finished(0):
        found.append(_start(run, asked=START in models))
    number = number or run.students.last_finished(len(run.recipe.stages))
    if number:
        found.append(_student(run, number, asked=STUDENT in models, all_heads=all_heads))
    return found


def model_entrant(model: str) -> Entrant:
    """Let a model take part that is none of a run's.

    Args:
        model: A sentence-transformers directory, ``package:NAME/directory`` or a hub name.

    Returns:
        The model, which the table calls by what was given.

    Raises:
        PipeError: It cannot be loaded.
    """
    config = described_model(model)
    directory = Path(config.model)
    # Where it lies and what that is called decide nothing.
    decides: list[object] = [as_loaded(config).identity() | {"name": "", "model": ""}]
    decides += [
        [str(path.relative_to(directory)), known_sha256(path)]
        for path in sorted(directory.rglob("*"))
        if path.suffix in _DECIDING_FILES and path.is_file()
    ]
    return Entrant(
        "model",
        (model,),
        digest(decides)[:REVISION_DIGITS],
        asked=True,
        load=lambda: ([replace(load_teacher(config), name=model)], None),
        dims={model: config.dim},
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _student(run: Run, number: int, *, asked: bool, all_heads: bool) -> Entrant:
    directory = run.students.final(number)
    record = read_record(directory)
    heads = sorted(record.heads, key=lambda head: head != record.default_head)
    parts = tuple(head_name(head) for head in (heads if all_heads else heads[:1]))

    def load() -> _Loaded:
        most = _KEPT_NUMBERS if len(parts) > 1 else 0
        pooled = PooledOnce(Student.load(directory).to(_device()), most)
        return student_contenders(pooled), pooled

    return Entrant(
        STUDENT,
        parts,
        saved_revision(directory),
        asked,
        load,
        dims={head_name(head): width for head, width in record.heads.items()},
        stage=number,
    )


def _start(run: Run, *, asked: bool) -> Entrant:
    directory = run.students.final(0)
    if run.students.finished(0):
        width = run.students.start_width
        return Entrant(
            START,
            (START,),
            saved_revision(directory),
            asked,
            lambda: ([start_contender(Student.load(directory).to(_device()))], None),
            dims={START: width} if width else {},
        )
    student = load_start(run.recipe.student)
    with tempfile.TemporaryDirectory() as scratch:  # as stage 1 will keep it
        student.save(Path(scratch) / START)
        revision = saved_revision(Path(scratch) / START)
    return Entrant(
        START,
        (START,),
        revision,
        asked,
        lambda: ([start_contender(student.to(_device()))], None),
        dims={START: student.hidden},
    )


def _teacher(config: TeacherConfig, *, asked: bool) -> Entrant:
    name = teacher_name(config)
    decides: list[object] = [as_loaded(config).identity(), *_weights(config)]
    return Entrant(
        "teacher",
        (name,),
        digest(decides)[:REVISION_DIGITS],
        asked,
        lambda: ([load_teacher(config)], None),
        dims={name: config.dim},
    )


def _weights(config: TeacherConfig) -> list[str]:
    """What tells a teacher's weights, where its settings do not."""
    if config.sha256 is not None:
        return []
    if is_hub_name(config.model):
        commit = hub_commit(config.model, config.revision)
        return [commit] if commit else []
    if not (config.model.startswith("package:") or Path(config.model).expanduser().is_dir()):
        return []
    try:
        return [weights_digest(model_directory(config.model), known_sha256)]
    except PipeError:  # a model without such files is told by its settings alone
        return []
