"""How fast is ``pipe prep``, in how much memory, and against datatrove?

One process against one process: prep with all it does (cutting, exact duplicates, mixture,
held-out documents, the global shuffle, shards) against a datatrove pipeline that reads the same
files, finds sentences with the same library, cuts as many documents and writes Parquet. Then one
worker process against two. ``--large N`` makes N documents and measures memory instead.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import alternate, finish, option_parser, show
from benchmarks.prep_data import paper_like, write_documents
from benchmarks.prep_peers import datatrove_prep
from data_prep.config import CorpusConfig
from data_prep.prepare import prepare

_QUESTIONS = ("speed", "scaling")
_ALL = 8_000_000
# Prep in a process of its own: seconds, and the largest of it and its workers.
_PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from data_prep.config import CorpusConfig
from data_prep.executors.processes import Processes
from data_prep.prepare import prepare
config = CorpusConfig.model_validate_json(Path(sys.argv[1]).read_text())
begin = time.perf_counter()
executor = Processes(int(sys.argv[3]))
made = prepare(config, Path(sys.argv[2]), lambda line: print(line, file=sys.stderr), executor)
seconds = time.perf_counter() - begin
executor.close()  # whose peaks count only when they have ended
peaks = [resource.getrusage(who).ru_maxrss / 1024
         for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"seconds": seconds, "rows": made.rows, "peak_rss_mb": max(peaks)}))
"""


def _fresh(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    return directory


def _silent(_line: str) -> None:
    """Report to nobody."""


def speed(config: CorpusConfig, directory: Path, text_bytes: int, rounds: int) -> dict[str, Any]:
    """Compare with datatrove, in one process and in turn.

    Args:
        config: The corpus.
        directory: Where it may be written.
        text_bytes: Bytes of the sources' texts.
        rounds: How often each has a turn.

    Returns:
        The figures.
    """
    texts: dict[str, int] = {}

    def ours() -> None:
        texts["prep"] = prepare(config, _fresh(directory / "ours"), _silent).rows

    candidates: dict[str, Callable[[], None]] = {"prep": ours}
    peer = datatrove_prep(config, directory / "peer")
    if peer is not None:

        def theirs() -> None:
            _fresh(directory / "peer")
            texts["datatrove"] = peer()

        candidates["datatrove"] = theirs
    seconds = alternate(candidates, rounds)
    show(
        ["", "texts", "seconds", "texts/s"],
        [[name, texts[name], seconds[name], texts[name] / seconds[name]] for name in candidates],
    )
    return {
        "texts_per_s": round(texts["prep"] / seconds["prep"]),
        "mb_per_s": round(text_bytes / 1e6 / seconds["prep"], 2),
        # Of the same documents; the mixture leaves some of our texts out.
        "vs_datatrove": round(seconds["datatrove"] / seconds["prep"], 2) if peer else None,
    }


def alone(config: CorpusConfig, directory: Path, workers: int) -> dict[str, Any]:
    """Make a corpus in processes of its own.

    Args:
        config: The corpus.
        directory: Where it may be written.
        workers: How many processes work.

    Returns:
        ``seconds``, ``rows`` and ``peak_rss_mb``, the largest of all processes.
    """
    (directory / "config.json").write_text(config.model_dump_json())
    target = _fresh(directory / "alone")
    arguments = [str(directory / "config.json"), str(target), str(workers)]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    shutil.rmtree(target)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def scaling(config: CorpusConfig, directory: Path, rounds: int) -> dict[str, Any]:
    """Compare one worker process with two, in turn.

    Args:
        config: The corpus.
        directory: Where it may be written.
        rounds: How often each has a turn.

    Returns:
        The figures.
    """
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, times in seconds.items():
            times.append(alone(config, directory, workers)["seconds"])
    medians = {workers: statistics.median(times) for workers, times in seconds.items()}
    show(["workers", "seconds"], [[workers, medians[workers]] for workers in medians])
    return {"scaling_2": round(medians[1] / medians[2], 2)}


def large(directory: Path, shared: str | None, documents: int, workers: int) -> dict[str, Any]:
    """Make a large corpus once.

    Args:
        directory: Where everything may be written.
        shared: Where real sentences are; may be None.
        documents: How many.
        workers: How many processes work.

    Returns:
        The figures.
    """
    begin = time.perf_counter()
    size = write_documents(directory / "data", shared, documents, files=8)
    print(f"wrote {documents} documents in {time.perf_counter() - begin:.0f} s")
    made = alone(paper_like(directory / "data"), directory, workers)
    rate = made["rows"] / made["seconds"]
    return {
        "documents": documents,
        "texts": made["rows"],
        "text_mb": round(size / 1e6),
        "workers": workers,
        "seconds": round(made["seconds"], 1),
        "texts_per_s": round(rate),
        "peak_rss_mb": round(made["peak_rss_mb"]),
        "hours_8m": round(_ALL / rate / 3600, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = option_parser(__doc__)
    parser.add_argument("--texts", type=int, default=1_000_000, help="Documents to measure with.")
    parser.add_argument("--only", choices=_QUESTIONS, help="Answer one question.")
    parser.add_argument("--large", type=int, metavar="N", help="Memory and time of N documents.")
    parser.add_argument("--workers", type=int, default=2, help="Processes of --large.")
    chosen = parser.parse_args()
    documents, rounds = (400, 1) if chosen.quick else (chosen.texts, 3)
    shared = os.environ.get("JASPER_SHARED")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        if chosen.large:
            figures = large(directory, shared, chosen.large, chosen.workers)
        else:
            size = write_documents(directory / "data", shared, documents, files=4)
            config = paper_like(directory / "data")
            if chosen.only in (None, "speed"):
                figures |= speed(config, directory, size, rounds)
            if chosen.only in (None, "scaling"):
                figures |= scaling(config, directory, rounds)
            figures |= {"documents": documents}
    finish(figures, chosen.json)


if __name__ == "__main__":
    main()
