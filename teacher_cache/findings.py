"""What is to be verified, and what came of it."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from teacher_cache.structure import Problem


@dataclass(frozen=True, slots=True)
class Scope:
    """What is to be verified.

    Attributes:
        teachers: Their names; all if None.
        shards: Their numbers; all if None.
        sample: How many shards, over all teachers, or which fraction of them; all if None.
        seed: Decides which shards a sample has.
    """

    teachers: tuple[str, ...] | None = None
    shards: frozenset[int] | None = None
    sample: int | float | None = None
    seed: int = 0

    def choose(self, committed: Mapping[str, frozenset[int]]) -> dict[str, list[int]]:
        """Choose from what there is.

        Args:
            committed: Every teacher's shards.

        Returns:
            Those to be verified, ascending; every teacher has an entry.

        >>> Scope(sample=2).choose({"a": frozenset(range(9)), "b": frozenset([1])})
        {'a': [6, 8], 'b': []}
        """
        pairs = [
            (teacher, shard)
            for teacher, shards in committed.items()
            for shard in sorted(shards)
            if self.shards is None or shard in self.shards
        ]
        if self.sample is not None:
            count = self.sample if isinstance(self.sample, int) else self.sample * len(pairs)
            count = min(math.ceil(count), len(pairs))
            pairs = random.Random(self.seed).sample(pairs, count)  # noqa: S311  no secret
        chosen: dict[str, list[int]] = {teacher: [] for teacher in committed}
        for teacher, shard in sorted(pairs):
            chosen[teacher].append(shard)
        return chosen


@dataclass(slots=True)
class Checked:
    """What has been looked at.

    Attributes:
        teachers: Their names.
        shards: Shards of vectors that were read in full.
        rows: Their rows.
        bytes: Their bytes.
        seconds: Time that it took.
        uncommitted: Shard files without a record, which a writer may be about to commit.
    """

    teachers: list[str] = field(default_factory=list)
    shards: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    uncommitted: int = 0

    @property
    def gigabytes_per_second(self) -> float:
        """Vectors read per second, texts and all."""
        return self.bytes / max(self.seconds, 1e-9) / 1e9


@dataclass(frozen=True, slots=True)
class Findings:
    """What verifying found.

    Attributes:
        problems: All that is wrong, by teacher and shard; empty if the store is sound.
        checked: What has been looked at.
    """

    problems: list[Problem]
    checked: Checked

    @property
    def errors(self) -> list[Problem]:
        """The problems that must not be trained on."""
        return [problem for problem in self.problems if problem.severity == "error"]
