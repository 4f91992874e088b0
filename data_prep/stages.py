"""Stages of numbered tasks: each task once, and after an interruption only those that are left."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from data_prep.executors import Executor, MakeWorker
from data_prep.quantities import duration
from data_prep.scratch import Scratch

REPORT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Stages:
    """Carries stages out.

    Attributes:
        scratch: Where tasks leave their records.
        executor: Who does the work.
        report: Gets a line of progress now and then.
    """

    scratch: Scratch
    executor: Executor
    report: Callable[[str], None]

    def run(
        self,
        stage: str,
        sizes: Sequence[int],
        make_worker: MakeWorker[int, dict[str, Any]],
        what: str,
    ) -> list[dict[str, Any]]:
        """Carry out what is left of a stage.

        Args:
            stage: Its name in the scratch directory.
            sizes: For each task about how much there is to do, in any unit.
            make_worker: Makes a worker that takes a task's number, leaves its record and gives it.
            what: What is done to how much, for people: ``"read 10% of the sources"``.

        Returns:
            Each task's record.

        Raises:
            PipeError: As a worker raised it.
        """
        records = {
            number: record
            for number in range(len(sizes))
            if (record := self.scratch.record(stage, number)) is not None
        }
        left = [number for number in range(len(sizes)) if number not in records]
        total = max(sum(sizes), 1)
        before = sum(sizes[number] for number in records)
        done = before
        begun = told = time.monotonic()
        if records and left:
            self.report(f"{what.format(before / total)} before it was interrupted")
        with closing(self.executor.run(left, make_worker)) as results:
            for number, record in results:
                records[number] = record
                done += sizes[number]
                now = time.monotonic()
                if now - told > REPORT_SECONDS:
                    told = now
                    rest = (now - begun) * (total - done) / max(done - before, 1)
                    self.report(f"{what.format(done / total)}, {duration(rest)} left")
        return [records[number] for number in range(len(sizes))]
