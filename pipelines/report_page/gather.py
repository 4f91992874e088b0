"""Reading a run for its report; what is missing or damaged becomes a sentence."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import tomli_w

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.overview import overview
from data_prep.pairs.corpus import PairCorpus
from pipelines.environment import Environment
from pipelines.report_page.evaluations import gather_evaluation
from pipelines.report_page.facts import CorpusFacts, Found, RunFacts, StageFacts
from pipelines.report_page.teachers import gather_teachers
from pipelines.results import Weights, last_weights
from pipelines.run import Run
from pipelines.sessions import Session, read_sessions
from pipelines.status import status
from pipelines.suggestions import in_run
from student.identity import recorded_identity
from student.metrics import read_metrics
from student.selecting import Selected

_T = TypeVar("_T")


def gather(run: Run) -> RunFacts:
    """Read what a run holds.

    Args:
        run: The run, in whatever state it is.

    Returns:
        What there is.
    """
    recipe, weights = run.recipe, last_weights(run)
    return RunFacts(
        recipe=recipe,
        recipe_text=tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True)),
        directory=str(run.directory),
        standing=_standing(run, weights),
        corpus=_corpus(run),
        pairs=_pairs(run),
        teachers=gather_teachers(run),
        stages=_stages(run),
        evaluation=gather_evaluation(run, weights),
        sessions=_sessions(run),
        environment=Environment.here(),
    )


def attempt(read: Callable[[], _T]) -> Found[_T]:
    """Read something that may be damaged.

    Args:
        read: Reads it.

    Returns:
        It, or the sentence that says what is wrong.
    """
    try:
        return Found(read())
    except PipeError as error:
        return Found(notes=(str(error),))
    except OSError as error:
        return Found(notes=(f"{error.filename} cannot be read ({error.strerror}).",))


def _standing(run: Run, weights: Weights) -> Found[tuple[str, ...]]:
    found = attempt(lambda: status(run, weights))
    if found.facts is None:
        return Found(notes=found.notes)
    width = max(len(line.what) for line in found.facts)
    # Without how long ago a line was logged: a report is read later.
    return Found(tuple(replace(line, pace=None).as_line(width) for line in found.facts))


def _corpus(run: Run) -> Found[CorpusFacts]:
    if not (run.corpus / "manifest.json").exists():
        return Found(notes=(f"There is no corpus yet; {_command('prep', run)} makes it.",))
    return _counted(lambda: Corpus.open(run.corpus))


def _pairs(run: Run) -> Found[CorpusFacts]:
    if run.recipe.pairs is None:
        return Found()
    if not (run.pairs / "manifest.json").exists():
        command = _command("prep", run)
        return Found(notes=(f"There are no image-caption pairs yet; {command} makes them.",))
    return _counted(lambda: PairCorpus.open(run.pairs).captions)


def _counted(open_corpus: Callable[[], Corpus]) -> Found[CorpusFacts]:
    """A corpus with its numbers by source; without them where a shard is damaged."""
    opened = attempt(open_corpus)
    corpus = opened.facts
    if corpus is None:
        return Found(notes=opened.notes)
    counted = attempt(lambda: overview(corpus).parts)
    return Found(CorpusFacts(corpus.manifest, counted.facts or ()), counted.notes)


def _stages(run: Run) -> Found[tuple[StageFacts, ...]]:
    places = run.students
    stages, notes = [], []
    for number, asked in enumerate(run.recipe.stages, start=1):
        recorded = attempt(partial(recorded_identity, places, number))
        selected = attempt(partial(Selected.read, places.selected(number)))
        metrics = read_metrics(places.metrics(number))
        finished = places.finished(number)
        settings = recorded.facts.stages[-1] if recorded.facts else asked
        stage = StageFacts(
            number=number,
            settings=settings,
            step=settings.steps if finished else places.last_checkpoint(number),
            finished=finished,
            selected=selected.facts,
            metrics=metrics,
        )
        stages.append(stage)
        named = f"Stage {number} ({settings.name})"
        notes += [*recorded.notes, *selected.notes]
        if metrics.damaged:
            notes.append(
                f"{places.metrics(number)} has {metrics.damaged} of "
                f"{metrics.damaged + len(metrics.lines)} lines that are no metrics; they are left "
                "out."
            )
        if not finished:
            reached = max(stage.step, *(int(line["step"]) for line in metrics.lines), 0)
            begun = f"has come to step {reached:,} of {settings.steps:,}"
            state, verb = (
                (begun, "goes on")
                if metrics.lines or stage.step
                else ("has not begun", "begins it")
            )
            command = _command("distill", run, f"--stage {number}")
            notes.append(f"{named} {state}; {command} {verb}.")
        elif not metrics.lines:
            notes.append(f"{named} is finished and has left no metrics.")
    return Found(tuple(stages), tuple(notes))


def _sessions(run: Run) -> Found[tuple[Session, ...]]:
    sessions, damaged = read_sessions(run.directory)
    return Found(sessions, damaged)


def _command(name: str, run: Run, more: str = "") -> str:
    return f"`{' '.join([in_run(f'pipe {name}', run.directory), more]).strip()}`"
