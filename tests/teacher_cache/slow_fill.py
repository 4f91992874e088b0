"""A worker to kill, of one share if it is told which.

``python -m tests.teacher_cache.slow_fill STORE CORPUS LOG SECONDS NOISE [K/N]``
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.corpus import Corpus
from teacher_cache.fill import fill_share
from teacher_cache.store import TeacherStore
from teacher_cache.workers import ALONE, parse
from tests.teacher_cache.small import LoggingEncoder, dummy


class SlowEncoder(LoggingEncoder):
    """Takes its time over every shard."""

    seconds = 0.0

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = super().encode(texts, roles)
        time.sleep(self.seconds)
        return vectors


def say(line: str) -> None:
    """Report to whoever waits for the moment to kill."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fill the store with the dummy teacher."""
    directory, corpus_directory, log, seconds, noise, *share = sys.argv[1:]
    corpus = Corpus.open(Path(corpus_directory))
    store = TeacherStore.create(Path(directory), corpus)
    encoder = SlowEncoder(dummy(), corpus, Path(log), float(noise))
    encoder.seconds = float(seconds)
    worker = parse(share[0]) if share else ALONE
    fill_share(store, corpus, dummy(), lambda: encoder, say, worker)


if __name__ == "__main__":
    main()
