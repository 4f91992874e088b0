"""Who carries tasks out: this process, or actors on a cluster.

An executor knows nothing of shards or texts. It is given tasks and a recipe for a worker, makes as
many workers as it has places, each once, and hands results over as they finish. A worker leaves the
rest of a task, which needs no model, to its executor: it may be done while the next task is begun.
"""

import importlib
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeAlias, TypeVar, cast

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


def _nothing() -> None:
    """Nothing is held."""


@dataclass(frozen=True, slots=True)
class Begun(Generic[ResultT]):
    """A task that its worker is done with, but for a rest; one of the two is called, once.

    Under ``Processes`` it must pickle: the worker's process sends it to the one that does the rest.
    Elsewhere the two may be closures over whatever the worker holds.

    Attributes:
        finish: Does the rest, in whatever thread, and gives the task's result.
        drop: Lets go of what the rest would have needed.
    """

    finish: Callable[[], ResultT]
    drop: Callable[[], None] = _nothing


def done(result: ResultT) -> Begun[ResultT]:
    """Make a task of which nothing is left to do.

    Args:
        result: What came out of it.
    """
    return Begun(partial(_same, result))


def _same(result: ResultT) -> ResultT:
    return result


MakeWorker: TypeAlias = Callable[[], Callable[[TaskT], Begun[ResultT]]]
"""Makes a worker where it will run."""


class Executor(Protocol):
    """Carries tasks out; an adapter is a class with this interface and a row in ``EXECUTORS``."""

    def run(
        self, tasks: Iterable[TaskT], make_worker: MakeWorker[TaskT, ResultT]
    ) -> Generator[tuple[TaskT, ResultT], None, None]:
        """Carry every task out, and at the first error none any more.

        Args:
            tasks: The tasks. One whose worker is lost is given to another, so a task that was half
                done must do no harm.
            make_worker: Makes a worker where it will run, at the cost of loading a model; not
                called without a task. It may have to travel by pickle.

        Yields:
            A task and what its worker made of it, as they finish, in no certain order. Closing the
            generator stops what is under way; a rest that was begun is finished or dropped.

        Raises:
            PipeError: As a worker raised it, or the executor itself cannot go on.
        """
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """Where an executor's workers run; None leaves it to the executor.

    Attributes:
        actors: How many workers there are at most.
        gpus_per_actor: GPUs of each; a fraction shares one.
        cpus_per_actor: CPU cores of each.
        ray_address: The Ray cluster; ``auto`` is the one that this machine belongs to.
    """

    actors: int | None = None
    gpus_per_actor: float | None = None
    cpus_per_actor: float | None = None
    ray_address: str | None = None


ANYWHERE = Places()
"""Everything left to the executor."""

EXECUTORS: Mapping[str, str] = {
    "in-process": "data_prep.executors.in_process:InProcess",
    "ray": "data_prep.executors.ray:RayActors",
}
"""The executors by name, as ``module:Class``; the constructor takes ``Places`` and ``say``."""


def load_executor(name: str, places: Places, say: Callable[[str], None]) -> Executor:
    """Make an executor.

    Args:
        name: A row of ``EXECUTORS``.
        places: Where its workers run.
        say: Takes a line for people.

    Returns:
        The executor; nothing runs yet.

    Raises:
        UsageError: It does not have such places.
        PipeError: What it needs is not installed.
    """
    module, _, class_name = EXECUTORS[name].partition(":")
    return cast(Executor, getattr(importlib.import_module(module), class_name)(places, say))
