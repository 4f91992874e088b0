"""What every benchmark shares: alternating rounds, medians, a table, and one JSON line."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch


def option_parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options that every benchmark has: ``--quick`` and ``--json``.

    Args:
        description: What the benchmark asks.

    Returns:
        The parser, for a benchmark to add its own.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="A smoke run of a few seconds.")
    parser.add_argument("--json", action="store_true", help="End with one JSON object on a line.")
    return parser


def options(description: str | None, **flags: str) -> argparse.Namespace:
    """Read a benchmark's options.

    Args:
        description: What the benchmark asks.
        flags: Help for flags of its own, by name.

    Returns:
        ``quick``, ``json``, and its own.
    """
    parser = option_parser(description)
    for name, text in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    return parser.parse_args()


def alternate(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Time candidates in turn, A B A B, so that a busy moment does not hit only one.

    Args:
        candidates: What to call, by name; each is called once before the rounds.
        rounds: How often each is timed.

    Returns:
        Median seconds by name.
    """
    for call in candidates.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in seconds.items()}


def show(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table for people.

    Args:
        header: Column titles.
        rows: Cells; floats get three digits.
    """
    cells = [
        [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in [header, *rows]
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def finish(figures: dict[str, Any], as_json: bool) -> None:
    """Print the figures, for programs as the last line.

    Args:
        figures: By field name.
        as_json: Whether to print them as JSON.
    """
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if as_json:
        print(json.dumps({**figures, "machine": machine}))
    else:
        for name, value in figures.items():
            print(f"{name}: {value}")
