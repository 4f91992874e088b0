"""Records of who worked on a run, where and for how long: ``RUN/sessions/``.

A file for each time that a command worked on a phase, so that workers on several machines never
share one. They are information: nothing depends on them, and one that cannot be written stops
nobody.
"""

import os
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from time import monotonic, time

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from data_prep.errors import PipeError, UsageError
from data_prep.files import read_json, write_json
from pipelines.environment import Environment, gpus


class Session(BaseModel):
    """One time that a command worked on a phase.

    Attributes:
        phase: ``corpus``, ``pairs``, ``teacher NAME``, ``stage N``, ``eval`` or
            ``eval mteb``.
        began: When, UTC.
        seconds: How long; of one that has not told its end, until its last sign of life.
        whole: Whether it came to its end; else it was interrupted, or stopped by an error.
        ended: Whether it told its end; else it was killed, could not write, or is at work.
        running: Whether it is at work, as far as anybody can tell; no part of the record.
        processes: How many processes worked together.
        environment: Where.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: str
    began: AwareDatetime
    seconds: float = Field(ge=0)
    whole: bool
    ended: bool = True
    running: bool = Field(default=False, exclude=True)
    processes: int = Field(default=1, gt=0)
    environment: Environment


_REFUSED_SECONDS = 1.0
"""What stops sooner has not begun: a setting was refused, or something is missing."""

_CHECKED_SECONDS = 10.0
"""The same for an error told in a sentence, behind imports and checks."""

_BEAT_SECONDS = 15.0
"""Seconds between two signs of life."""

_SILENT_SECONDS = 120.0
"""Seconds without a sign of life after which a session counts as killed."""


@contextmanager
def session(
    directory: Path, phase: str, *, worked: bool = True, processes: int = 1
) -> Iterator[None]:
    """Record how long a block takes, however it ends.

    The record is there soon after the beginning and is written again as long as the process lives,
    so that a kill leaves the time until then.

    Args:
        directory: The run's directory.
        phase: What the block does.
        worked: Whether there is anything to do; nothing is recorded otherwise.
        processes: How many processes work together; one of them records.
    """
    if not worked:
        yield
        return
    record = _Record(directory, phase, processes)
    over = threading.Event()
    heart = threading.Thread(target=record.beat, args=(over,), daemon=True)
    with suppress(RuntimeError, MemoryError):  # no thread more: there is the record at the end
        heart.start()
    refused, whole = False, False
    try:
        yield
        whole = True
    except BaseException as error:
        refused = _is_refusal(error, record.seconds)
        raise
    finally:
        over.set()
        if heart.ident is not None:
            heart.join()  # a sign of life after the end would undo it
        if refused:
            record.remove()
        else:
            record.write(whole=whole, ended=True)


def _is_refusal(error: BaseException, seconds: float) -> bool:
    """Whether what stopped a session came before its work."""
    if isinstance(error, UsageError):
        return True
    return seconds < (_CHECKED_SECONDS if isinstance(error, PipeError) else _REFUSED_SECONDS)


class _Record:
    """The file of a session that is going on."""

    def __init__(self, directory: Path, phase: str, processes: int) -> None:
        self._phase = phase
        self._processes = processes
        self._began, self._clock = datetime.now(UTC), monotonic()
        name = f"{self._began:%Y%m%dT%H%M%S}-{phase.replace(' ', '-')}-{uuid.uuid4().hex[:8]}.json"
        self._path = _directory(directory) / name

    @property
    def seconds(self) -> float:
        """How long it has gone on."""
        return monotonic() - self._clock

    def beat(self, over: threading.Event) -> None:
        """Give signs of life until the session is over; the first when it has surely begun."""
        wait = _REFUSED_SECONDS
        while not over.wait(wait):
            # Loading torch, or waking a GPU, here would disturb the work that is going on.
            self.write(whole=False, ended=False, aside=True)
            wait = _BEAT_SECONDS

    def write(self, *, whole: bool, ended: bool, aside: bool = False) -> None:
        """Write how it stands; ``aside`` as in ``Environment.here``."""
        # Drivers, installed packages and disks fail in their own ways, and a record is worth
        # neither the work that is done nor the error that ended it.
        with suppress(Exception):
            record = Session(
                phase=self._phase,
                began=self._began,
                seconds=round(self.seconds, 3),
                whole=whole,
                ended=ended,
                processes=self._processes,
                environment=self._machine.model_copy(update={"gpus": gpus(aside=aside)}),
            )
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, record.model_dump(mode="json"))

    def remove(self) -> None:
        """Take it away, and the directory if nothing else is there."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._path.parent.rmdir()

    @cached_property
    def _machine(self) -> Environment:
        return Environment.here(aside=True)


def read_sessions(
    directory: Path, now: float | None = None
) -> tuple[tuple[Session, ...], tuple[str, ...]]:
    """Read what was recorded.

    Args:
        directory: The run's directory.
        now: When, in seconds as the file system counts them; the time of the call by default.

    Returns:
        The sessions in the order in which they began, and a sentence for each file that is
        damaged.
    """
    found, damaged = [], []
    for path in sorted(_directory(directory).glob("*.json")):
        try:
            one, seen = Session.model_validate(read_json(path)), path.stat().st_mtime
            if not one.ended and now is None:
                now = _file_time(path.parent)
            # Either way: a clock may have been set back.
            running = not one.ended and now is not None and abs(now - seen) < _SILENT_SECONDS
            found.append(one.model_copy(update={"running": running}))
        except (PipeError, OSError, ValidationError):
            damaged.append(f"{path} is not a whole record of a session and is left out")
    return tuple(sorted(found, key=lambda one: (one.began, one.phase))), tuple(damaged)


def _file_time(directory: Path) -> float:
    """The time by the clock that files there are stamped with, which may be a server's."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"0")
            file.flush()
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # nobody may write there
        return time()


def elapsed(sessions: Iterable[Session]) -> float:
    """The time in which at least one of some sessions worked.

    Args:
        sessions: In any order; those of several workers overlap.

    Returns:
        Seconds.
    """
    spans = sorted((one.began.timestamp(), one.began.timestamp() + one.seconds) for one in sessions)
    total, reached = 0.0, float("-inf")
    for begun, ended in spans:
        total += max(0.0, ended - max(begun, reached))
        reached = max(reached, ended)
    return total


def _directory(run: Path) -> Path:
    return run / "sessions"
