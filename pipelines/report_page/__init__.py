"""The report of a run: one HTML file that needs no network.

Data flows one way: ``gather`` reads the run, ``plots`` and ``tables`` turn what it found into
charts and tables, ``page`` puts them into a template.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.errors import UsageError
from data_prep.files import atomic_write
from pipelines.report_page.gather import gather
from pipelines.report_page.page import render
from pipelines.run import Run


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report that was written.

    Attributes:
        path: The file.
        size: Its bytes.
        notes: What is missing, damaged or out of date.
    """

    path: Path
    size: int
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {"report": str(self.path), "bytes": self.size, "notes": list(self.notes)}


def write_report(run: Run, path: Path | None = None) -> WrittenReport:
    """Write a run's report, in whatever state the run is.

    Args:
        run: The run.
        path: The file; None writes ``report.html`` into the run.

    Returns:
        What was written.

    Raises:
        UsageError: The file's directory does not exist.
    """
    target = path or run.directory / "report.html"
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent} is no directory; name a file in one that exists.")
    facts = gather(run)
    content = render(facts).encode()
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return WrittenReport(target, len(content), facts.notes)
