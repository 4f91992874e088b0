"""Measuring a run's student against its teachers and its own start."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from data_prep.fingerprint import digest
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
from teacher_cache.config import TeacherConfig
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


@dataclass(frozen=True)
class Contender:
    """A model, or one head of it, that is measured.

    Attributes:
        name: What the table calls it.
        dim: Numbers in a vector.
        parameters: Parameters that take part in a vector; None if nobody can tell.
        embed: Texts and roles to unit rows; None where the model cannot be loaded.
        timed: Whether its speed is measured; the heads of one student share theirs.
    """

    name: str
    dim: int
    parameters: int | None
    embed: Embed | None
    timed: bool = True


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
    where = sets or (Path(run.recipe.evaluation.sets) if run.recipe.evaluation.sets else None)
    found = find_sets(where) if where else ()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pooled = PooledOnce(Student.load(places.final(number)).to(device))
    start_model = Student.load(places.final(0)).to(device)

    teachers = [_teacher(config) for config in run.recipe.teachers]
    start = Contender(
        START, start_model.hidden, _parameters(start_model), StudentEncoder(start_model)
    )
    students = _students(pooled, run.recipe.student.default_head)
    contenders = [*teachers, start, *students]

    held_out = _held_out(run, contenders)
    pooled.forget()
    tasks: dict[str, dict[str, float]] = {contender.name: {} for contender in contenders}
    for files in found:
        data = read_set(files)
        for contender in contenders:
            if contender.embed is not None:
                tasks[contender.name][files.name] = score(contender.embed, data)
        pooled.forget()
        say(f"measured on {files.name}")
    speeds = _speeds(run, contenders, pooled)

    def scores(contender: Contender) -> Scores:
        return Scores(
            model=contender.name,
            tasks=tasks[contender.name],
            dim=contender.dim,
            parameters=contender.parameters,
            texts_per_s=speeds.get(contender.name),
            held_out=held_out.get(contender.name),
        )

    comparison = Comparison(
        teachers=tuple(scores(teacher) for teacher in teachers),
        start=scores(start),
        students=tuple(scores(student) for student in students),
    )
    results = {"of": _subject(run, number, where), "table": render(comparison)}
    write_json(run.results, {**results, **as_dict(comparison)})
    return comparison


def kept_table(run: Run) -> str | None:
    """The last evaluation's table, if it is of the last stage as it is now.

    Args:
        run: The run.

    Returns:
        The table, or None.
    """
    if not run.results.exists():
        return None
    results = read_json(run.results)
    sets = run.recipe.evaluation.sets
    subject = _subject(run, len(run.recipe.stages), Path(sets) if sets else None)
    return str(results["table"]) if results.get("of") == subject else None


def _subject(run: Run, number: int, sets: Path | None) -> str:
    """A digest of what an evaluation is of: the stage as it was trained, and the measures."""
    trained = read_json(run.students.identity(number))
    evaluation = run.recipe.evaluation.model_dump(mode="json", exclude={"sets", "example_query"})
    return digest([number, trained, evaluation, str(sets)])


def _teacher(config: TeacherConfig) -> Contender:
    """A teacher; where it cannot be loaded, as on a trainer's machine, its vectors still count."""
    try:
        encoder = load_encoder(config)
    except PipeError as error:
        say(f"teacher {config.name} is compared through the store alone: {error}")
        return Contender(config.name, config.dim, None, None)
    return Contender(config.name, config.dim, encoder.parameters, encoder.encode)


def _students(pooled: PooledOnce, default_head: str) -> list[Contender]:
    """Every head of a student, the default first."""
    student = pooled.encoder.student
    heads = sorted(student.named_heads(), key=lambda head: head[0] != default_head)
    return [
        Contender(
            f"student {name}",
            layer.out_features,
            _parameters(student, name),
            pooled.head(name),
            timed=place == 0,
        )
        for place, (name, layer) in enumerate(heads)
    ]


def _held_out(run: Run, contenders: Sequence[Contender]) -> dict[str, HeadAgreement]:
    """Agreement with the target on held-out rows; the teachers' vectors come from the store."""
    corpus = Corpus.open(run.corpus)
    count = min(corpus.held_out_rows, run.recipe.evaluation.held_out_spans)
    if count < 3:
        say("the corpus holds out fewer than 3 rows, so agreement with the target is not measured")
        return {}
    rows = np.arange(count)
    texts, roles = corpus.take(rows)
    store = TeacherStore.open(run.store, corpus)
    names = [teacher.name for teacher in run.recipe.teachers]
    weights = [teacher.weight for teacher in run.recipe.teachers]
    target_BT = store.read(rows, teachers=names, weights=weights)
    vectors = {
        contender.name: contender.embed(texts, roles)
        for contender in contenders
        if contender.embed is not None and contender.name not in names
    }
    vectors |= {name: store.read_teacher(name, rows).astype(np.float32) for name in names}
    agreement = {head.head: head for head in held_out_agreement(target_BT, vectors).heads}
    # The start's space is not the target's, whatever its width: a cosine would mean nothing.
    agreement[START] = replace(agreement[START], cosine=None)
    return agreement


def _speeds(run: Run, contenders: Sequence[Contender], pooled: PooledOnce) -> dict[str, float]:
    corpus = Corpus.open(run.corpus)
    rows = np.arange(min(corpus.rows, run.recipe.evaluation.speed_texts))
    texts, roles = corpus.take(rows)

    def unkept(embed: Embed) -> Embed:
        def anew(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
            pooled.forget()
            return embed(texts, roles)

        return anew

    timed = {
        contender.name: unkept(contender.embed)
        for contender in contenders
        if contender.timed and contender.embed is not None
    }
    return texts_per_second(timed, texts, roles)


def _parameters(student: Student, head: str | None = None) -> int:
    """Parameters that take part in a vector: the backbone and one head."""
    parts = [student.text] if head is None else [student.text, student.heads[head]]
    return sum(parameter.numel() for part in parts for parameter in part.parameters())
