"""Tasks carried out by actors on a Ray cluster, or by several on this machine.

Every actor makes its worker once. Tasks are given only to actors that have, so that actors for
which the cluster has no room, or no room any more, hold nothing up. A lost actor is replaced, and
its task goes to whoever is free first.
"""

import logging
import os
import signal
import socket
import textwrap
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn

from data_prep.errors import PipeError, UsageError
from data_prep.executors import ANYWHERE, Begun, MakeWorker, Places, ResultT, TaskT

_MOST_LOSSES = 3
"""Losses after which a task, or starting an actor at all, is given up."""


class RayActors:
    """As many workers as there are actors, wherever Ray puts them."""

    def __init__(
        self, places: Places = ANYWHERE, say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Look for Ray; nothing is started.

        Args:
            places: Where the actors run. By default as many as there is room for, of one GPU each
                if the cluster has any, and of one CPU core, on an own Ray on this machine.
            say: Takes a line for people.

        Raises:
            UsageError: A number is not positive.
            PipeError: Ray is not installed.
        """
        for what, found, least in (
            ("--actors", places.actors, 1),
            ("--gpus-per-actor", places.gpus_per_actor, 0),
            ("--cpus-per-actor", places.cpus_per_actor, 0),
        ):
            if found is not None and not least <= found < float("inf"):
                raise UsageError(f"found {what} {found:g}, expected at least {least}; mend it.")
        self._places = places
        self._say = say
        self._ray = _import_ray()

    def run(
        self, tasks: Iterable[TaskT], make_worker: MakeWorker[TaskT, ResultT]
    ) -> Generator[tuple[TaskT, ResultT], None, None]:
        """Carry every task out on actors; see ``Executor.run``."""
        with _connected(self._ray, self._places.ray_address):
            crew = self._crew(make_worker)
            try:
                yield from crew.work(deque(tasks))
            finally:
                crew.dismiss()

    def _crew(self, make_worker: MakeWorker[TaskT, ResultT]) -> "_Crew[Any, Any]":
        totals = self._ray.cluster_resources()
        gpus = self._places.gpus_per_actor
        needs = {
            "CPU": 1.0 if self._places.cpus_per_actor is None else self._places.cpus_per_actor,
            "GPU": float(totals.get("GPU", 0) >= 1) if gpus is None else gpus,
        }
        rooms = [_room(node["Resources"], needs) for node in self._ray.nodes() if node.get("Alive")]
        what = f"{needs['GPU']:g} GPU and {needs['CPU']:g} CPU"
        if not sum(rooms):
            found = f"{totals.get('GPU', 0):g} GPU and {totals.get('CPU', 0):g} CPU in all"
            if self._places.ray_address is None:
                raise UsageError(
                    f"found {found} on this machine, expected room for an actor with {what}; lower "
                    "--gpus-per-actor or --cpus-per-actor, or name a cluster with --ray-address."
                )
            self._say(f"Ray: no node has room for an actor with {what} yet ({found}); waiting")
        most = self._places.actors or max(sum(rooms), 1)
        self._say(f"Ray: up to {most} actors with {what} each")
        actor = self._ray.remote(num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_restarts=0)(
            _Actor
        )

        def hire() -> Any:
            return actor.remote(str(Path.cwd()), make_worker, on_gpu=needs["GPU"] > 0)

        return _Crew(self._ray, hire, most, self._say)


class _Actor:
    """A worker in a process of its own."""

    def __init__(self, directory: str, make_worker: MakeWorker[Any, Any], *, on_gpu: bool) -> None:
        if not on_gpu:
            # Ray hides GPUs that belong to others, but not from an actor that asked for none.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        # Relative paths mean there what they mean here, where the file system is shared.
        with suppress(OSError):
            os.chdir(directory)
        self._make_worker = make_worker
        self._worker: Callable[[Any], Begun[Any]] | None = None

    def begin(self) -> None:
        """Make the worker; an error in a constructor would come out as the actor's death."""
        self._worker = self._make_worker()

    def do(self, task: Any) -> Any:
        """Carry a task out, its rest too: an actor that has given an answer owes nothing."""
        assert self._worker is not None  # noqa: S101  the crew calls begin first
        return self._worker(task).finish()


@dataclass(frozen=True, slots=True)
class _Doing(Generic[TaskT]):
    """What an actor is at: a task, or its beginning."""

    actor: Any
    task: TaskT | None


class _Crew(Generic[TaskT, ResultT]):
    """The actors of one run."""

    def __init__(
        self, ray: Any, hire: Callable[[], Any], most: int, say: Callable[[str], None]
    ) -> None:
        self._ray = ray
        self._hire = hire
        self._most = most
        self._say = say
        self._doing: dict[Any, _Doing[TaskT]] = {}
        self._idle: list[Any] = []
        self._losses: Counter[TaskT | None] = Counter()

    def work(self, waiting: deque[TaskT]) -> Iterator[tuple[TaskT, ResultT]]:
        """Carry tasks out until none is waiting or under way."""
        while waiting or any(doing.task is not None for doing in self._doing.values()):
            self._assign(waiting)
            (finished, *_), _ = self._ray.wait(list(self._doing), num_returns=1)
            doing = self._doing.pop(finished)
            try:
                result = self._ray.get(finished)
            except self._ray.exceptions.RayTaskError as error:
                _raise_cause(error)
            except self._ray.exceptions.RayError as error:
                self._lose(doing, error)
                if doing.task is not None:
                    waiting.appendleft(doing.task)
                continue
            self._idle.append(doing.actor)
            if doing.task is None:
                self._losses[None] = 0
            else:
                yield doing.task, result

    def _assign(self, waiting: deque[TaskT]) -> None:
        while waiting and self._idle:
            actor, task = self._idle.pop(), waiting.popleft()
            self._doing[actor.do.remote(task)] = _Doing(actor, task)
        beginning = sum(doing.task is None for doing in self._doing.values())
        wanted = min(self._most - len(self._doing), len(waiting) - beginning)
        for _ in range(wanted):
            actor = self._hire()
            self._doing[actor.begin.remote()] = _Doing(actor, None)

    def _lose(self, doing: _Doing[TaskT], error: Exception) -> None:
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(doing.actor)  # it may only have been out of reach
        what = "while it started" if doing.task is None else f"with task {doing.task}"
        reason = _reason(error)
        self._losses[doing.task] += 1
        # A lost node takes all its actors with it, and that is one misfortune, not many.
        most = _MOST_LOSSES * (self._most if doing.task is None else 1)
        if self._losses[doing.task] >= most:
            raise PipeError(
                f"found {self._losses[doing.task]} actors in a row lost {what} ({reason}), "
                "expected one that comes through; look at that, at the memory of the machines and "
                "at Ray's logs. What was committed stays, and the same command continues."
            )
        self._say(f"Ray: an actor was lost {what} and is replaced ({reason})")

    def dismiss(self) -> None:
        """End every actor at once, whatever it is at."""
        for actor in [*self._idle, *(doing.actor for doing in self._doing.values())]:
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)


def _room(resources: dict[str, float], needs: dict[str, float]) -> int:
    """How many actors fit on a node."""
    return int(min(resources.get(name, 0) // need for name, need in needs.items() if need))


def _reason(error: Exception) -> str:
    """What Ray has to say at the end, behind identifiers and tracebacks."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return textwrap.shorten(lines[-1] if lines else type(error).__name__, 300)


def _raise_cause(error: Any) -> NoReturn:
    """Raise what was raised in an actor."""
    cause = error.cause
    if isinstance(cause, PipeError):
        raise cause from None
    raise cause from error


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Have a cluster, and leave one behind as it was found."""
    if ray.is_initialized():
        yield
        return
    own = {"include_dashboard": False} if address is None else {}
    try:
        _knock(address)
        with _own_sigterm():
            ray.init(
                address=address or "local",
                logging_level=logging.ERROR,
                log_to_driver=False,
                **own,
            )
    except (OSError, ValueError, RuntimeError) as error:
        where = "on this machine" if address is None else f"at {address}"
        raise PipeError(
            f"found no Ray to work with {where} ({_reason(error)}), expected a cluster that "
            "answers; start it with `ray start`, or mend --ray-address."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Find out within seconds that nobody listens at an address; Ray tries for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the handler that stands; Ray puts one of its own there that ends without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415
        import ray.exceptions  # noqa: PLC0415
    except ImportError:
        raise PipeError(
            "found no Ray, expected it for --executor ray; run `pip install 'jasper-distill[ray]'`."
        ) from None
    return ray
