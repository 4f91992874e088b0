"""A worker for the tests of executors that leaves a file to be put in place, as reading does."""

import time
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import PipeError
from data_prep.executors import Begun
from data_prep.scratch import Scratch, Written

STAGE = "units"
PATIENCE = 120.0
"""Seconds after which what is waited for will not come."""

arrived: set[tuple[Path, int]] = set()
"""The tasks that came back to this process."""


@dataclass(frozen=True)
class Units:
    """Makes workers whose tasks write a file each; its record follows when it is in place.

    Attributes:
        corpus: Below it they write.
        failing: This task is an error as soon as the next one is under way, which never ends; rests
            wait until then.
        broken: This task's file cannot be put in place.
        held: Rests wait until so many tasks came back.
        rest_seconds: Rests take so long.
    """

    corpus: Path
    failing: int | None = None
    broken: int | None = None
    held: int = 0
    rest_seconds: float = 0.0

    def __call__(self):
        return self.work

    def work(self, task):
        if self.failing is not None and task > self.failing:
            (self.corpus / "last").touch()
            time.sleep(PATIENCE)
        if task == self.failing:
            wait_until((self.corpus / "last").exists)
            (self.corpus / "go").touch()
            raise PipeError(f"found {task}, expected another.")
        written, target = Written(), Scratch(self.corpus).run(task, 0)
        if task == self.broken:
            target.mkdir(parents=True)
        written.instead_of(target).write_text(str(task))
        return Begun(Rest(self, task, written), written.remove)

    def in_place(self):
        """Say which tasks' files are in place."""
        return {int(path.name[:6]) for path in self.corpus.rglob("0*.arrow") if path.is_file()}

    def recorded(self):
        """Say which tasks have their record."""
        return {int(path.stem) for path in self.corpus.rglob("0*.json")}

    def unfinished(self):
        """List the files that are neither in place nor removed."""
        return list(self.corpus.rglob(".*.tmp"))


@dataclass(frozen=True)
class Rest:
    """What a task leaves to do."""

    units: Units
    task: int
    written: Written

    def __reduce__(self):
        return _arrive, (self.units, self.task, self.written)

    def __call__(self):
        units = self.units
        if units.failing is not None:
            wait_until((units.corpus / "go").exists)
        wait_until(lambda: len({key for key in arrived if key[0] == units.corpus}) >= units.held)
        time.sleep(units.rest_seconds)
        self.written.put_in_place()
        Scratch(units.corpus).finish(STAGE, self.task, {})
        return self.task


def _arrive(units, task, written):
    arrived.add((units.corpus, task))
    return Rest(units, task, written)


def wait_until(condition):
    """Wait for something that other threads or processes do."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)
