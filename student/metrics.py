"""Reading a stage's metrics without training, as `pipe status` does."""

import json
from pathlib import Path
from typing import Any, Final

_LAST_BYTES: Final = 65_536
"""Read from the end of the file: many lines of any recipe."""


def last_metrics(path: Path) -> dict[str, Any] | None:
    """The last line of metrics of a training step.

    Args:
        path: A stage's ``metrics.jsonl``, which need not exist.

    Returns:
        Step, loss and whatever else was logged with them; None if there is no whole line.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - _LAST_BYTES, 0))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            metrics = json.loads(line)
        except ValueError:  # half a line, as a kill or the window's edge can leave one
            continue
        if isinstance(metrics, dict) and "loss" in metrics:
            return metrics
    return None
