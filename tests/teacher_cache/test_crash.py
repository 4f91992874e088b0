"""Filling by two workers, killed at random moments: nothing is lost, wrong, or done over and over.

The workers are forked from a warm server, so that a kill costs the time of the work alone.
"""

import random
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from data_prep.corpus import Corpus
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.fill import fill
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from teacher_cache.workers import Worker
from tests.teacher_cache.crash_worker import SECONDS_A_SHARD, work
from tests.teacher_cache.small import dummy, make_corpus, vector_files
from tests.warm import context

SHARDS = 24
ROWS = SHARDS * 64 - 7
WORKERS = 2
MOST_SHARDS = 3


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> TeacherStore:
    root = tmp_path_factory.mktemp("undisturbed")
    corpus = make_corpus(root, ROWS)
    store = TeacherStore.create(root / "store", corpus)
    fill(store, corpus, dummy(), DummyEncoder(dummy()), lambda line: None)
    return store


def wait_for_shards(life: BaseProcess, log: Path, shards: int) -> None:
    """Until a worker has begun so many, or has ended."""

    def begun() -> int:
        lines = log.read_text().splitlines() if log.exists() else []
        # The canary's texts, which are noted as well, begin otherwise.
        own = (f"{life.pid} passage ", f"{life.pid} question ")
        return sum(line.startswith(own) for line in lines)

    while begun() < shards and life.is_alive():
        life.join(0.001)


def crash(place: Path, undisturbed: TeacherStore, dice: random.Random, kills: int) -> int:
    """Fill a store, killing workers until it is full or there have been so many kills."""
    place.mkdir()
    corpus = Corpus.open(undisturbed.directory.parent / "corpus")
    directory, log = place / "store", place / "log"
    workers = [Worker(number, WORKERS) for number in range(1, WORKERS + 1)]
    killed = 0
    lives: dict[Worker, BaseProcess] = {}
    unfinished = set(workers)
    while unfinished:
        for worker in unfinished - lives.keys():
            life = context.Process(target=work, args=(directory, corpus.directory, log, worker))
            life.start()
            lives[worker] = life
        if killed < kills:
            victim = dice.choice(sorted(unfinished, key=lambda worker: worker.number))
            wait_for_shards(lives[victim], log, dice.randrange(MOST_SHARDS + 1))
            lives[victim].join(dice.uniform(0, 3 * SECONDS_A_SHARD))
            if lives[victim].is_alive():
                lives[victim].kill()
                killed += 1
        else:
            for life in lives.values():
                life.join(60)
        for worker, life in list(lives.items()):
            if not life.is_alive():
                life.join()
                # A worker ends well, or by the kill; it never stumbles over what a kill left.
                assert life.exitcode in (0, -9)
                if life.exitcode == 0:
                    unfinished.discard(worker)
                del lives[worker]
    store = TeacherStore.open(directory, corpus)
    assert verify(store, corpus) == []
    found = vector_files(directory)
    # Only a file that was never put in its place may be left besides.
    whole = {name: content for name, content in found.items() if not name.startswith(".")}
    assert whole == vector_files(undisturbed.directory)
    numbers = {corpus.texts(shard)[0][0]: shard for shard in range(SHARDS)}
    notes = [line.split(" ", 1) for line in log.read_text().splitlines()]
    encoded = [(int(life), numbers[text]) for life, text in notes if text in numbers]
    # Once per life at most, and a kill costs at most the shards being encoded and being written.
    assert max(Counter(encoded).values()) == 1
    assert {shard for _, shard in encoded} == set(range(SHARDS))
    assert len(encoded) <= SHARDS + 2 * killed
    return killed


def test_workers_that_are_killed_fill_the_store_all_the_same(
    tmp_path: Path, undisturbed: TeacherStore
) -> None:
    assert crash(tmp_path / "one", undisturbed, random.Random(1), kills=6) > 0


@pytest.mark.slow
def test_a_hundred_and_forty_kills(tmp_path: Path, undisturbed: TeacherStore) -> None:
    killed, begun = 0, time.monotonic()
    for seed in range(1000):
        killed += crash(tmp_path / str(seed), undisturbed, random.Random(seed), kills=12)
        if killed >= 140:
            break
        assert time.monotonic() - begun < 3600
    assert killed >= 140
