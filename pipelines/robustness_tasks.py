"""The tasks of a measurement of robustness: sets of a directory, and tasks of mteb, kept alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from data_prep.errors import UsageError
from data_prep.files import sha256_file
from data_prep.fingerprint import digest
from pipelines.report import say
from pipelines.results_revision import REVISION_DIGITS
from student.evaluation.benchmarks import find_benchmark
from student.evaluation.items_file import read_measured, write_measured
from student.evaluation.mteb_library import reach_hub
from student.evaluation.mteb_model import MtebModel, Prompted
from student.evaluation.result_store import ResultStore
from student.evaluation.sets import SetFiles, find_sets, read_set
from student.evaluation.tasks import LocalTask, Measured
from teacher_cache.config import Prompts


class RobustnessTask(Protocol):
    """What is measured."""

    @property
    def name(self) -> str:
        """The task's name."""

    @property
    def kind(self) -> str:
        """Its type, as MTEB names it."""

    def measure(self, model: MtebModel) -> Measured:
        """Score a model, unless that was done before.

        Args:
            model: The model under one wording, of which its revision tells.

        Raises:
            PipeError: The task's data cannot be had, or it failed.
        """


@dataclass(frozen=True)
class _SetTask:
    files: SetFiles
    task: LocalTask
    kept: Path

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def kind(self) -> str:
        return self.task.kind

    def measure(self, model: MtebModel) -> Measured:
        place = self.files.path
        inside = sorted(place.iterdir()) if place.is_dir() else [place]
        data = [[path.name, sha256_file(path)] for path in inside if path.is_file()]
        decides = [self.kind, self.name, data, model.name, model.revision, version("mteb")]
        path = self.kept / f"{digest(decides)}.json"
        found = read_measured(path)
        if found is None:
            found = self.task.measure(model)
            write_measured(path, found)
        return found


@dataclass(frozen=True)
class _MtebTask:
    task: Any
    store: ResultStore

    @property
    def name(self) -> str:
        return str(self.task.metadata.name)

    @property
    def kind(self) -> str:
        return str(self.task.metadata.type)

    def measure(self, model: MtebModel) -> Measured:
        return self.store.found(self.task, model) or self.store.measure(self.task, model)


def find_tasks(kept: Path, sets: Path | None, names: Sequence[str]) -> list[RobustnessTask]:
    """Find what is to be measured.

    Args:
        kept: Where finished scores lie.
        sets: A directory of evaluation sets, if any.
        names: Benchmarks and tasks of mteb.

    Returns:
        The sets, then mteb's tasks, each once.

    Raises:
        UsageError: mteb has no such benchmark or task, or a set has the name of a task.
        PipeError: mteb is not installed, or a set is missing or malformed.
    """
    found: dict[str, RobustnessTask] = {}
    for files in find_sets(sets) if sets else ():
        found[files.name] = _SetTask(files, LocalTask(read_set(files)), kept / "sets")
    if not names:
        return list(found.values())
    tasks = {task.metadata.name: task for name in names for task in find_benchmark(name).tasks}
    for name in tasks:
        if name in found:
            raise UsageError(
                f"found {name} among the sets and among mteb's tasks, expected it once; run "
                "--sets and --mteb in turn."
            )
    if not reach_hub():
        say("the hub does not answer, or HF_HUB_OFFLINE is set: data sets come from its cache here")
    store = ResultStore(kept)
    return [*found.values(), *(_MtebTask(task, store) for task in tasks.values())]


def model_under(
    prompted: Prompted,
    plain: Prompts,
    template: str,
    name: str,
    revision: str,
    task: str,
    instruction: str | None,
) -> MtebModel:
    """Give a model as mteb sees it, under one wording of a task.

    Args:
        prompted: Gives the model under given prompts.
        plain: Its prompts without an instruction.
        template: How an instruction stands in front of a text.
        name: What the table calls it.
        revision: What tells its weights and prompts from others.
        task: The task's name.
        instruction: The wording; None for none.

    Returns:
        The model, whose revision tells the wording too.
    """
    front = None if instruction is None else template.replace("{instruction}", instruction)
    return MtebModel(
        prompted(plain),
        name,
        digest([revision, plain.model_dump(), front])[:REVISION_DIGITS],
        prompts=plain,
        # Without this no instruction is read, the task's own neither.
        prompted=None if instruction is None else prompted,
        template=template,
        instructions={} if instruction is None else {task: instruction},
    )
