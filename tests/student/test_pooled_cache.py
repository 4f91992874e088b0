"""Pooled states computed once: whole, the right rows, and computed anew where they are not."""

import pickle

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from pipelines.cli import cli
from student.encode import StudentEncoder
from student.order import TrainingOrder
from student.pooled_cache import PooledCache
from student.row_set import RowSet
from student.used_rows import drawn_rows
from tests.pipelines.tiny_run import write_inputs
from tests.student.tiny_students import HIDDEN, student

MODEL = student("bert")


@settings(max_examples=100, deadline=None)
@given(
    first=st.integers(0, 30),
    block=st.integers(1, 50),
    window=st.integers(1, 5),
    batch=st.integers(1, 40),
    start=st.integers(0, 60),
    count=st.integers(0, 60),
)
def test_the_drawn_rows_are_those_of_the_steps(first, block, window, batch, start, count):
    order = TrainingOrder(RowSet(((first, first + 90), (200, 260))), batch, (2,), block, window)
    steps = range(start, start + count)
    drawn = {int(row) for step in steps for row in order.batch(step)}
    assert drawn_rows(order, steps).tolist() == sorted(drawn)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("pooled")
    recipe = write_inputs(root / "inputs")
    done = CliRunner().invoke(cli, ["prep", "--run", str(root / "run"), "--recipe", str(recipe)])
    assert done.exit_code == 0, done.output
    return Corpus.open(root / "run" / "corpus")


@pytest.fixture
def make(corpus, tmp_path):
    rows = np.array([3, 5, 64, 65, 70, 130, 190, 191], dtype=np.int64)

    def make(**decided):
        return PooledCache(tmp_path / "pooled", corpus, rows, HIDDEN, decided)

    return make


def fill(cache, **ranks):
    lines = []
    return cache.fill(MODEL, "fp32", lines.append, **ranks), lines


def test_rows_are_read_in_any_order_and_no_other(make, corpus):
    cache = make()
    assert fill(cache)[0] == 3
    wanted = np.array([130, 3, 191, 65, 130, 64, 5])
    expected = StudentEncoder(MODEL, normalize=False).encode(*corpus.take(wanted))
    source = pickle.loads(pickle.dumps(cache.files))
    np.testing.assert_allclose(source.read(wanted), expected, atol=1e-5)
    for absent in (0, 66, 192):
        with pytest.raises(PipeError, match=f"row {absent}"):
            source.read(np.array([3, absent]))


def test_what_is_there_is_not_computed_again(make):
    assert fill(make())[0] == 3
    count, lines = fill(make())
    assert count == 0
    assert "8 rows in 3 shards" in lines[0]
    assert "1.0 kB" in lines[0]


def test_the_ranks_compute_all_and_no_shard_twice(make):
    first, second = fill(make(), rank=0, ranks=2)[0], fill(make(), rank=1, ranks=2)[0]
    assert (first, second) == (2, 1)
    assert fill(make())[0] == 0


@pytest.mark.parametrize("harm", ["cut", "bit", "no record", "wrong record", "no array"])
def test_a_broken_file_is_computed_anew(make, harm):
    cache = make()
    fill(cache)
    path = cache.files.path(1)
    whole = path.read_bytes()
    record = path.with_suffix(".json")
    if harm == "cut":
        path.write_bytes(whole[:-4])
    elif harm == "bit":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif harm == "no record":
        record.unlink()
    elif harm == "wrong record":
        record.write_text("[]")
    else:
        path.write_bytes(b"")
    assert not cache.is_whole(1)
    assert fill(make())[0] == 1
    assert path.read_bytes() == whole


def test_a_file_that_is_cut_while_training_is_a_sentence(make):
    cache = make()
    fill(cache)
    path = cache.files.path(1)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(PipeError, match="computes them anew"):
        cache.files.read(np.array([64]))


def test_other_settings_are_other_states(make):
    kept = make(precision="fp32")
    fill(kept)
    other = make(precision="bf16")
    assert fill(other)[0] == 3
    assert not kept.files.directory.exists()
    assert fill(make(precision="bf16"))[0] == 0


def test_killed_in_the_middle(make, monkeypatch):
    whole = make()
    fill(whole)
    expected = {path.name: path.read_bytes() for path in whole.files.directory.iterdir()}
    cache = make(other=1)
    encode, calls = StudentEncoder.encode, []

    def killed(self, texts, roles):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(texts))
        return encode(self, texts, roles)

    monkeypatch.setattr(StudentEncoder, "encode", killed)
    with pytest.raises(KeyboardInterrupt):
        fill(cache)
    monkeypatch.undo()
    assert [cache.is_whole(shard) for shard in cache.files.shards] == [True, True, False]
    assert fill(cache)[0] == 1
    found = {path.name: path.read_bytes() for path in cache.files.directory.iterdir()}
    assert {**found, "manifest.json": b""} == {**expected, "manifest.json": b""}
