"""Where a run's time went; pure arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.report_page.facts import StageFacts
from pipelines.sessions import Session, elapsed
from student.metrics import steps_per_second


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """The time of a phase.

    Attributes:
        phase: Its name.
        seconds: In which at least one session worked on it.
        sessions: How many.
        interrupted: How many of them were interrupted, or stopped by an error.
        killed: How many of them ended without a word; their time is that until the last sign of
            life.
        hosts: The machines, in order of their names.
    """

    phase: str
    seconds: float
    sessions: int
    interrupted: int
    killed: int
    hosts: tuple[str, ...]


def phase_times(sessions: Sequence[Session]) -> tuple[PhaseTime, ...]:
    """Add up a run's sessions by phase, in the order in which the phases began.

    Args:
        sessions: In the order in which they began.
    """
    by_phase: dict[str, list[Session]] = {}
    for session in sessions:
        by_phase.setdefault(session.phase, []).append(session)
    return tuple(
        PhaseTime(
            phase=phase,
            seconds=elapsed(found),
            sessions=len(found),
            interrupted=sum(session.ended and not session.whole for session in found),
            killed=sum(not (session.ended or session.running) for session in found),
            hosts=tuple(sorted({session.environment.host for session in found})),
        )
        for phase, found in by_phase.items()
    )


def step_times(stage: StageFacts) -> Mapping[str, float]:
    """What the steps of a stage took, by part.

    Args:
        stage: The stage.

    Returns:
        Seconds by part, such as ``forward``; ``other`` is what no part measured. Empty where the
        metrics tell no speed.
    """
    spent: dict[str, float] = {}
    before = 0.0
    for line in _steps(stage.metrics.lines):
        steps, before = line["step"] - before, line["step"]
        rate = steps_per_second(line, stage.settings.batch_size)
        if rate is None or steps <= 0:
            continue
        seconds = steps / rate
        parts = {
            name.removeprefix("time/"): max(share, 0.0) * seconds
            for name, share in line.items()
            if name.startswith("time/")
        }
        parts["other"] = max(seconds - sum(parts.values()), 0.0)
        for name, value in parts.items():
            spent[name] = spent.get(name, 0.0) + value
    return spent


def _steps(lines: Iterable[Mapping[str, float]]) -> list[Mapping[str, float]]:
    return sorted((line for line in lines if "loss" in line), key=lambda line: line["step"])
