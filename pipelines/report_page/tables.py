"""The tables of a report other than those of the evaluation."""

from collections.abc import Iterator, Mapping, Sequence

from pipelines.environment import PACKAGES, Environment
from pipelines.report import duration, size
from pipelines.report_page.facts import CorpusFacts, RunFacts, StageFacts, Table, TeacherFacts
from pipelines.report_page.spent import PhaseTime
from pipelines.sessions import Session
from student.card_front import public_name
from student.card_terms import non_commercial

_NOT_STATED = "not stated"


def corpus_tables(title: str, corpus: CorpusFacts) -> list[Table]:
    """A corpus by source, what was left out, and what it counts.

    Args:
        title: What it is.
        corpus: The corpus.
    """
    manifest = corpus.manifest
    sources = tuple(
        (
            source.name,
            source.role,
            f"{source.spans:,}",
            f"{source.available:,}",
            f"{source.documents:,}",
            f"{source.weight:g}",
        )
        for source in manifest.sources
    )
    header = ("source", "role", "rows", "available", "documents", "weight")
    held_out = f"{manifest.rows:,} rows in shards of {manifest.rows_per_shard:,}; the first "
    held_out += f"{manifest.held_out_rows:,} are held out of training. Seed {manifest.seed}."
    tables = [Table(title, header, sources, held_out)]
    if corpus.parts:
        header = ("source", "role", "texts", "sentences", "characters", "tokens, about")
        parts = tuple(
            (
                part.source,
                part.role,
                f"{part.texts:,}",
                f"{part.sentences:,}",
                f"{part.characters:,}",
                f"{part.tokens:,}",
            )
            for part in corpus.parts
        )
        note = "Tokens are estimated from bytes."
        tables.append(Table(f"{title}: size of the texts", header, parts, note))
    counted = [(name, f"{count:,}") for name, count in manifest.counts.items() if count]
    counted += [(f"left out: {name}", f"{count:,}") for name, count in manifest.dropped.items()]
    if counted:
        rows = tuple((name.replace("_", " "), count) for name, count in counted)
        tables.append(Table(f"{title}: counts", ("", "count"), rows))
    return tables


def teacher_table(teachers: Sequence[TeacherFacts]) -> Table:
    """The teachers and how far the store is.

    Args:
        teachers: They.
    """
    return Table(
        "Teachers and the store",
        (
            "teacher",
            "model",
            "dimensions",
            "weight",
            "stored as",
            "shards",
            "size",
            "encoding",
            "by",
        ),
        tuple(tuple(_teacher_cells(teacher)) for teacher in teachers),
        "A weight of 0 keeps a teacher out of the target. Encoding is the time of all workers "
        "together; by says how many shards each machine wrote.",
    )


def _teacher_cells(teacher: TeacherFacts) -> Iterator[str]:
    found = teacher.progress
    yield teacher.name
    yield teacher.model
    yield "" if teacher.dim is None else f"{teacher.dim:,}"
    yield "" if teacher.weight is None else f"{teacher.weight:g}"
    yield teacher.storage
    yield "" if found is None else f"{found.done:,} of {found.shards:,}"
    yield "" if teacher.complete_bytes is None else size(teacher.complete_bytes)
    yield duration(found.encoding_seconds) if found and found.encoding_seconds else ""
    hosts = found.written_by if found else {}
    yield ", ".join(f"{host}: {count:,}" for host, count in hosts.items())


def licence_table(facts: RunFacts) -> Table:
    """Whose conditions the student inherits.

    Args:
        facts: The run.
    """
    student = facts.recipe.student
    rows = [("teacher", t.name, t.license) for t in facts.teachers.facts or () if t.license]
    rows.append(("start", public_name(student.start)[0], student.license or ""))
    vision = student.vision
    if vision is not None and vision.start is not None:
        rows.append(("vision start", public_name(vision.start)[0], vision.license or ""))
    for kind, found in (("corpus", facts.corpus), ("image-caption pairs", facts.pairs)):
        if found.facts is not None:
            rows += [(kind, s.name, s.license or "") for s in found.facts.manifest.sources]
    shown = tuple((kind, name, _stated(stated)) for kind, name, stated in rows)
    note = "A student inherits the conditions of all of these."
    if any(non_commercial(stated) for _, _, stated in rows):
        note += " One of them forbids commercial use, and so does the student's licence."
    return Table("Licences", ("of", "name", "licence"), shown, note)


def _stated(license_name: str) -> str:
    return _NOT_STATED if license_name.strip().lower() in ("", "unknown") else license_name


def stage_table(stages: Sequence[StageFacts]) -> Table:
    """What each stage trained.

    Args:
        stages: They.
    """
    rows = tuple(
        (
            f"{stage.number} {stage.settings.name}",
            stage.settings.trained,
            "; ".join(
                f"{head}: {', '.join(losses).replace('_', ' ')}"
                for head, losses in stage.settings.heads.items()
            ),
            f"{stage.step:,} of {stage.settings.steps:,}",
            f"{stage.settings.batch_size:,}",
            f"{stage.settings.learning_rate:g}",
            _ends_with(stage),
        )
        for stage in stages
    )
    header = ("stage", "trains", "losses", "steps", "batch", "rate", "ends with")
    return Table("Stages", header, rows)


def _ends_with(stage: StageFacts) -> str:
    if not stage.finished:
        return "not finished"
    return "the last step" if stage.selected is None else stage.selected.as_text()


def time_table(phases: Sequence[PhaseTime], seconds: float) -> Table:
    """Where the time went, by phase.

    Args:
        phases: In order.
        seconds: Of all together; phases that ran side by side count once.
    """
    rows = [
        (
            phase.phase,
            duration(phase.seconds),
            f"{phase.sessions:,}",
            f"{phase.interrupted:,}" if phase.interrupted else "",
            f"{phase.killed:,}" if phase.killed else "",
            ", ".join(phase.hosts),
        )
        for phase in phases
    ]
    rows.append(("all", duration(seconds), "", "", "", ""))
    note = "The time in which at least one worker was at work, loading models included; "
    note += "phases that ran side by side count once among all."
    if any(phase.killed for phase in phases):
        note += (
            " A session counts as killed if it never told its end, for a full disk as well; its "
        )
        note += "time is that until its last sign of life."
    header = ("phase", "time", "sessions", "stopped early", "killed", "on")
    return Table("Time by phase", header, tuple(rows), note)


def step_table(stages: Sequence[tuple[str, Mapping[str, float]]]) -> Table | None:
    """Where the time of training steps went.

    Args:
        stages: Name, and seconds by part.
    """
    parts = list(dict.fromkeys(part for _, spent in stages for part in spent))
    if not parts:
        return None
    rows = tuple(
        (
            name,
            duration(sum(spent.values())),
            *(f"{100 * spent.get(part, 0.0) / sum(spent.values()):.0f}%" for part in parts),
        )
        for name, spent in stages
        if sum(spent.values())
    )
    note = "As the first process measured it, without evaluations and checkpoints."
    return Table("Time of training steps", ("stage", "time", *parts), rows, note)


def environment_tables(here: Environment, sessions: Sequence[Session]) -> list[Table]:
    """The machines, and the versions on each.

    Args:
        here: Where the report was written.
        sessions: Who worked where.

    Returns:
        Machines, and versions; machines that are alike share a column.
    """
    seen = [session.environment for session in sessions]
    worked = [(_with_gpus(session.environment, seen), session.phase) for session in sessions]
    known: list[Environment] = []
    for environment, _ in worked:
        if environment not in known:
            known.append(environment)
    columns = [
        (env, list(dict.fromkeys(phase for where, phase in worked if where == env)))
        for env in known
    ]
    if _with_gpus(here, seen) not in known:
        columns.append((here, ["this report"]))
    header = ("", *(", ".join(names) for _, names in columns))
    machines = [
        ("machine", *(env.host for env, _ in columns)),
        ("platform", *(env.platform for env, _ in columns)),
        ("processor", *(f"{env.processor}, {env.cores} cores" for env, _ in columns)),
        ("GPUs", *(", ".join(env.gpus) or "none in use" for env, _ in columns)),
        ("Python", *(env.python for env, _ in columns)),
    ]
    names = [name for name in PACKAGES if any(name in env.packages for env, _ in columns)]
    versions = [(name, *(env.packages.get(name, "") for env, _ in columns)) for name in names]
    return [
        Table("Machines", header, tuple(machines)),
        Table("Versions", header, tuple(versions)),
    ]


def _with_gpus(environment: Environment, seen: Sequence[Environment]) -> Environment:
    """The same machine as somebody saw it who used its GPUs; itself where nobody did."""
    if environment.gpus:
        return environment
    alike = (one for one in seen if one.model_copy(update={"gpus": ()}) == environment)
    return max(alike, key=lambda one: len(one.gpus), default=environment)
