"""How much models' scores hang on the words of an instruction (paper, section 4.1).

Every task is scored without an instruction, with one, and with paraphrases of it.
``RUN/eval/robustness.json`` (``stage-N/robustness.json`` if another stage than the last was asked
for) is an object of ``models`` and ``paper``, as in
``student.evaluation.robustness.robustness_dict``, ``stage`` (of the student; null without one),
``revisions`` (by model, a digest of its weights and prompts), ``options`` (what asks for the same),
``paraphrases`` (the user's file; null for the built-in ones) and ``table`` (plain text).
``RUN/eval/robustness/`` keeps every finished score: ``sets/DIGEST.json`` and ``.npz`` of sets in a
directory, ``results/`` and ``items/`` as in ``pipelines.evaluate_mteb``.
"""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.errors import PipeError, UsageError
from data_prep.files import exclusive, write_json
from pipelines.mteb_models import STUDENT, Entrant, entrants, model_entrant
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.results import recipe_sets
from pipelines.robustness_tasks import RobustnessTask, find_tasks, model_under
from pipelines.run import Run
from student.evaluation.benchmarks import task_types
from student.evaluation.mteb_library import check_mteb
from student.evaluation.mteb_model import INSTRUCT, instruction_template
from student.evaluation.paraphrases import (
    Paraphrases,
    Wording,
    built_in_paraphrases,
    read_paraphrases,
    require_known,
)
from student.evaluation.robustness import (
    ModelScores,
    TaskScores,
    render_robustness,
    robustness_dict,
)
from student.evaluation.shared_vectors import SharedVectors
from teacher_cache.config import Prompts

_KEPT_NUMBERS = 2**28
"""Numbers of vectors that the wordings of a task share, 1 GiB."""


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    Attributes:
        models: ``student``, ``start`` and names of teachers.
        paths: Other models: directories, ``package:NAME/directory`` or hub names.
        sets: A directory of evaluation sets; None takes the recipe's where no ``names`` are given.
        names: Benchmarks and tasks, as mteb names them.
        paraphrases: The user's file; None takes the built-in paraphrases alone.
        stage: The student of which stage; None takes the last that is finished.
    """

    models: Sequence[str] = ()
    paths: Sequence[str] = ()
    sets: Path | None = None
    names: Sequence[str] = ()
    paraphrases: Path | None = None
    stage: int | None = None

    def options(self) -> list[str]:
        """The command's options that ask for the same of the last stage's student."""
        given: list[tuple[str, Sequence[object]]] = [
            ("--sets", [self.sets.resolve()] if self.sets else []),
            ("--mteb", self.names),
            ("--model", self.models),
            ("--model-path", [_lasting(path) for path in self.paths]),
            ("--paraphrases", [self.paraphrases.resolve()] if self.paraphrases else []),
        ]
        return [text for name, values in given for one in values for text in (name, str(one))]


def _lasting(model: str) -> str:
    """A model as it is found from another directory too: a hub name stays."""
    path = Path(model)
    return str(path.resolve()) if path.exists() else model


@dataclass(frozen=True)
class RobustnessResults:
    """What came out.

    Attributes:
        table: For people.
        data: For programs: what ``robustness.json`` holds.
        failed: How many tasks of how many models are not measured.
    """

    table: str
    data: dict[str, Any]
    failed: int


def measure_robustness(run: Run | None, asked: Asked) -> RobustnessResults:
    """Score models under instructions and their paraphrases.

    Args:
        run: The run, in which the result and every finished score are kept; without one nothing
            is.
        asked: What is to be measured.

    Returns:
        A table for each model.

    Raises:
        UsageError: There is no such model, benchmark, task or paraphrase, or nothing to measure.
        PipeError: mteb is not installed, a set cannot be read, or a model cannot be loaded.
    """
    check_mteb()
    where = asked.sets or (recipe_sets(run) if run and not asked.names else None)
    if where is None and not asked.names:
        raise UsageError(
            "found neither --sets nor --mteb, and no sets in the recipe; name a directory or tasks."
        )
    given = asked.paraphrases
    paraphrases = read_paraphrases(given) if given else built_in_paraphrases()
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        kept = run.robustness.with_suffix("") if run else Path(scratch)
        stack.enter_context(exclusive(kept, "measures robustness in"))
        quiet_libraries()
        tasks = find_tasks(kept, where, asked.names)
        if given:
            require_known(paraphrases, given, _known(paraphrases, tasks), task_types())
        models = _models(run, asked)
        scores = [_measure(model, tasks, paraphrases) for model in models]
    data = {
        **robustness_dict(scores),
        "stage": next((model.stage for model in models if model.role == STUDENT), None),
        "revisions": {part: model.revision for model in models for part in model.parts},
        "options": asked.options(),
        "paraphrases": str(given) if given else None,
        "table": render_robustness(scores),
    }
    if run:
        write_json(run.of_stage(run.robustness, asked.stage), data)
    return RobustnessResults(data["table"], data, sum(len(model.failed) for model in scores))


def _models(run: Run | None, asked: Asked) -> list[Entrant]:
    """The models that were asked for; the student, if none was."""
    names = list(dict.fromkeys(asked.models or (() if asked.paths else (STUDENT,))))
    if names and run is None:
        raise UsageError(
            f"found no run for {', '.join(names)}; name one with --run, or a model with "
            "--model-path."
        )
    own = entrants(run, names, asked.stage, all_heads=False) if run and names else []
    others = [model_entrant(path) for path in dict.fromkeys(asked.paths)]
    return [*(model for model in own if model.asked), *others]


def _known(paraphrases: Paraphrases, tasks: Sequence[RobustnessTask]) -> set[str]:
    beneath = paraphrases.beneath
    known = {task.name for task in tasks} | set(beneath.tasks if beneath else ())
    if set(paraphrases.tasks) <= known:
        return known
    import mteb  # noqa: PLC0415  reading all of its tasks takes seconds

    return known | {task.metadata.name for task in mteb.get_tasks()}


def _measure(
    entrant: Entrant, tasks: Sequence[RobustnessTask], paraphrases: Paraphrases
) -> ModelScores:
    (part,) = entrant.parts
    model = entrant.contender(part)
    if model.embed is None or model.prompted is None:
        raise PipeError(f"{part} cannot run under other prompts; leave it out.")
    own = model.prompts or Prompts()
    template = instruction_template(own)
    # Without an instruction, other prompts of its own stay.
    plain = own if template is None else own.model_copy(update={"question": ""})
    shared = SharedVectors(model.prompted, _KEPT_NUMBERS)
    found: dict[str, TaskScores] = {}
    failed: dict[str, str] = {}
    for number, task in enumerate(tasks, start=1):
        wording = paraphrases.find(task.name, task.kind)
        try:
            if wording is None:
                raise PipeError(f"no instruction for tasks of type {task.kind}; give a file of own")
            found[task.name] = _task_scores(entrant, shared, plain, template, task, wording)
        except PipeError as error:
            said = str(error).startswith(f"{task.name} is not measured")
            why = str(error) if said else f"{task.name} is not measured: {error}"
            failed[task.name] = why
            say(f"{part}, {number} of {len(tasks)}: {why}")
            continue
        finally:
            shared.forget()
            entrant.forget()
        scores = found[task.name]
        change = scores.paraphrase - scores.instruction.score
        say(f"{part}, {number} of {len(tasks)}: {task.name} {change:+.2f}")
    entrant.release()
    return ModelScores(part, template or INSTRUCT, template is not None, found, failed)


def _task_scores(
    entrant: Entrant,
    shared: SharedVectors,
    plain: Prompts,
    template: str | None,
    task: RobustnessTask,
    wording: Wording,
) -> TaskScores:
    (part,) = entrant.parts
    none, instruction, *others = (
        task.measure(
            model_under(
                shared, plain, template or INSTRUCT, part, entrant.revision, task.name, text
            )
        )
        for text in (None, wording.instruction, *wording.paraphrases)
    )
    return TaskScores(wording, none, instruction, tuple(others))
