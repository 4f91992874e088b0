"""Measuring a run's student against its teachers and its own start."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from pipelines.contenders import (
    Contender,
    start_contender,
    student_contenders,
    teacher_contender,
)
from pipelines.evaluate_images import evaluate_images
from pipelines.held_out import HeldOutRows, read_held_out
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.results import Results, recipe_sets, subject
from pipelines.run import Run
from student.evaluation.comparison import Comparison, Scores
from student.evaluation.embed import Embed
from student.evaluation.heldout import HeadAgreement, held_out_agreement
from student.evaluation.items import resampled
from student.evaluation.mteb_library import check_mteb
from student.evaluation.sets import find_sets, read_set
from student.evaluation.speed import texts_per_second
from student.evaluation.table import as_dict, render
from student.evaluation.tasks import LocalTask
from student.model import Student
from student.pooled_once import PooledOnce
from teacher_cache.config import TeacherConfig


def evaluate(run: Run, stage: int | None = None, sets: Path | None = None) -> Results:
    """Compare the student of a stage with the teachers and with the start.

    Args:
        run: The run.
        stage: Which stage's student; None takes the last that is finished.
        sets: A directory of evaluation sets; None takes the recipe's, if it names one.

    Returns:
        The comparison, which is also kept in the run; that of another stage than the last, if it
        was asked for, beside the run's own.

    Raises:
        PipeError: No stage is finished, an evaluation set is unreadable, or the store lacks
            held-out rows, or image-caption pairs are damaged or not those trained on.
    """
    quiet_libraries()
    places = run.students
    number = run.finished_stage(stage)
    where = sets or recipe_sets(run)
    # Before the files are read: what changes while they are read is measured anew.
    of = subject(run, number, where)
    found = find_sets(where) if where else ()
    if found:
        check_mteb()
    # First of all: pairs that cannot be read must not cost what was measured before.
    kept = run.of_stage(run.results, stage)
    seen = evaluate_images(run, number, kept.parent)
    rows = read_held_out(run)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pooled = PooledOnce(Student.load(places.final(number)).to(device))
    start = start_contender(Student.load(places.final(0)).to(device))

    # The first is what retention is measured against, so those in the target go first.
    configs = sorted(run.recipe.teachers, key=lambda config: not config.weight)
    teachers = [teacher_contender(config) for config in configs]
    # From here on a contender is known by its place: names may meet.
    contenders = [*teachers, start, *student_contenders(pooled)]

    held_out = _held_out(rows, configs, contenders)
    pooled.forget()
    tasks: list[dict[str, float]] = [{} for _ in contenders]
    draws: list[dict[str, np.ndarray]] = [{} for _ in contenders]
    kinds: dict[str, str] = {}
    for files in found:
        task = LocalTask(read_set(files))
        kinds[files.name] = task.kind
        for contender, scored, drawn in zip(contenders, tasks, draws, strict=True):
            if contender.embed is None:
                continue
            try:
                measured = task.measure(contender.as_mteb(remember=True))
            except PipeError as error:  # a static model, say, on a set with an empty text
                say(f"{contender.name} is not measured on {files.name}: {error}")
                continue
            scored[files.name] = measured.score
            if measured.items is not None:
                drawn[files.name] = resampled(measured.items, files.name)
        pooled.forget()
        say(f"measured on {files.name}")
    speeds = _speeds(run, contenders, pooled)

    scores = [
        Scores(
            model=contender.name,
            tasks=tasks[place],
            dim=contender.dim,
            parameters=contender.parameters,
            texts_per_s=speeds[place],
            held_out=held_out[place],
            resampled=draws[place],
        )
        for place, contender in enumerate(contenders)
    ]
    comparison = Comparison(
        teachers=tuple(scores[: len(teachers)]),
        start=scores[len(teachers)],
        students=tuple(scores[len(teachers) + 1 :]),
        kinds=kinds,
    )
    loaded = {
        config.name: contender.embed is not None
        for config, contender in zip(configs, teachers, strict=True)
    }
    table, figures = render(comparison), as_dict(comparison)
    if seen is not None:
        table, figures = f"{table}\n\n{seen.as_text()}", figures | {"images": seen.as_dict()}
    results = Results(of, table, loaded, figures, sets=str(sets.resolve()) if sets else None)
    results.write(kept)
    return results


def _held_out(
    rows: HeldOutRows | None, teachers: Sequence[TeacherConfig], contenders: Sequence[Contender]
) -> list[HeadAgreement | None]:
    """Each contender's agreement with the target on held-out rows.

    The first contenders are the teachers, whose vectors come from the store; the start follows
    them.
    """
    if rows is None:
        return [None] * len(contenders)
    vectors = {
        str(place): rows.teachers[teacher.name]
        for place, teacher in enumerate(teachers)
        if teacher.name in rows.teachers
    }
    for place, contender in enumerate(contenders[len(teachers) :], start=len(teachers)):
        if contender.embed is not None:
            vectors[str(place)] = contender.embed(rows.texts, rows.roles)
    agreement = held_out_agreement(rows.target_NT, vectors, intervals=True)
    measured = {int(head.head): head for head in agreement.heads}
    # The start's space is not the target's, nor is that of a teacher outside it, whatever their
    # width: a cosine would mean nothing.
    outside = [place for place, teacher in enumerate(teachers) if not teacher.weight]
    for place in (*outside, len(teachers)):
        if place in measured:
            measured[place] = measured[place].without_cosine()
    return [
        replace(measured[place], head=contender.name) if place in measured else None
        for place, contender in enumerate(contenders)
    ]


def _speeds(run: Run, contenders: Sequence[Contender], pooled: PooledOnce) -> list[float | None]:
    """Each contender's texts per second on held-out rows; on the first rows if none is held out."""
    corpus = Corpus.open(run.corpus)
    rows = np.arange(min(corpus.held_out_rows or corpus.rows, run.recipe.evaluation.speed_texts))
    texts, roles = corpus.take(rows)

    def unkept(embed: Embed) -> Embed:
        def anew(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
            pooled.forget()
            return embed(texts, roles)

        return anew

    timed = {
        str(place): unkept(contender.embed)
        for place, contender in enumerate(contenders)
        if contender.timed and contender.embed is not None
    }
    rates = texts_per_second(timed, texts, roles)
    return [rates.get(str(place)) for place in range(len(contenders))]
