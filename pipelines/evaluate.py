"""Measuring a run's student against its teachers and its own start."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from student.encode import StudentEncoder
from student.evaluation.embed import Embed
from student.evaluation.heldout import HeadAgreement, held_out_agreement
from student.evaluation.sets import find_sets, read_set
from student.evaluation.speed import texts_per_second
from student.evaluation.table import Comparison, Scores, as_dict, render
from student.evaluation.tasks import score
from student.model import Student
from teacher_cache.encoders import load_encoder
from teacher_cache.store import TeacherStore

START = "start"


class PooledOnce:
    """A student whose pooled states are computed once and projected by every head.

    Attributes:
        encoder: Gives the pooled states.
    """

    def __init__(self, student: Student) -> None:
        """Wrap a student.

        Args:
            student: The model.
        """
        self.encoder = StudentEncoder(student, head=None, normalize=False)
        self._pooled: dict[tuple[str, str], np.ndarray] = {}

    def forget(self) -> None:
        """Drop the kept states; between evaluation sets there is nothing to share."""
        self._pooled.clear()

    def head(self, name: str) -> Embed:
        """An embedding function for one head.

        Args:
            name: The head's name.

        Returns:
            Texts and roles to unit rows.
        """

        def embed(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
            keys = list(zip(texts, roles, strict=True))
            new = [key for key in dict.fromkeys(keys) if key not in self._pooled]
            states = self.encoder.encode([text for text, _ in new], [role for _, role in new])
            self._pooled.update(zip(new, states, strict=True))
            pooled_BH = torch.from_numpy(np.stack([self._pooled[key] for key in keys]))
            device = next(self.encoder.student.parameters()).device
            with torch.inference_mode():
                vectors_BD = self.encoder.student.project(pooled_BH.to(device), name)
                unit: np.ndarray = F.normalize(vectors_BD, dim=-1).cpu().numpy()
            return unit

        return embed


def evaluate(run: Run, stage: int | None = None, sets: Path | None = None) -> Comparison:
    """Compare the student of a stage with the teachers and with the start.

    Args:
        run: The run.
        stage: Which stage's student; None takes the last that is finished.
        sets: A directory of evaluation sets; None takes the recipe's, if it names one.

    Returns:
        The comparison, which is also kept in the run.

    Raises:
        PipeError: No stage is finished, or an evaluation set is unreadable.
    """
    quiet_libraries()
    places = run.students
    number = stage or places.last_finished(len(run.recipe.stages)) or 1
    if not places.finished(number):
        raise PipeError(
            f"stage {number} is not finished; run `pipe distill --stage {number}` first."
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    student = Student.load(places.final(number)).to(device)
    start = Student.load(places.final(0)).to(device)
    pooled = PooledOnce(student)
    first = run.recipe.student.default_head
    heads = sorted((name for name, _ in student.named_heads()), key=lambda name: name != first)
    widths = {name: head.out_features for name, head in student.named_heads()}

    students = {f"student {name}": pooled.head(name) for name in heads}
    starts: dict[str, Embed] = {START: StudentEncoder(start)}
    teachers = _available_teachers(run)
    everyone: dict[str, Embed] = {**teachers, **starts, **students}

    held_out = _held_out(run, {**starts, **students})
    scores = {name: Scores(model=name, held_out=held_out.get(name)) for name in everyone}
    for teacher in run.recipe.teachers:
        name = teacher.name
        scores[name] = Scores(model=name, held_out=held_out.get(name), dim=teacher.dim)
    for name, size in {
        START: _parameters(start),
        **{f"student {head}": _parameters(student, head) for head in heads},
    }.items():
        scores[name] = replace(scores[name], parameters=size)
    scores[START] = replace(scores[START], dim=start.hidden)
    for head in heads:
        name = f"student {head}"
        scores[name] = replace(scores[name], dim=widths[head])
    pooled.forget()

    where = sets or (Path(run.recipe.evaluation.sets) if run.recipe.evaluation.sets else None)
    for files in find_sets(where) if where else ():
        data = read_set(files)
        for name, embed in everyone.items():
            tasks = {**scores[name].tasks, files.name: score(embed, data)}
            scores[name] = replace(scores[name], tasks=tasks)
        pooled.forget()
        say(f"measured on {files.name}")

    timed: dict[str, Embed] = {
        **teachers,
        START: starts[START],
        f"student {first}": StudentEncoder(student, first),
    }
    for name, rate in _speeds(run, timed).items():
        scores[name] = replace(scores[name], texts_per_s=rate)

    comparison = Comparison(
        teachers=tuple(scores[teacher.name] for teacher in run.recipe.teachers),
        start=scores[START],
        students=tuple(scores[f"student {head}"] for head in heads),
    )
    results = {"stage": number, "table": render(comparison), **as_dict(comparison)}
    write_json(run.results, results)
    return comparison


def kept_table(run: Run) -> str | None:
    """The last evaluation's table, if it is of the recipe's last stage.

    Args:
        run: The run.

    Returns:
        The table, or None.
    """
    if not run.results.exists():
        return None
    results = read_json(run.results)
    return str(results["table"]) if results["stage"] == len(run.recipe.stages) else None


def _available_teachers(run: Run) -> dict[str, Embed]:
    """The teachers that this machine can load; a trainer's machine may have none."""
    available: dict[str, Embed] = {}
    for teacher in run.recipe.teachers:
        try:
            available[teacher.name] = load_encoder(teacher).encode
        except PipeError as error:
            say(f"teacher {teacher.name} is compared through the store alone: {error}")
    return available


def _held_out(run: Run, models: Mapping[str, Embed]) -> dict[str, HeadAgreement]:
    corpus = Corpus.open(run.corpus)
    count = min(corpus.held_out_rows, run.recipe.evaluation.held_out_spans)
    if count < 3:
        say("the corpus holds out fewer than 3 rows, so agreement with the target is not measured")
        return {}
    rows = np.arange(count)
    texts, roles = corpus.take(rows)
    store = TeacherStore.open(run.store, corpus)
    names = [teacher.name for teacher in run.recipe.teachers]
    target_BT = store.read(
        rows, teachers=names, weights=[teacher.weight for teacher in run.recipe.teachers]
    )
    vectors = {name: store.read_teacher(name, rows).astype(np.float32) for name in names}
    vectors |= {name: embed(texts, roles) for name, embed in models.items()}
    agreement = {head.head: head for head in held_out_agreement(target_BT, vectors).heads}
    # The start's space is not the target's, whatever its width: a cosine would mean nothing.
    agreement[START] = replace(agreement[START], cosine=None)
    return agreement


def _speeds(run: Run, models: Mapping[str, Embed]) -> dict[str, float]:
    corpus = Corpus.open(run.corpus)
    rows = np.arange(min(corpus.rows, run.recipe.evaluation.speed_texts))
    texts, roles = corpus.take(rows)
    return texts_per_second(models, texts, roles)


def _parameters(student: Student, head: str | None = None) -> int:
    """Parameters that take part in a vector: the backbone and one head."""
    parts = [student.text] if head is None else [student.text, student.heads[head]]
    return sum(parameter.numel() for part in parts for parameter in part.parameters())
