"""Verifying a store: everything that is committed, or some of it, read and compared in full."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from data_prep.errors import PipeError
from teacher_cache.duplicates import RowHashes, find_duplicates
from teacher_cache.findings import Checked, Findings, Scope
from teacher_cache.manifest import Commit
from teacher_cache.storage import unsound_rows
from teacher_cache.store import TeacherStore
from teacher_cache.structure import (
    Kind,
    Problem,
    store_problems,
    structure_problems,
    uncommitted,
)
from teacher_cache.workers import ALONE, Worker

if TYPE_CHECKING:
    from data_prep.corpus import Corpus

_REPORT_SECONDS = 10.0

FEW_DUPLICATES = 8
FEW_DUPLICATES_SHARE = 1e-3
"""Up to so many rows, or this share, with another row's vector are told as a warning: texts of
unknown words alone are equal to some teachers."""


def verify(store: TeacherStore, corpus: "Corpus", scope: Scope | None = None) -> list[Problem]:
    """Check committed shards against their records, and their texts against the corpus.

    Args:
        store: The store, opened with ``check_commits=False`` so that nothing stops the list.
        corpus: The corpus that it was made from.
        scope: What to check; everything if None.

    Returns:
        All that is wrong, by teacher and shard; empty if the store is sound.
    """
    return examine(store, corpus, scope or Scope(), lambda line: None).problems


def examine(
    store: TeacherStore, corpus: "Corpus", scope: Scope, say: Callable[[str], None]
) -> Findings:
    """As ``verify``, with an account of what was done.

    Args:
        store: The store, opened with ``check_commits=False``.
        corpus: The corpus that it was made from.
        scope: What to check.
        say: Gets a line of progress now and then.

    Returns:
        What was found.

    Raises:
        PipeError: The scope names a teacher that the store does not have.
    """
    checked = Checked(list(scope.teachers or store.teachers))
    begun = time.monotonic()
    try:
        store.check_corpus(corpus)
    except PipeError as error:
        return Findings([Problem(None, None, "corpus", str(error))], checked)
    problems = list(store_problems(store))
    committed = {}
    for teacher in checked.teachers:
        store.entry(teacher)
        problems += structure_problems(store, teacher)
        try:
            committed[teacher] = store.committed(teacher)
            checked.uncommitted += uncommitted(store, teacher)
        except PipeError as error:
            problems.append(Problem(teacher, None, "commit", str(error), path=f"commits/{teacher}"))
    chosen = scope.choose(committed)
    changed = dict(_changed_texts(store, corpus, chosen))
    problems += [Problem(None, shard, "texts", changed[shard]) for shard in changed]
    progress = _Progress(checked, sum(map(len, chosen.values())), begun, say)
    for teacher, shards in chosen.items():
        hashes = RowHashes()
        for shard in shards:
            for kind, message in _of_shard(store, corpus, teacher, shard, hashes, checked):
                problems.append(Problem(teacher, shard, kind, message))
            progress.tell()
        problems += _duplicates(store, corpus, teacher, hashes, frozenset(changed))
    checked.seconds = time.monotonic() - begun
    return Findings(problems, checked)


@dataclass(slots=True)
class _Progress:
    checked: Checked
    total: int
    begun: float
    say: Callable[[str], None]
    told: float = field(default_factory=time.monotonic)
    done: int = 0

    def tell(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.told > _REPORT_SECONDS:
            self.told = now
            rate = self.checked.bytes / (now - self.begun) / 1e9
            self.say(f"{self.done} of {self.total} shards verified, {rate:.2f} GB/s")


def quick_check(store: TeacherStore, teacher: str, worker: Worker = ALONE) -> list[Problem]:
    """Check a teacher's committed shards without reading their vectors: milliseconds each.

    Args:
        store: The store.
        teacher: The teacher's name.
        worker: Whose share of the shards.

    Returns:
        Shards whose record is damaged, or whose file is missing, not whole, or another.
    """
    problems = []
    for shard in worker.share(sorted(store.committed(teacher))):
        try:
            store.commit(teacher, shard)
        except PipeError as error:
            problems.append(Problem(teacher, shard, "commit", str(error)))
            continue
        try:
            store.check_shard(teacher, shard)
        except PipeError as error:
            problems.append(Problem(teacher, shard, "file", str(error)))
    return problems


def require_whole(store: TeacherStore, teacher: str, worker: Worker = ALONE) -> None:
    """Stop before a teacher is loaded if what is committed is plainly not there.

    Args:
        store: The store.
        teacher: The teacher's name; nothing happens if the store does not have it.
        worker: Whose share of the shards.

    Raises:
        PipeError: ``quick_check`` found something.
    """
    problems = quick_check(store, teacher, worker) if teacher in store.teachers else []
    if problems:
        raise PipeError(
            f"{len(problems)} committed shards of {teacher} are not whole; the first: "
            f"{problems[0].message} Run `pipe store repair` before `pipe teach`."
        )


def _changed_texts(
    store: TeacherStore, corpus: "Corpus", chosen: Mapping[str, list[int]]
) -> Iterator[tuple[int, str]]:
    """Shards whose texts are not those of the corpus's manifest; each is read once."""
    shards = {shard for shards in chosen.values() for shard in shards}
    for shard in sorted(shards.intersection(range(store.layout.num_shards))):
        try:
            corpus.check_shard(shard)
        except PipeError as error:
            yield shard, str(error)


def _of_shard(
    store: TeacherStore,
    corpus: "Corpus",
    teacher: str,
    shard: int,
    hashes: RowHashes,
    checked: Checked,
) -> Iterator[tuple[Kind, str]]:
    try:
        commit = store.commit(teacher, shard)
    except PipeError as error:
        yield "commit", str(error)
        return
    if commit is None:
        # Set aside by another process a moment ago, or a link that leads nowhere.
        return
    yield from shard_problems(store, corpus, commit, hashes)
    checked.shards += 1
    checked.rows += commit.num_rows
    path = store.shard_path(teacher, shard)
    checked.bytes += path.stat().st_size if path.is_file() else 0


def shard_problems(
    store: TeacherStore, corpus: "Corpus", commit: Commit, hashes: RowHashes
) -> Iterator[tuple[Kind, str]]:
    """Check a shard against its record and the corpus.

    Args:
        store: The store.
        corpus: Its corpus.
        commit: The shard's record.
        hashes: Gets the rows of a sound file.

    Yields:
        What is wrong.
    """
    teacher, shard = commit.teacher, commit.shard
    if commit.text_digest != corpus.text_digest(shard):
        yield (
            "texts",
            f"the commit of shard {shard} of {teacher} is of texts with digest "
            f"{commit.text_digest[:12]}, expected the corpus's {corpus.text_digest(shard)[:12]}; "
            "`pipe store repair` sets the shard aside, and `pipe teach` encodes it again.",
        )
    rows = store.layout.range_of(shard)
    unsound: list[int] = []
    try:
        entry = store.entry(teacher)
        for first, block in store.check_blocks(teacher, commit):
            unsound += (rows[first] + unsound_rows(entry, block)).tolist()
            hashes.add(rows[first], block)
    except PipeError as error:
        hashes.drop(rows)
        yield "file", str(error)
        return
    if unsound:
        yield (
            "values",
            f"{len(unsound)} vectors of shard {shard} of {teacher} are not finite unit vectors, "
            f"the first that of row {unsound[0]}; `pipe store repair` sets the shard aside, and "
            "`pipe teach` encodes it again.",
        )


def _duplicates(
    store: TeacherStore, corpus: "Corpus", teacher: str, hashes: RowHashes, skip: frozenset[int]
) -> Iterator[Problem]:
    try:
        found = find_duplicates(store, corpus, teacher, hashes, skip)
    except PipeError as error:
        yield Problem(teacher, None, "duplicates", str(error))
        return
    if found is None:
        return
    few = found.rows <= max(FEW_DUPLICATES, FEW_DUPLICATES_SHARE * found.of)
    one, other = (repr(text[:60]) for text in found.texts)
    yield Problem(
        teacher,
        None,
        "duplicates",
        f"{found.rows} of {found.of} vectors of {teacher} ({found.rows / found.of:.2%}) are those "
        f"of another row though the texts differ, for example rows {found.example[0]} ({one}) and "
        f"{found.example[1]} ({other}); "
        + (
            "so few may be texts that the teacher cannot tell apart."
            if few
            else "look at the encoder, then set the teacher's vectors and commits aside and encode "
            "them again."
        ),
        "warning" if few else "error",
    )
