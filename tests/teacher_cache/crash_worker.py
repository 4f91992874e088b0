"""A worker that is killed: encodes its share of a store, in a process forked from a warm one."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.corpus import Corpus
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.fill import fill_share
from teacher_cache.store import TeacherStore
from teacher_cache.workers import Worker
from tests.teacher_cache.small import dummy

SECONDS_A_SHARD = 0.01


class NotingEncoder(DummyEncoder):
    """Notes the first text of every shard before it encodes it, and takes its time."""

    def __init__(self, log: Path) -> None:
        super().__init__(dummy())
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        os.write(self._log, f"{os.getpid()} {texts[0]}\n".encode())
        time.sleep(SECONDS_A_SHARD)
        return super().encode(texts, roles)


def work(directory: Path, corpus_directory: Path, log: Path, worker: Worker) -> None:
    """Fill a worker's share."""
    corpus = Corpus.open(corpus_directory)
    store = TeacherStore.create(directory, corpus)
    fill_share(store, corpus, dummy(), lambda: NotingEncoder(log), lambda line: None, worker=worker)
