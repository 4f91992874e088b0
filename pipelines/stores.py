"""Looking into a run's store."""

from dataclasses import asdict
from typing import Any

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from pipelines.report import size
from pipelines.run import Run
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify


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
        count = layout.rows * entry.config.dim * 2
        lines.append(
            f"{name}: {entry.config.dim}-d, {committed} of {layout.num_shards} shards committed, "
            f"{size(count)} when complete"
        )
        data.append(
            {
                "teacher": name,
                "dim": entry.config.dim,
                "shards_committed": committed,
                "shards": layout.num_shards,
                "bytes": count,
                "fingerprint": entry.fingerprint,
            }
        )
    return "\n".join(lines), data


def check(run: Run) -> tuple[str, list[dict[str, Any]]]:
    """Check every committed shard.

    Args:
        run: The run.

    Returns:
        The problems, for people and for programs; without one the list is empty.

    Raises:
        PipeError: There is no store, or it cannot be opened.
    """
    # A bad record must not stop the search for others.
    store = _open(run, check_commits=False)
    problems = verify(store, Corpus.open(run.corpus))
    committed = sum(len(store.committed(name)) for name in store.teachers)
    lines = [problem.message for problem in problems]
    lines.append(f"{committed} committed shards checked, {len(problems)} problems")
    if problems:
        lines.append(
            "remove a bad shard's file and its commit record, and `pipe teach` encodes it again"
        )
    return "\n".join(lines), [asdict(problem) for problem in problems]


def _open(run: Run, *, check_commits: bool = True) -> TeacherStore:
    if not (run.store / "manifest.json").exists():
        raise PipeError(f"there is no store in {run.store}; run `pipe teach` first.")
    return TeacherStore.open(run.store, Corpus.open(run.corpus), check_commits=check_commits)
