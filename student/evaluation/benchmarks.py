"""mteb's own tasks and benchmarks, found by name."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from data_prep.errors import UsageError
from student.evaluation.mteb_library import quietly, require_mteb
from student.evaluation.mteb_model import Instruction

_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark of mteb, or one task alone.

    Attributes:
        name: As mteb names it.
        tasks: mteb's tasks, without their data.
    """

    name: str
    tasks: tuple[Any, ...]

    @property
    def kinds(self) -> dict[str, str]:
        """The type of each task, by name."""
        return {task.metadata.name: str(task.metadata.type) for task in self.tasks}


def find_benchmark(name: str) -> Benchmark:
    """Find a benchmark or a task by name.

    Args:
        name: Such as ``MTEB(eng, v2)`` or ``STS12``.

    Returns:
        The benchmark; of a task alone, with that task.

    Raises:
        UsageError: mteb has neither; the nearest names are given.
        PipeError: mteb is not installed.
    """
    require_mteb()
    with quietly():
        import mteb  # noqa: PLC0415  an extra

        try:
            found = mteb.get_benchmark(name)
            return Benchmark(found.name, tuple(found.tasks))
        except KeyError:
            pass
        try:
            task = mteb.get_task(name)
            return Benchmark(task.metadata.name, (task,))
        except KeyError:
            pass
        benchmarks = {one.name for one in mteb.get_benchmarks()}
        known = benchmarks | {one.metadata.name for one in mteb.get_tasks()}
    # Names differ by case and blanks more often than by letters.
    plain = {_plain(one): one for one in sorted(known)}
    close = difflib.get_close_matches(_plain(name), plain, _NEAREST, cutoff=0.5)
    nearest = ", ".join(repr(plain[one]) for one in close) or "nothing alike"
    raise UsageError(
        f"found no benchmark or task {name!r} in mteb, expected a name that it has; the nearest "
        f"are {nearest}."
    )


def task_types() -> tuple[str, ...]:
    """Name mteb's types of task.

    Returns:
        The types, such as ``STS`` and ``Retrieval``.

    Raises:
        PipeError: mteb is not installed.
    """
    require_mteb()
    from mteb.abstasks.task_metadata import TaskType  # noqa: PLC0415

    return get_args(TaskType)


def _plain(name: str) -> str:
    return "".join(name.lower().split())


def task_instructions(benchmark: Benchmark) -> dict[str, Instruction]:
    """The instruction of every task: its own, or the one of its type.

    Args:
        benchmark: The tasks.
    """
    own = {task.metadata.name: task for task in _with_parts(benchmark.tasks)}
    return {
        name: task.metadata.prompt or getattr(task, "abstask_prompt", "")
        for name, task in own.items()
    }


def _with_parts(tasks: tuple[Any, ...]) -> Iterator[Any]:
    for task in tasks:
        yield task
        yield from _with_parts(tuple(getattr(task, "tasks", ())))
