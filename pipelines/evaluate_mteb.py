"""Running benchmarks of mteb on a run's student, its start and its teachers.

``RUN/eval/mteb/`` holds

- ``results/MODEL/REVISION/TASK.json``: mteb's own cache of results. MODEL is
  ``jasper-distill__student-HEAD``, ``jasper-distill__start`` or ``jasper-distill__TEACHER``, and
  REVISION a digest of the weights and the prompts.
- ``items/MODEL/REVISION/TASK.npz``: the figures of the task's pairs, queries or test texts.
- ``NAME.json``, one for each benchmark that was asked for, its last table (in ``stage-N/`` if
  another stage than the last was asked for): an object of
  ``benchmark`` (the name), ``tasks`` (how many it has), ``measured`` (of how many the student, or
  else the first model, has a result), ``stage`` (of the student; null without one), ``revisions``
  (by model, as above), ``mteb`` (the library's version), ``table`` (plain text), ``failed`` (by
  model, by task, a sentence), and ``teachers``, ``start``, ``students``, ``references``, ``kinds``
  as in ``student.evaluation.table.as_dict``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from data_prep.errors import PipeError
from data_prep.files import exclusive, write_json
from pipelines.mteb_models import Entrant, entrants
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from student.evaluation.benchmarks import Benchmark, find_benchmark, task_instructions
from student.evaluation.comparison import Comparison, Scores
from student.evaluation.items import resampled
from student.evaluation.mteb_library import reach_hub
from student.evaluation.published import (
    PAPER_BENCHMARK,
    PAPER_MODELS,
    paper_scores,
    published_scores,
)
from student.evaluation.result_store import ResultStore
from student.evaluation.table import as_dict, render
from student.evaluation.tasks import Measured
from teacher_cache.models import is_hub_name

_Any = TypeVar("_Any")


_Key = tuple[str, tuple[str, ...], tuple[str, ...]]
"""A task's name, splits and subsets: benchmarks differ in the parts of a task that they take."""


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    Attributes:
        names: Benchmarks and tasks, as mteb names them.
        models: ``student``, ``start`` and names of teachers.
        all_heads: Whether every head of the student is measured, or its default head alone.
        stage: The student of which stage; None takes the last that is finished.
        published: A directory of others' results in mteb's layout.
        published_models: Whose results to look for there, beside the paper's models and the
            recipe's teachers.
    """

    names: Sequence[str]
    models: Sequence[str] = ("student",)
    all_heads: bool = False
    stage: int | None = None
    published: Path | None = None
    published_models: Sequence[str] = ()


@dataclass(frozen=True)
class BenchmarkResults:
    """What came out.

    Attributes:
        table: For people: a table for each benchmark.
        data: For programs: ``benchmarks``, a list of what each ``NAME.json`` holds.
        failed: How many tasks of how many models are not measured.
    """

    table: str
    data: Mapping[str, Any]
    failed: int


def evaluate_mteb(run: Run, asked: Asked) -> BenchmarkResults:
    """Run benchmarks, save what is already known, and set the results beside what others got.

    A model that is not asked for takes part with the results that it has from before.

    Args:
        run: The run; for a teacher or the start it needs neither corpus nor stages.
        asked: What is to be measured.

    Returns:
        The tables, which are also kept in the run.

    Raises:
        UsageError: There is no such benchmark, task or model.
        PipeError: mteb is not installed, no stage is finished for ``student``, or the published
            results are not there, or another process runs benchmarks there.
    """
    benchmarks = [find_benchmark(name) for name in asked.names]
    quiet_libraries()
    if not reach_hub():
        say("the hub does not answer, or HF_HUB_OFFLINE is set: data sets come from its cache here")
    models = entrants(run, asked.models, asked.stage, all_heads=asked.all_heads)
    published = {b.name: _references(run, b, asked) for b in benchmarks}
    with exclusive(run.benchmarks, "runs benchmarks in"):
        return _run(run, benchmarks, models, published, asked.stage)


def _run(
    run: Run,
    benchmarks: Sequence[Benchmark],
    models: Sequence[Entrant],
    published: Mapping[str, tuple[Scores, ...]],
    stage: int | None,
) -> BenchmarkResults:
    store = ResultStore(run.benchmarks)
    measured: dict[str, dict[_Key, Measured]] = {}
    failed: dict[str, dict[_Key, str]] = {}
    for model in models:
        for benchmark in benchmarks:
            _measure(store, model, benchmark, measured, failed)
        model.release()
    tables, kept = [], []
    for benchmark in benchmarks:
        comparison = _comparison(benchmark, models, measured, published[benchmark.name])
        own = {name: _of(benchmark, tasks) for name, tasks in failed.items()}
        data = _data(benchmark, models, comparison, {n: t for n, t in own.items() if t})
        path = run.benchmarks / f"{_file_name(benchmark.name)}.json"
        write_json(run.of_stage(path, stage), data)
        tables.append(data["table"])
        kept.append(data)
    lacking = sum(len(tasks) for tasks in failed.values())
    return BenchmarkResults("\n\n".join(tables), {"benchmarks": kept}, lacking)


def _key(task: Any) -> _Key:
    return task.metadata.name, tuple(sorted(task.eval_splits)), tuple(sorted(task.hf_subsets))


def _of(benchmark: Benchmark, found: Mapping[_Key, _Any]) -> dict[str, _Any]:
    """What there is on a benchmark's tasks, by name."""
    keys = {task.metadata.name: _key(task) for task in benchmark.tasks}
    return {name: found[key] for name, key in keys.items() if key in found}


def _measure(
    store: ResultStore,
    model: Entrant,
    benchmark: Benchmark,
    measured: dict[str, dict[_Key, Measured]],
    failed: dict[str, dict[_Key, str]],
) -> None:
    """Run what a model lacks of a benchmark; heads of one student go through a task together."""
    count = len(benchmark.tasks)
    for number, task in enumerate(benchmark.tasks, start=1):
        key, name = _key(task), task.metadata.name
        for part in model.parts:
            own, lost = measured.setdefault(part, {}), failed.setdefault(part, {})
            if key in own or key in lost:
                continue
            try:
                found = store.found(task, model.known(part))
                if found is None and model.asked:
                    loaded = model.loaded(part, task_instructions(benchmark))
                    found = store.measure(task, loaded)
                    say(f"{part}, {number} of {count}: {name} {found.score:.2f}")
            except PipeError as error:
                if str(error) not in lost.values():  # a model that cannot be loaded says so once
                    say(f"{part}, {number} of {count}: {error}")
                lost[key] = str(error)
                continue
            if found is not None:
                own[key] = found
        model.forget()


def _comparison(
    benchmark: Benchmark,
    models: Sequence[Entrant],
    measured: Mapping[str, Mapping[_Key, Measured]],
    references: tuple[Scores, ...],
) -> Comparison:
    def scores(model: Entrant, part: str) -> Scores:
        own = _of(benchmark, measured.get(part, {}))
        return Scores(
            model=part,
            tasks={task: one.score for task, one in own.items()},
            dim=model.dims.get(part),
            resampled={task: resampled(one.items, task) for task, one in own.items() if one.items},
        )

    def of(role: str) -> tuple[Scores, ...]:
        found = [scores(one, part) for one in models if one.role == role for part in one.parts]
        return tuple(one for one in found if one.tasks)

    starts = of("start")
    return Comparison(
        teachers=of("teacher"),
        start=starts[0] if starts else None,
        students=of("student"),
        kinds=benchmark.kinds,
        references=references,
    )


def _data(
    benchmark: Benchmark,
    models: Sequence[Entrant],
    comparison: Comparison,
    failed: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    first = next(iter((*comparison.students, *comparison.measured)), None)
    done = len(first.tasks) if first else 0
    whole = len(benchmark.tasks)
    title = f"{benchmark.name}: {done} of {whole} tasks"
    if comparison.references and done < whole:
        title += "; means over fewer tasks do not compare with published ones"
    lacking = sum(len(tasks) for tasks in failed.values())
    notes = [f"{lacking} not measured; the reasons stand above and in the JSON"] if lacking else []
    table = ["", render(comparison)] if comparison.models else []
    stage = next((model.stage for model in models if model.role == "student"), None)
    return {
        "benchmark": benchmark.name,
        "tasks": whole,
        "measured": done,
        "stage": stage,
        "revisions": {part: model.revision for model in models for part in model.parts},
        "mteb": version("mteb"),
        "table": "\n".join([title, *table, *notes]),
        "failed": {name: dict(tasks) for name, tasks in failed.items()},
        **as_dict(comparison),
    }


def _references(run: Run, benchmark: Benchmark, asked: Asked) -> tuple[Scores, ...]:
    paper = paper_scores(benchmark.kinds) if benchmark.name == PAPER_BENCHMARK else ()
    if asked.published is None:
        return paper
    hub = {t.model: t.revision for t in run.recipe.teachers if is_hub_name(t.model)}
    models = list(dict.fromkeys([*asked.published_models, *PAPER_MODELS.values(), *hub]))
    pinned = {model: revision for model, revision in hub.items() if revision}
    return (*paper, *published_scores(asked.published, models, benchmark.tasks, pinned))


def _file_name(benchmark: str) -> str:
    return re.sub(r"[^\w.-]+", "-", benchmark).strip("-")
