"""Records of who worked on a run, where and for how long: ``RUN/sessions/``.

A file for each time that a command worked on a phase, so that workers on several machines never
share one. They are information: nothing depends on them, and one that cannot be written stops
nobody.
"""

import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from pipelines.environment import Environment


class Session(BaseModel):
    """One time that a command worked on a phase.

    Attributes:
        phase: ``corpus``, ``pairs``, ``teacher NAME``, ``stage N``, ``eval`` or
            ``eval mteb``.
        began: When, UTC.
        seconds: How long.
        whole: Whether it came to its end; else it was interrupted, or stopped by an error.
        processes: How many processes worked together.
        environment: Where.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: str
    began: AwareDatetime
    seconds: float = Field(ge=0)
    whole: bool
    processes: int = Field(default=1, gt=0)
    environment: Environment


_REFUSED_SECONDS = 1.0
"""What stops sooner has not begun: a setting was refused, or something is missing."""


@contextmanager
def session(
    directory: Path, phase: str, *, worked: bool = True, processes: int = 1
) -> Iterator[None]:
    """Record how long a block takes, however it ends.

    Args:
        directory: The run's directory.
        phase: What the block does.
        worked: Whether there is anything to do; nothing is recorded otherwise.
        processes: How many processes work together; one of them records.
    """
    began, clock, whole = datetime.now(UTC), time.monotonic(), False
    try:
        yield
        whole = True
    finally:
        seconds = time.monotonic() - clock
        if worked and (whole or seconds >= _REFUSED_SECONDS):
            name = f"{began:%Y%m%dT%H%M%S}-{phase.replace(' ', '-')}-{uuid.uuid4().hex[:8]}.json"
            # Drivers, installed packages and disks fail in their own ways, and a record is worth
            # neither the work that is done nor the error that ended it.
            with suppress(Exception):
                record = Session(
                    phase=phase,
                    began=began,
                    seconds=round(seconds, 3),
                    whole=whole,
                    processes=processes,
                    environment=Environment.here(),
                )
                _directory(directory).mkdir(parents=True, exist_ok=True)
                write_json(_directory(directory) / name, record.model_dump(mode="json"))


def read_sessions(directory: Path) -> tuple[tuple[Session, ...], tuple[str, ...]]:
    """Read what was recorded.

    Args:
        directory: The run's directory.

    Returns:
        The sessions in the order in which they began, and a sentence for each file that is
        damaged.
    """
    found, damaged = [], []
    for path in sorted(_directory(directory).glob("*.json")):
        try:
            found.append(Session.model_validate(read_json(path)))
        except (PipeError, OSError, ValidationError):
            damaged.append(f"{path} is not a whole record of a session and is left out")
    return tuple(sorted(found, key=lambda one: (one.began, one.phase))), tuple(damaged)


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
