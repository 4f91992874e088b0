"""Looking into a run's store."""

import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from data_prep.corpus import Corpus
from data_prep.errors import PipeError, UsageError
from data_prep.pairs.corpus import PairCorpus
from pipelines.captions_commands import TEACH, for_captions, of_captions
from pipelines.report import duration, say, size
from pipelines.run import Run
from pipelines.suggestions import in_run
from student.config import CAPTIONS_TEACHER
from student.used_rows import run_shards
from teacher_cache.config import TeacherConfig
from teacher_cache.findings import Checked, Findings, Scope
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest_file import holds_commits
from teacher_cache.repair import repair
from teacher_cache.storage import columns_of
from teacher_cache.store import TeacherStore
from teacher_cache.structure import Problem
from teacher_cache.verify import examine


@dataclass(frozen=True, slots=True)
class Held:
    """One of a run's stores.

    Attributes:
        run: The run.
        directory: Where the store lies.
        pairs: Whether it is that of the captions of image-caption pairs.
    """

    run: Run
    directory: Path
    pairs: bool

    @classmethod
    def of(cls, run: Run, *, pairs: bool) -> Self:
        """Choose a store that stands.

        Args:
            run: The run.
            pairs: Whether that of the captions is meant, or that of the corpus.

        Raises:
            PipeError: There is no store.
        """
        held = cls(run, run.pairs_store if pairs else run.store, pairs)
        path = held.directory / "manifest.json"
        if not (path.exists() or path.is_symlink() or holds_commits(held.directory)):
            raise PipeError(f"there is no store in {held.directory}; run `{held.teach}` first.")
        return held

    def corpus(self) -> Corpus:
        """Open the texts that the vectors are of."""
        return (
            PairCorpus.open(self.run.pairs).captions if self.pairs else Corpus.open(self.run.corpus)
        )

    @property
    def teach(self) -> str:
        """The command that fills the store."""
        return TEACH if self.pairs else "pipe teach"

    @property
    def used_teachers(self) -> tuple[str, ...]:
        """The teachers whose vectors training reads."""
        return (CAPTIONS_TEACHER,) if self.pairs else tuple(self.run.recipe.target_weights)

    def teachers(self) -> Sequence[TeacherConfig]:
        """The teachers whose vectors the store should hold, as far as they are known here."""
        if not self.pairs:
            return self.run.recipe.teachers
        from pipelines.captions import captions_teacher  # noqa: PLC0415 it imports torch

        try:
            return [captions_teacher(self.run)]
        except PipeError:
            return []

    def says(self, sentence: str) -> str:
        """Let a sentence name the commands for this store."""
        return for_captions(sentence) if self.pairs else sentence

    def command(self, name: str) -> str:
        """A command for this store, such as ``pipe store repair``."""
        return in_run(f"{name}{' --pairs' * self.pairs}", self.run.directory)


def info(held: Held) -> tuple[str, list[dict[str, Any]]]:
    """Say which teachers a store has.

    Args:
        held: The store.

    Returns:
        The same for people and for programs.

    Raises:
        PipeError: It is broken.
    """
    with of_captions() if held.pairs else nullcontext():
        store = TeacherStore.open(held.directory, held.corpus())
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


def check(held: Held, asked: Asked) -> tuple[str, dict[str, Any], bool]:
    """Verify a store, or a part of it.

    Args:
        held: The store.
        asked: Which part.

    Returns:
        What was found, for people and for programs, and whether the store may be trained on.

    Raises:
        PipeError: There is no corpus, or no such teacher.
        UsageError: The sample is no number.
    """
    corpus = held.corpus()
    scope = _scope(held, corpus, asked)
    try:
        # A bad record must not stop the search for others.
        store = TeacherStore.open(held.directory, check_commits=False)
    except PipeError as error:
        findings = Findings([Problem(None, None, "manifest", str(error))], Checked())
    else:
        findings = examine(store, corpus, scope, say)
    checked = findings.checked
    problems = [replace(p, message=held.says(p.message)) for p in findings.problems]
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
            f"next: `{held.command('pipe store repair')}` sets what is bad aside, and "
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


def mend(held: Held, asked: Asked, *, pretend: bool) -> tuple[str, dict[str, Any]]:
    """Set aside what is bad in a store, so that `pipe teach` redoes that alone.

    Args:
        held: The store.
        asked: Which part of the store to look at.
        pretend: Whether to say only what would be done.

    Returns:
        What was done, for people and for programs.

    Raises:
        PipeError: It is quite another corpus's.
        UsageError: The sample is no number.
    """
    corpus = held.corpus()
    scope = _scope(held, corpus, asked)
    found = repair(held.directory, corpus, held.teachers(), scope, say, pretend=pretend)
    done = [held.says(line) for line in found.done]
    left = [replace(problem, message=held.says(problem.message)) for problem in found.left]
    run = held.run.directory
    after = [f"`{in_run('pipe prep', run)}`"] if found.texts else []
    after += [f"`{in_run(held.teach, run)}`"] if found.vectors else []
    lines = [f"would be done: {line}" if pretend else line for line in done]
    lines += [f"not mended: {problem.message}" for problem in left]
    nothing = "nothing would be left" if pretend else "nothing is left to be done"
    lines.append("next: " + ", then ".join(after) if after else nothing)
    data = {
        "done": [] if pretend else done,
        "would_be_done": done if pretend else [],
        "left": [asdict(problem) for problem in left],
        "next": [command.strip("`") for command in after],
    }
    return "\n".join(lines), data


def _scope(held: Held, corpus: Corpus, asked: Asked) -> Scope:
    teachers, shards = asked.teachers or None, None
    if asked.used:
        teachers = teachers or held.used_teachers
        run, recipe = held.run, held.run.recipe
        shards = run_shards(
            run.students,
            recipe.stages,
            recipe.training,
            ShardLayout(corpus.rows, corpus.rows_per_shard),
            corpus.held_out_rows,
            "images" if held.pairs else "texts",
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
