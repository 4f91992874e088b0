"""Repairing a store: what is bad is set aside and so missing, and `pipe teach` redoes that alone.

Nothing is deleted. What can be made again without a teacher (Zarr metadata, the manifest) is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.errors import PipeError
from teacher_cache.aside import Aside
from teacher_cache.config import TeacherConfig
from teacher_cache.duplicates import RowHashes
from teacher_cache.findings import Scope
from teacher_cache.lost_manifest import rebuild_manifest
from teacher_cache.manifest_file import exclusive
from teacher_cache.store import TeacherStore
from teacher_cache.structure import Problem, store_problems, structure_problems
from teacher_cache.verify import examine, shard_problems

if TYPE_CHECKING:
    from data_prep.corpus import Corpus


@dataclass(slots=True)
class Repair:
    """What a repair did, or would do.

    Attributes:
        done: One sentence per thing.
        left: Problems that no repair can mend.
        texts: Whether `pipe prep` has shards of the corpus to make again.
        vectors: Whether `pipe teach` has something to do.
    """

    done: list[str] = field(default_factory=list)
    left: list[Problem] = field(default_factory=list)
    texts: bool = False
    vectors: bool = False


def repair(
    directory: Path,
    corpus: "Corpus",
    teachers: Sequence[TeacherConfig],
    scope: Scope,
    say: Callable[[str], None],
    *,
    pretend: bool = False,
) -> Repair:
    """Verify a store and set aside, or make again, what is bad.

    Args:
        directory: The store's directory.
        corpus: The corpus that it belongs to.
        teachers: The recipe's, to whom the vectors belong if the manifest is lost.
        scope: What to look at.
        say: Gets a line of progress now and then.
        pretend: Whether to say only what would be done.

    Returns:
        What was done.

    Raises:
        PipeError: There is no store, or it is quite another corpus's.
    """
    result = Repair()
    aside = Aside(directory, pretend)
    try:
        store = TeacherStore.open(directory, corpus, check_commits=False)
    except PipeError as error:
        result.done += rebuild_manifest(directory, corpus, teachers, aside, error)
        result.vectors = True
        if pretend:
            return result
        store = TeacherStore.open(directory, corpus, check_commits=False)
    _mend_structure(store, scope, aside, result)
    mender = _Mender(store, corpus, aside, result)
    for problem in examine(store, corpus, scope, say).problems:
        mender.mend(problem)
    result.vectors |= any(store.missing(teacher) for teacher in store.teachers)
    return result


def _mend_structure(store: TeacherStore, scope: Scope, aside: Aside, result: Repair) -> None:
    """First what stands around the shards, so that they can be looked at."""
    problems = list(store_problems(store))
    for teacher in scope.teachers or store.teachers:
        problems += structure_problems(store, teacher)
    vectors = store.directory / "vectors.zarr"
    for problem in problems:
        name = problem.teacher or "store"
        if problem.kind == "group":
            kept = aside.copy("store/group", vectors / "zarr.json")
            if not aside.pretend:
                store.roster.mend_group()
            result.done.append(_told("the Zarr group's metadata is made again", kept))
        elif problem.kind == "array":
            array = vectors / name
            if array.exists() and not array.is_dir():
                aside.move(f"{name}/array", **{name: array})
            kept = aside.copy(f"{name}/array", array / "zarr.json")
            if not aside.pretend:
                store.roster.mend_metadata(store.entry(name))
            result.done.append(_told(f"the Zarr metadata of {name} is made again", kept))
        elif problem.path is not None:
            path = store.directory / problem.path
            kept = aside.move(f"{name}/{problem.kind}", **{path.name: path})
            result.vectors |= problem.kind == "head"
            if kept:
                result.done.append(_told(f"{problem.path} is set aside", kept))


def _told(what: str, kept: str) -> str:
    return f"{what}; what stood there is in {kept}" if kept else what


@dataclass(slots=True)
class _Mender:
    """Deals with what verifying found among the shards."""

    store: TeacherStore
    corpus: "Corpus"
    aside: Aside
    result: Repair
    seen: set[tuple[str | None, int]] = field(default_factory=set)

    def mend(self, problem: Problem) -> None:
        """Set a shard aside, if that is what the problem calls for."""
        if problem.shard is None:
            self._mend_other(problem)
        elif (problem.teacher, problem.shard) not in self.seen:
            self.seen.add((problem.teacher, problem.shard))
            if problem.teacher is None:
                self._set_texts_aside(problem.shard)
            else:
                self._set_shard_aside(problem.teacher, problem.shard)

    def _mend_other(self, problem: Problem) -> None:
        if problem.kind == "duplicates":
            self.result.left.append(problem)
        elif problem.kind == "commit" and problem.path is not None:
            path = self.store.directory / problem.path
            kept = self.aside.move(f"{problem.teacher}/commits", **{path.name: path})
            self.result.done.append(_told(f"{problem.path} is set aside", kept))

    def _set_texts_aside(self, shard: int) -> None:
        path = self.corpus.shard_path(shard)
        aside = Aside(self.corpus.directory, self.aside.pretend)
        kept = aside.move(f"{path.stem}", **{path.name: path})
        self.result.texts = True
        self.result.done.append(
            _told(
                f"the texts of shard {shard} are not those of the corpus's manifest; `pipe prep` "
                "makes them again, and the shard's vectors stay good",
                kept,
            )
        )

    def _set_shard_aside(self, teacher: str, shard: int) -> None:
        with exclusive(self.store.directory):
            # Another process may have repaired it, and encoded it again, in the meantime.
            if not self._is_bad(teacher, shard):
                return
            # The file first: as long as the record stands, no worker touches the place.
            kept = self.aside.move(
                f"{teacher}/{shard:05d}",
                shard=self.store.shard_path(teacher, shard),
                record=self.store.commit_path(teacher, shard),
            )
        self.result.vectors = True
        self.result.done.append(_told(f"shard {shard} of {teacher} is set aside", kept))

    def _is_bad(self, teacher: str, shard: int) -> bool:
        try:
            commit = self.store.commit(teacher, shard)
        except PipeError:
            return True
        if commit is None:
            return False
        return any(shard_problems(self.store, self.corpus, commit, RowHashes()))
