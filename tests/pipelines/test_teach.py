"""``pipe teach`` by many workers, its end by a signal, and what ``pipe status`` says of it."""

import json
import os
import shutil
import signal
import time

import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from teacher_cache.running import running
from tests.pipelines.tiny_run import pipe
from tests.warm import WarmProcess


@pytest.fixture(scope="module")
def prepared(inputs, tmp_path_factory):
    """A run with a corpus alone."""
    directory = tmp_path_factory.mktemp("prepared") / "run"
    done = invoke("prep", "--recipe", str(inputs), "--run", str(directory))
    assert done.exit_code == 0, done.output
    return directory


@pytest.fixture
def run(prepared, tmp_path):
    """A copy of it, to fill."""
    return shutil.copytree(prepared, tmp_path / "run")


def invoke(*arguments, **environ):
    return CliRunner().invoke(cli, list(arguments), env=environ)


def teach(run, *arguments, **environ):
    done = invoke("teach", "--run", str(run), *arguments, **environ)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def committed(run, teacher="dummy"):
    return sorted(int(path.stem) for path in (run / "store" / "commits" / teacher).glob("*.json"))


def shards(run):
    return len(list((run / "corpus").glob("*.parquet")))


def leftovers(run):
    places = [run / "store" / "scratch", run / "store" / "running"]
    return [path for place in places for path in place.rglob("*") if path.is_file()]


def test_a_worker_takes_its_share_and_the_option_beats_the_environment(run):
    launched = {"RANK": "1", "WORLD_SIZE": "4"}
    done = teach(run, "--teacher", "dummy", **launched)
    assert done.exit_code == 0, done.output
    record = run / "store" / "commits" / "dummy" / "00001.json"
    assert json.loads(record.read_text())["engine"] == "transformers"
    assert "worker 2/4, from torchrun" in done.output
    assert committed(run) == list(range(1, shards(run), 4))
    done = teach(run, "--teacher", "dummy", "--worker", "1/2", **launched)
    assert "worker 1/2, from --worker" in done.output
    assert committed(run) == sorted({*range(1, shards(run), 4), *range(0, shards(run), 2)})
    assert "to write" in done.output
    done = teach(run)
    assert "worker" not in done.output
    assert committed(run) == committed(run, "second") == list(range(shards(run)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--worker", "17/16"], "found worker 17/16 from --worker"),
        (["--worker", "three"], "found --worker 'three'"),
        (["--executor", "slurm"], "'slurm' is not one of"),
        (["--actors", "2"], "add --executor ray"),
        (["--executor", "ray", "--actors", "0"], "--actors"),
        (["--executor", "ray", "--gpus-per-actor", "-1"], "--gpus-per-actor"),
    ],
)
def test_bad_options_end_in_a_sentence(run, options, words):
    done = teach(run, *options)
    assert done.exit_code == 2
    assert words in done.output
    assert not (run / "store").exists()


def test_a_broken_environment_ends_in_a_sentence(run):
    done = teach(run, RANK="3", WORLD_SIZE="")
    assert done.exit_code == 2
    assert "'' for WORLD_SIZE" in done.output


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_is_a_sentence(run, address):
    done = teach(run, "--executor", "ray", "--ray-address", address)
    assert done.exit_code == 1
    assert f"error: found no Ray to work with at {address}" in done.output


def test_commands_for_one_process_say_so(run):
    done = invoke("export", "--run", str(run), RANK="0", WORLD_SIZE="2")
    assert done.exit_code == 2
    assert "a launch of 2 processes" in done.output


def status(run):
    lines = json.loads(invoke("status", "--run", str(run), "--json").stdout)
    return {line["what"]: line for line in lines}


def test_status_counts_a_bad_shard_and_goes_on(run):
    every = shards(run)
    before = status(run)["teacher dummy"]
    assert (before["done"], before["total"], before["missing"]) == (0, every, every)
    teach(run, "--worker", "1/2")
    (run / "store" / "commits" / "dummy" / "00000.json").write_text("{}")
    found = status(run)
    dummy, second = found["teacher dummy"], found["teacher second"]
    assert (dummy["bad"], second["bad"]) == (1, 0)
    assert dummy["missing"] == second["missing"] == every // 2
    assert dummy["done"] + 1 == second["done"] == every - every // 2
    assert all(
        line["done"] + line["running"] + line["missing"] + line["bad"] == line["total"] == every
        for line in (dummy, second)
    )
    assert found["corpus"].keys() == {"what", "done", "total", "unit"}
    said = invoke("status", "--run", str(run))
    assert said.exit_code == 0
    assert f"{every // 2} missing, 1 bad" in said.stdout
    plan = json.loads(invoke("plan", "--run", str(run), "--json").stdout)
    assert [teacher["shards_done"] for teacher in plan["teachers"]] == [
        dummy["done"],
        second["done"],
    ]


def start_slowly(run, *options):
    """Start teaching with shards that never end."""
    command = ["tests.pipelines.slow_teach", "teach", "--run", str(run), *options]
    return WarmProcess(*command, env={"PIPE_TEST_SECONDS": "600"})


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def heard():
    """Ctrl-C reaches what is started here, even where a shell in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_shard_ends_within_seconds(run, sent):
    assert teach(run, "--teacher", "dummy", "--worker", "1/2").exit_code == 0
    before = {path: path.read_bytes() for path in (run / "store" / "commits").rglob("*.json")}
    process = start_slowly(run)
    wait_for(lambda: running(run / "store", "dummy"), process)
    assert status(run)["teacher dummy"]["running"] == 1
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in said
    assert "Traceback" not in said
    assert leftovers(run) == []
    assert {path: path.read_bytes() for path in before} == before
    assert status(run)["teacher dummy"]["running"] == 0
    assert teach(run).exit_code == 0
    assert committed(run) == list(range(shards(run)))
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_a_signal_ends_the_actors_too(run):
    process = start_slowly(run, "--executor", "ray", "--actors", "2")
    wait_for(lambda: len(running(run / "store", "dummy")) == 2, process)
    actors = [int(path.name.rpartition("-")[2]) for path in leftovers(run)]
    process.terminate()
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "the same command continues" in said
    assert "Traceback" not in said
    assert leftovers(run) == []
    for actor in actors:
        with pytest.raises(ProcessLookupError):
            os.kill(actor, 0)
    again = pipe("teach", "--run", str(run), "--executor", "ray", "--actors", "2")
    assert again.returncode == 0, again.stderr
    assert committed(run) == committed(run, "second") == list(range(shards(run)))


def test_a_teacher_may_be_called_student_where_there_are_no_images(inputs, tmp_path):
    directory = tmp_path / "run"
    changes = ["--recipe", str(inputs), "--run", str(directory), "--set", "teachers.1.name=student"]
    assert invoke("prep", *changes).exit_code == 0
    done = invoke("teach", *changes, "--teacher", "student")
    assert done.exit_code == 0, done.output
    assert "student: shard 0 committed" in done.output
    assert "dummy" not in done.output
