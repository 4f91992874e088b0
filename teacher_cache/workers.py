"""Which shards are whose: a fixed division among workers that never speak to each other.

Worker k of n takes the shards s with ``s % n == k - 1``, whatever is missing when it starts, so any
set of workers 1/n to n/n leaves no shard out, together or one after the other.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from data_prep.errors import UsageError

_SPELLING = re.compile(r"([0-9]+)/([0-9]+)")
_WAY_OUT = "start the workers with --worker 1/N to --worker N/N instead"


@dataclass(frozen=True, slots=True)
class Worker:
    """One of several workers.

    Attributes:
        number: Which one, from 1.
        of: How many there are.
        source: Who said so, for people.
    """

    number: int = 1
    of: int = 1
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(
                f"found worker {self}{f' from {self.source}' if self.source else ''}, expected a "
                "number from 1 to the number of workers; mend it."
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def share(self, shards: Iterable[int]) -> list[int]:
        """Pick this worker's shards.

        Args:
            shards: Shard numbers.

        Returns:
            Its own, in the order given.

        >>> Worker(2, 3).share(range(8))
        [1, 4, 7]
        """
        return [shard for shard in shards if shard % self.of == self.number - 1]


ALONE = Worker()
"""The only worker."""


def parse(text: str) -> Worker:
    """Read ``--worker``.

    Args:
        text: Such as ``3/16``.

    Returns:
        The worker.

    Raises:
        UsageError: It is spelt otherwise, or there is no such worker.

    >>> parse("3/16")
    Worker(number=3, of=16, source='--worker')
    """
    found = _SPELLING.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"found --worker {text!r}, expected NUMBER/WORKERS, such as 3/16 for the third of "
            "sixteen."
        )
    return Worker(int(found[1]), int(found[2]), "--worker")


def from_environment(environ: Mapping[str, str]) -> Worker:
    """Find out from a launcher's variables which worker this process is.

    A SLURM array's tasks are the outer division. The inner one is torchrun's (``RANK``,
    ``WORLD_SIZE``), or else that of ``srun`` (``SLURM_PROCID``, ``SLURM_NTASKS``).

    Args:
        environ: The environment.

    Returns:
        The worker; the only one where no launcher has left a trace.

    Raises:
        UsageError: A variable is broken, or they contradict each other.
    """
    outer, inner = _array_task(environ), _torchrun(environ) or _srun(environ)
    if outer is None or inner is None:
        return outer or inner or ALONE
    return Worker(
        (outer.number - 1) * inner.of + inner.number,
        outer.of * inner.of,
        f"{outer.source} and {inner.source}",
    )


def local_place(environ: Mapping[str, str]) -> int:
    """Say which of its machine's workers this process is, for choosing a GPU.

    Args:
        environ: The environment.

    Returns:
        torchrun's ``LOCAL_RANK``, or else srun's ``SLURM_LOCALID``, or else 0.

    Raises:
        UsageError: The variable is no number.
    """
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        if name in environ:
            return number_in(environ, name)
    return 0


def _torchrun(environ: Mapping[str, str]) -> Worker | None:
    present = [name for name in ("RANK", "WORLD_SIZE") if name in environ]
    if not present:
        return None
    if len(present) == 1:
        raise UsageError(
            f"found {present[0]} in the environment without its companion, expected both RANK and "
            f"WORLD_SIZE, as torchrun sets them; set both or none, or {_WAY_OUT}."
        )
    return Worker(number_in(environ, "RANK") + 1, number_in(environ, "WORLD_SIZE"), "torchrun")


def _array_task(environ: Mapping[str, str]) -> Worker | None:
    prefix = "SLURM_ARRAY_TASK_"
    if f"{prefix}ID" not in environ:
        return None
    here, first, last, count = (
        number_in(environ, prefix + name) for name in ("ID", "MIN", "MAX", "COUNT")
    )
    source = "the SLURM array"
    if count == 1:
        return Worker(source=source)
    step = number_in(environ, f"{prefix}STEP") if f"{prefix}STEP" in environ else 1
    # A list such as --array=1,5,6 has no step that says which of its tasks this one is.
    if step < 1 or (last - first) // step + 1 != count or (here - first) % step:
        raise UsageError(
            f"found task {here} of a SLURM array of {count} tasks from {first} to {last} in steps "
            f"of {step}, expected an array without gaps; use --array=0-{max(count - 1, 0)}, or "
            f"{_WAY_OUT}."
        )
    return Worker((here - first) // step + 1, count, source)


def _srun(environ: Mapping[str, str]) -> Worker | None:
    if "SLURM_PROCID" not in environ:
        return None
    number = number_in(environ, "SLURM_PROCID") + 1
    # In a job's own script, outside srun, one process runs whatever number of tasks was asked for.
    if number == 1 and "SLURM_JOB_ID" in environ and "SLURM_STEP_ID" not in environ:
        return None
    return Worker(number, number_in(environ, "SLURM_NTASKS"), "srun")


def number_in(environ: Mapping[str, str], name: str, remedy: str = _WAY_OUT) -> int:
    """Read a number that a launcher has left.

    Args:
        environ: The environment.
        name: The variable.
        remedy: What to do where it is no number.

    Raises:
        UsageError: It is missing, or no number from 0.
    """
    text = environ.get(name)
    if text is None or not (text.isascii() and text.isdigit()):
        found = "no value" if text is None else repr(text)
        raise UsageError(
            f"found {found} for {name} in the environment, expected a number from 0; {remedy}."
        )
    return int(text)
