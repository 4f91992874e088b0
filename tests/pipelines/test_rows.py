"""Training on the shards that have come: fixed when the stage begins, whatever comes later."""

import json

import pytest

from data_prep.errors import PipeError
from student.batches import BatchStream
from student.trainer import DistillTrainer
from teacher_cache.store import TeacherStore
from tests.killed import killed
from tests.pipelines.partial_run import SIZE, Partial, prepare
from tests.pipelines.test_kill import losses

SHARDS = {"dummy": [0, 1, 3, 4], "second": [1, 3, 4, 5]}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def partial(prepared, tmp_path):
    return lambda name="run": Partial(tmp_path / name, *prepared)


def test_a_stage_is_trained_on_the_shards_that_every_teacher_has(partial, monkeypatch):
    run = partial().come(SHARDS)
    seen: list[int] = []
    plain = BatchStream._read

    def watched(stream):
        for batch in plain(stream):
            seen.extend(batch["rows"].tolist())
            yield batch

    monkeypatch.setattr(BatchStream, "_read", watched)
    said = run.distill("--stage", "1", "--rows", "available")
    total = run.corpus.rows - run.corpus.held_out_rows
    count = run.corpus.num_shards
    assert f"training on 3 of {count} shards ({3 * SIZE} of {total} rows)" in said
    assert {row // SIZE for row in seen} == {1, 3, 4}
    assert run.record(1)["shards"] == {"ranges": "1,3-4", "count": 3}

    # The next stage takes what has come by then; the first one stays as it was.
    run.come({"dummy": [5], "second": [0]})
    seen.clear()
    said = run.distill("--rows", "available", "--set", "stages.2.steps=1")
    rows = 5 * SIZE - run.corpus.held_out_rows
    assert f"stage 2 (last): training on 5 of {count} shards ({rows} of {total} rows)" in said
    assert {row // SIZE for row in seen} == {0, 1, 3, 4, 5}
    assert min(seen) >= run.corpus.held_out_rows
    assert run.record(1)["shards"] == {"ranges": "1,3-4", "count": 3}
    assert run.record(2)["shards"] == {"ranges": "0-1,3-5", "count": 5}
    assert run.record(2)["earlier_shards"] == [{"ranges": "1,3-4", "count": 3}]


def test_the_store_hears_one_window_ahead_what_will_be_read(partial, monkeypatch):
    run = partial().come(SHARDS)
    steps: list[set[int]] = []
    announced: list[tuple[set[int], list[str], int]] = []
    plain = BatchStream._read

    def watched(stream):
        for batch in plain(stream):
            steps.append(set(batch["rows"].tolist()))
            yield batch

    def expect(store, rows, teachers):
        announced.append((set(rows.tolist()), teachers, len(steps)))

    monkeypatch.setattr(BatchStream, "_read", watched)
    monkeypatch.setattr(TeacherStore, "expect", expect)
    sets = ["training.order_window_blocks=1", "stages.0.steps=10", "stages.0.save_every=10"]
    run.distill("--stage", "1", "--rows", "available", *(f"--set={one}" for one in sets))
    # A window of 64 rows lasts 4 steps of 16.
    assert announced == [
        (set().union(*steps[first : first + 8]), ["dummy", "second"], first) for first in (0, 4, 8)
    ]


def test_with_every_shard_there_it_is_a_stage_on_all_rows(partial):
    some, every = partial("some").come(), partial("every").come()
    some.distill("--stage", "1", "--rows", "available")
    assert "shards" not in every.distill("--stage", "1")
    assert some.final(1) == every.final(1)
    assert some.record(1) == every.record(1)
    assert every.record(1)["shards"] is None


def test_killed_and_resumed_after_other_shards_came(partial):
    steps = ["--stage", "1", "--set", "stages.0.steps=16"]
    clean, run = partial("clean").come(SHARDS), partial("killed").come(SHARDS)
    clean.distill(*steps, "--rows", "available")
    moment = f"{run.places.checkpoint(1, 4)}/complete.json"
    assert killed(moment, "pipelines", "distill", *run.options, *steps, "--rows", "available")
    run.come()
    said = run.distill(*steps)
    assert "training on 3 of" in said
    assert "which it was begun on" in said
    assert "from step" in said
    assert run.final(1) == clean.final(1)
    assert losses(run.directory, 1) == losses(clean.directory, 1)
    assert run.record(1) == clean.record(1)


@pytest.fixture
def begin(monkeypatch):
    """Begin a stage and stop before its first step, as a kill there would; give what was said."""

    def stop(*_, **__):
        raise PipeError("stopped")

    def call(run: Partial, *arguments: str) -> str:
        with monkeypatch.context() as patched:
            patched.setattr(DistillTrainer, "train", stop)
            code, output = run.pipe("distill", *arguments)
        assert code == 1
        assert "stopped" in output
        return output

    return call


def test_a_recorded_shard_that_is_not_here(partial, begin):
    run, elsewhere = partial().come(SHARDS), partial("elsewhere")
    begin(run, "--stage", "1", "--rows", "available")
    elsewhere.come({"dummy": [1, 3, 4], "second": [0, 1, 3]})
    (elsewhere.directory / "student").symlink_to(run.directory / "student")
    for choice in ("all", "available"):
        code, output = elsewhere.pipe("distill", "--stage", "1", "--rows", choice)
        assert code == 1
        assert "lacks 1 shards of teacher second (4) that stage 1 was begun on" in output


def test_a_stage_on_all_rows_stays_one(partial, begin):
    run, elsewhere = partial().come(), partial("elsewhere").come(SHARDS)
    assert "begun on" not in begin(run, "--stage", "1")
    said = begin(run, "--stage", "1", "--rows", "available")
    assert "training on all rows, which it was begun on" in said
    (elsewhere.directory / "student").symlink_to(run.directory / "student")
    code, output = elsewhere.pipe("distill", "--stage", "1", "--rows", "available")
    assert code == 1
    assert "that stage 1 was begun on" in output


def test_a_record_from_before_is_of_all_rows(partial, begin):
    run = partial().come()
    begin(run, "--stage", "1")
    record = run.record(1)
    older = {key: value for key, value in record.items() if "shards" not in key}
    assert len(older) == len(record) - 2
    run.places.identity(1).write_text(json.dumps(older))
    assert "begun on" not in begin(run, "--stage", "1")
    assert run.record(1) == record


def test_another_set_before_is_another_stage(partial, begin):
    run = partial().come(SHARDS)
    run.distill("--stage", "1", "--rows", "available")
    begin(run, "--stage", "2", "--rows", "available")
    record = run.record(1)
    record["shards"] = {"ranges": "3-4", "count": 2}
    run.places.identity(1).write_text(json.dumps(record))
    code, output = run.pipe("distill", "--stage", "2")
    assert code == 1
    assert 'earlier_shards.0.ranges changed from "1,3-4" to "3-4"' in output
    # Without the first stage's record its shards are not known to have changed.
    run.places.identity(1).unlink()
    begin(run, "--stage", "2")


@pytest.mark.parametrize("shards", [{"ranges": "3-1", "count": 1}, {"ranges": "1-3", "count": 2}])
def test_a_broken_record(partial, begin, shards):
    run = partial().come(SHARDS)
    begin(run, "--rows", "available")
    run.places.identity(1).write_text(json.dumps(run.record(1) | {"shards": shards}))
    code, output = run.pipe("distill", "--stage", "1")
    assert code == 1
    assert "does not describe a stage (wrong: shards)" in output


def test_too_few_shards_are_a_sentence_and_leave_no_record(partial):
    run = partial().come({"dummy": [1, 2], "second": [0]})
    code, output = run.pipe("distill", "--rows", "available")
    assert code == 1
    assert "no shard in the store that has come from every one of the teachers" in output
    run.come({"dummy": [0], "second": []})
    code, output = run.pipe("distill", "--rows", "available", "--set", "stages.0.batch_size=65")
    assert code == 1
    assert "a batch takes 65" in output
    code, output = run.pipe("distill")
    assert code == 1
    assert "lacks" in output
    assert "--rows available" in output
    assert not run.places.identity(1).exists()


def test_held_out_rows_that_have_not_come(partial):
    run = partial().come(SHARDS)
    run.distill("--stage", "1", "--rows", "available")
    code, output = run.pipe("eval")
    assert code == 1
    assert "held-out" in output
    assert "shard 0" in output
    assert "pipe teach --teacher second" in output
    run.come({"dummy": [], "second": [0]})
    code, output = run.pipe("eval")
    assert code == 0, output
    assert "held-out cosine" in output
