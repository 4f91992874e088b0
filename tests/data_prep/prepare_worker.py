"""Preparing to be killed: ``python -m tests.data_prep.prepare_worker CONFIG DIRECTORY [WORKERS]``.

Without a number of workers, CONFIG is that of image-caption pairs.
"""

import sys
from pathlib import Path

from data_prep import units
from data_prep.config import CorpusConfig
from data_prep.executors.processes import Processes
from data_prep.pairs.config import PairsConfig
from data_prep.pairs.prepare import prepare_pairs
from data_prep.prepare import prepare


def main() -> None:
    """Prepare with small units of work, and say that it has begun."""
    units.SMALLEST = 20_000
    file, target, *workers = sys.argv[1:]
    config, directory = Path(file).read_text(), Path(target)
    if workers:
        executor = Processes(int(workers[0]), patience=0.5)
        prepare(CorpusConfig.model_validate_json(config), directory, _say, executor)
    else:
        prepare_pairs(PairsConfig.model_validate_json(config), directory, _say)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
