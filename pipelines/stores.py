"""Looking into a run's store."""

import random
from dataclasses import asdict, dataclass
from typing import Any

from data_prep.corpus import Corpus
from data_prep.errors import PipeError, UsageError
from pipelines.report import duration, say, size
from pipelines.run import Run
from student.used_rows import run_shards
from teacher_cache.findings import Checked, Findings, Scope
from teacher_cache.layout import ShardLayout
from teacher_cache.repair import repair
from teacher_cache.roster import holds_commits
from teacher_cache.storage import columns_of
from teacher_cache.store import TeacherStore
from teacher_cache.structure import Problem
from teacher_cache.verify import examine


def info(run: Run) -> tuple[str, list[dict[str, Any]]]:
    """Say which teachers a store has.

    Args:
        run: The run.

    Returns:
        The same for people and for programs.

    Raises:
        PipeError: There is no store, or it is broken.
    """
    store = _open(run)
    layout = store.layout
    data, lines = [], [f"{layout.rows:,} rows in shards of {layout.rows_per_shard:,}"]
    for name, entry in store.teachers.items():
        committed = len(store.committed(name))
        columns, dtype = columns_of(entry)
        count = layout.rows * columns * dtype.itemsize
        lines.append(
            f"{name}: {entry.config.dim}-d as {entry.config.storage}, {committed} of "
            f"{layout.num_shards} shards committed, {size(count)} when complete"
        )
        data.append(
            {
                "teacher": name,
                "dim": entry.config.dim,
                "storage": entry.config.storage,
                "shards_committed": committed,
                "shards": layout.num_shards,
                "bytes": count,
                "fingerprint": entry.fingerprint,
            }
        )
    return "\n".join(lines), data


@dataclass(frozen=True, slots=True)
class Asked:
    """Which part of a store a command was asked to look at.

    Attributes:
        teachers: Names of teachers; all if there is none.
        sample: A number of shards such as ``100``, or a share such as ``0.01`` or ``1%``.
        used: Whether to look only at what the run's training and evaluation read.
        seed: Draws the sample; None draws another one each time.
    """

    teachers: tuple[str, ...] = ()
    sample: str | None = None
    used: bool = False
    seed: int | None = None


def check(run: Run, asked: Asked) -> tuple[str, dict[str, Any], bool]:
    """Verify a store, or a part of it.

    Args:
        run: The run.
        asked: Which part.

    Returns:
        What was found, for people and for programs, and whether the store may be trained on.

    Raises:
        PipeError: There is no store, no corpus, or no such teacher.
        UsageError: The sample is no number.
    """
    _require_store(run)
    corpus = Corpus.open(run.corpus)
    scope = _scope(run, corpus, asked)
    try:
        # A bad record must not stop the search for others.
        store = TeacherStore.open(run.store, check_commits=False)
    except PipeError as error:
        findings = Findings([Problem(None, None, "manifest", str(error))], Checked())
    else:
        findings = examine(store, corpus, scope, say)
    checked, problems = findings.checked, findings.problems
    lines = [f"{problem.severity}: {problem.message}" for problem in problems]
    lines.append(
        f"{checked.shards} committed shards checked ({size(checked.bytes)} in "
        f"{duration(checked.seconds)}, {checked.gigabytes_per_second:.2f} GB/s), "
        f"{len(problems)} problems"
    )
    if scope.sample is not None:
        lines.append(f"the sample was drawn with --seed {scope.seed}")
    if checked.uncommitted:
        lines.append(f"{checked.uncommitted} files are not committed (yet)")
    if findings.errors:
        lines.append(
            f"next: `pipe store repair --run {run.directory}` sets what is bad aside, and "
            "says what makes it again"
        )
    data = {
        "checked": {
            **asdict(checked),
            "gigabytes_per_second": checked.gigabytes_per_second,
            "sample": scope.sample,
            "seed": None if scope.sample is None else scope.seed,
        },
        "problems": [asdict(problem) for problem in problems],
    }
    return "\n".join(lines), data, not findings.errors


def mend(run: Run, asked: Asked, *, pretend: bool) -> tuple[str, dict[str, Any]]:
    """Set aside what is bad in a store, so that `pipe teach` redoes that alone.

    Args:
        run: The run.
        asked: Which part of the store to look at.
        pretend: Whether to say only what would be done.

    Returns:
        What was done, for people and for programs.

    Raises:
        PipeError: There is no store, or it is quite another corpus's.
        UsageError: The sample is no number.
    """
    _require_store(run)
    corpus = Corpus.open(run.corpus)
    scope = _scope(run, corpus, asked)
    outcome = repair(run.store, corpus, run.recipe.teachers, scope, say, pretend=pretend)
    after = [f"`pipe prep --run {run.directory}`"] if outcome.texts else []
    after += [f"`pipe teach --run {run.directory}`"] if outcome.vectors else []
    lines = [f"would be done: {line}" if pretend else line for line in outcome.done]
    lines += [f"not mended: {problem.message}" for problem in outcome.left]
    nothing = "nothing would be left" if pretend else "nothing is left to be done"
    lines.append("next: " + ", then ".join(after) if after else nothing)
    data = {
        "done": [] if pretend else outcome.done,
        "would_be_done": outcome.done if pretend else [],
        "left": [asdict(problem) for problem in outcome.left],
        "next": [command.strip("`") for command in after],
    }
    return "\n".join(lines), data


def _scope(run: Run, corpus: Corpus, asked: Asked) -> Scope:
    teachers, shards = asked.teachers or None, None
    if asked.used:
        teachers = teachers or tuple(run.recipe.target_weights)
        layout = ShardLayout(corpus.rows, corpus.rows_per_shard)
        recipe = run.recipe
        shards = run_shards(
            run.students, recipe.stages, recipe.training, layout, corpus.held_out_rows
        )
    seed = random.randrange(2**31) if asked.seed is None else asked.seed  # noqa: S311
    return Scope(teachers, shards, _share(asked.sample), seed)


def _share(sample: str | None) -> int | float | None:
    if sample is None:
        return None
    try:
        if sample.isdecimal():
            found: int | float = int(sample)
        else:
            found = float(sample.removesuffix("%")) / (100 if sample.endswith("%") else 1)
    except ValueError:
        found = 0
    if not (found > 0 and (isinstance(found, int) or found <= 1)):
        raise UsageError(
            f"found --sample {sample}, expected a number of shards such as 100, or a share such as "
            "0.01 or 1%."
        )
    return found


def _require_store(run: Run) -> None:
    path = run.store / "manifest.json"
    if not (path.exists() or path.is_symlink() or holds_commits(run.store)):
        raise PipeError(f"there is no store in {run.store}; run `pipe teach` first.")


def _open(run: Run) -> TeacherStore:
    _require_store(run)
    return TeacherStore.open(run.store, Corpus.open(run.corpus))
