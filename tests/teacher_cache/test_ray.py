"""Ray: several actors leave what one process leaves, and a lost one loses nothing."""

import os
import signal
from contextlib import suppress
from functools import partial

import numpy as np
import pytest

from data_prep.errors import PipeError, UsageError
from data_prep.executors import Begun, Places, load_executor
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.fill import fill, fill_share
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from tests.teacher_cache.small import dummy, make_corpus, vector_files

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two places on this machine, for all tests here; starting Ray takes seconds."""
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    signal.signal(signal.SIGTERM, handler)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), rows=8 * 64 - 20)


class DyingEncoder(DummyEncoder):
    """Writes down in which process it encodes; dies of its third shard, the first time."""

    def __init__(self, teacher, log):
        super().__init__(teacher)
        self._log = log

    def encode(self, texts, roles):
        if len(texts) > 6:  # the canary has six
            with self._log.open("a") as file:
                file.write(f"{os.getpid()}\n")
            if len(self._log.read_text().split()) >= 3:
                die_once(self._log.with_suffix(".died"))
        return super().encode(texts, roles)


def die_once(mark):
    """Kill this process, unless one has been killed with this mark before."""
    with suppress(FileExistsError), mark.open("x") as file:
        file.write(str(os.getpid()))
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


class DyingAfterItsCommit:
    """Actors of which the first dies between its commit and its answer."""

    def __init__(self, mark, executor):
        self._mark = mark
        self._executor = executor

    def run(self, tasks, make_worker):
        def make_dying():
            work = make_worker()

            def do(task):
                begun = work(task)

                def finish():
                    done = begun.finish()
                    die_once(self._mark)
                    return done

                return Begun(finish)

            return do

        return self._executor.run(tasks, make_dying)


class WrongEncoder(DummyEncoder):
    """All texts have one vector, which the canary notices."""

    def encode(self, texts, roles):
        return np.full((len(texts), self.dim), self.dim**-0.5, np.float32)


def two_actors(lines):
    return load_executor("ray", Places(actors=2), lines.append)


def is_that_of_one_process(store, corpus, directory):
    assert verify(store, corpus) == []
    direct = TeacherStore.create(directory, corpus)
    fill(direct, corpus, dummy(), DummyEncoder(dummy()), lambda line: None)
    # A killed actor's mark goes with the call that it belonged to.
    assert not any((store.directory / "running" / "dummy").iterdir())
    return vector_files(store.directory) == vector_files(direct.directory)


def test_a_lost_actor_loses_nothing_and_the_store_is_that_of_one_process(tmp_path, corpus):
    log = tmp_path / "encoded.log"
    lines = []
    store = TeacherStore.create(tmp_path / "store", corpus)
    load = partial(DyingEncoder, dummy(), log)
    done = fill_share(store, corpus, dummy(), load, lines.append, executor=two_actors(lines))
    assert (done.shards_written, done.rows_written) == (8, corpus.rows)
    assert any("an actor was lost with task" in line for line in lines)
    killed = int(log.with_suffix(".died").read_text())
    pids = list(map(int, log.read_text().split()))
    # Another one at least encoded, and only the lost shard was begun twice.
    assert {killed} < set(pids)
    assert len(pids) == 9
    assert os.getpid() not in pids
    assert is_that_of_one_process(store, corpus, tmp_path / "direct")


def test_a_shard_whose_actor_dies_after_its_commit_is_not_encoded_twice(tmp_path, corpus):
    lines = []
    store = TeacherStore.create(tmp_path / "store", corpus)
    executor = DyingAfterItsCommit(tmp_path / "died", two_actors(lines))
    load = partial(DummyEncoder, dummy())
    done = fill_share(store, corpus, dummy(), load, lines.append, executor=executor)
    assert (done.shards_written, done.shards_standing) == (7, 1)
    assert any("an actor was lost with task" in line for line in lines)
    assert sum("is committed already" in line for line in lines) == 1
    assert is_that_of_one_process(store, corpus, tmp_path / "direct")


def test_an_actors_sentence_comes_out_as_it_is(tmp_path, corpus):
    store = TeacherStore.create(tmp_path / "store", corpus)
    with pytest.raises(PipeError, match=r"^canary texts 0 and 1 have the same vector") as caught:
        fill_share(
            store, corpus, dummy(), partial(WrongEncoder, dummy()), lambda line: None,
            executor=two_actors([]),
        )  # fmt: skip
    assert type(caught.value) is PipeError
    assert not store.committed("dummy")


def test_a_lost_actor_is_replaced(tmp_path):
    def make_worker():
        def work(task):
            if not (tmp_path / "once").exists():
                (tmp_path / "once").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return Begun(lambda: (os.getpid(), task * task))

        return work

    executor = load_executor("ray", Places(actors=1), lambda line: None)
    results = dict(executor.run([1, 2, 3], make_worker))
    assert {task: square for task, (_, square) in results.items()} == {1: 1, 2: 4, 3: 9}
    # One worker made all three: it was made once, and only its predecessor was lost.
    assert len({pid for pid, _ in results.values()}) == 1


def test_a_task_that_kills_its_actors_is_given_up():
    def make_worker():
        return lambda task: os.kill(os.getpid(), signal.SIGKILL) if task == 1 else task

    lines = []
    results = two_actors(lines).run([1], make_worker)
    with pytest.raises(PipeError, match=r"found 3 actors in a row lost with task 1"):
        list(results)
    assert sum("is replaced" in line for line in lines) == 2


def test_an_actor_that_fits_nowhere_is_refused():
    executor = load_executor("ray", Places(gpus_per_actor=64.0), lambda line: None)
    with pytest.raises(UsageError, match="expected room for an actor with 64 GPU and 1 CPU"):
        list(executor.run([1], lambda: lambda task: task))
