"""Moving a run by command, and training from a place that is not on this machine."""

import json
import shutil
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from student.places import Places
from tests.pipelines.tiny_run import write_inputs
from tests.teacher_cache.s3_server import S3Server
from tests.teacher_cache.small import vector_files


def pipe(*arguments: object):
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def ok(*arguments: object):
    done = pipe(*arguments)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a corpus and a store."""
    root = tmp_path_factory.mktemp("taught")
    recipe = write_inputs(root / "inputs")
    for command in ("prep", "teach"):
        ok(command, "--run", root / "run", "--recipe", recipe)
    return root / "run"


@pytest.fixture(scope="module")
def url(taught: Path, s3: S3Server) -> str:
    """The same run on an S3 server of this machine."""
    fsspec.filesystem("s3").mkdir("runs")
    ok("store", "push", "s3://runs/one", "--run", taught)
    return "s3://runs/one"


SHORT = ["--stage", 1, "--set", "stages.0.steps=6", "--set", "stages.0.log_every=1"]


def losses(run: Path) -> list[float]:
    lines = Places(run / "student").metrics(1).read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_a_trainer_reads_through_the_cache(taught: Path, url: str, tmp_path: Path) -> None:
    shutil.copytree(taught, tmp_path / "local")
    ok("distill", "--run", tmp_path / "local", *SHORT)
    # The run does not exist: its recipe and its corpus come from there.
    for readers in (0, 1):
        run, cache = tmp_path / f"remote-{readers}", tmp_path / f"cache-{readers}"
        options = ["--store", url, "--cache", cache, "--set", f"training.readers={readers}"]
        ok("distill", "--run", run, *SHORT, *options)
        assert losses(run) == losses(tmp_path / "local")
        assert not (run / "store").exists()
        assert len(list((cache / "shards").iterdir())) == len(
            list((taught / "store" / "commits").glob("*/*.json"))
        )
        assert (run / "recipe.toml").exists()


def test_a_window_that_does_not_fit_is_told_before_training(
    taught: Path, url: str, tmp_path: Path
) -> None:
    options = ["--run", tmp_path / "r", "--store", url, "--cache", tmp_path / "cache"]
    done = pipe("distill", *options, "--cache-size", "15kB")
    assert done.exit_code == 1
    assert "training.order_block_rows=64" in done.output
    assert not Places(tmp_path / "r" / "student").identity(1).exists()
    blocks = ["--set", "training.order_block_rows=64", "--set", "training.order_window_blocks=1"]
    ok("distill", *options, *SHORT, "--cache-size", "15kB", *blocks)
    done = pipe("distill", *options, "--cache-size", "many")
    assert done.exit_code == 2
    assert "found the cache size 'many'" in done.output


def test_a_run_is_pulled_as_it_was_pushed(taught: Path, url: str, tmp_path: Path) -> None:
    said = json.loads(ok("store", "pull", url, "--run", tmp_path / "r", "--json").stdout)
    shards = len(list((taught / "store" / "commits").glob("*/*.json")))
    assert (said["copied"], said["standing"], said["differences"]) == (shards, 0, [])
    assert said["corpus_shards_copied"] == shards // 2
    assert vector_files(tmp_path / "r" / "store") == vector_files(taught / "store")
    recipe = (tmp_path / "r" / "recipe.toml").read_bytes()
    assert recipe == (taught / "recipe.toml").read_bytes()
    ok("store", "verify", "--run", tmp_path / "r")
    again = ok("store", "pull", url, "--run", tmp_path / "r").stdout
    assert f"0 shards copied (0 B), {shards} were there" in again


def test_all_but_the_vectors(url: str, tmp_path: Path) -> None:
    ok("store", "pull", url, "--run", tmp_path / "r", "--no-vectors")
    assert not list((tmp_path / "r" / "store" / "commits").glob("*/*"))
    # What was left out stands elsewhere, and is had later.
    ok("store", "pull", url, "--run", tmp_path / "r", "--shards", "0")
    assert len(list((tmp_path / "r" / "store" / "commits").glob("*/*"))) == 2


def test_parts_merge_into_the_whole(taught: Path, url: str, tmp_path: Path) -> None:
    shards = len(list((taught / "store" / "commits" / "second").glob("*.json")))
    a, b, c = (tmp_path / name for name in "abc")
    ok("store", "pull", url, "--run", a, "--shards", "0-1", "--teacher", "second")
    ok("store", "pull", url, "--run", b, "--shards", f"1-{shards - 1}")
    ok("store", "pull", taught, "--run", c, "--shards", "0", "--teacher", "dummy")
    said = json.loads(ok("store", "merge", a, f"{b}/store", c, "--into", tmp_path / "all",
                         "--json").stdout)  # fmt: skip
    assert said["copied"] == 2 * shards
    assert said["from"] == [str(a), str(b), str(c)]
    assert vector_files(tmp_path / "all" / "store") == vector_files(taught / "store")
    assert (tmp_path / "all" / "recipe.toml").exists()
    ok("store", "verify", "--run", tmp_path / "all")


@pytest.mark.parametrize("shards", ["x", "1-", "-3", "1,,2", "", "9-3", "0-99999999999"])
def test_a_wrong_list_of_shards_is_a_usage_error(url: str, tmp_path: Path, shards: str) -> None:
    done = pipe("store", "pull", url, "--run", tmp_path / "r", "--shards", shards)
    assert done.exit_code == 2
    assert "expected numbers and ranges such as 0-99,120" in done.output


def test_a_place_that_is_not_there_is_a_sentence(url: str, tmp_path: Path) -> None:
    for where in (tmp_path / "nothing", "s3://runs/nothing", "s3://no-such-bucket/run"):
        done = pipe("store", "pull", where, "--run", tmp_path / "r")
        assert done.exit_code == 1
        assert "found no store in" in done.output
        assert not (tmp_path / "r").exists()
    done = pipe("distill", "--run", tmp_path / "r", "--store", "s3://runs/nothing")
    assert done.exit_code == 2
    assert "check --store" in done.output


def test_a_run_that_is_called_store(taught: Path, url: str, tmp_path: Path) -> None:
    run = tmp_path / "store"
    ok("store", "pull", url, "--run", run)
    assert vector_files(run / "store") == vector_files(taught / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    ok("store", "push", f"{tmp_path}/there", "--run", run)
    ok("store", "merge", run, "--into", tmp_path / "merged", "--shards", "0")
    ok("store", "pull", run / "store", "--run", tmp_path / "back", "--shards", "0")
    assert (tmp_path / "back" / "corpus" / "manifest.json").exists()


def test_a_refused_pull_leaves_nothing(url: str, tmp_path: Path) -> None:
    recipe = write_inputs(tmp_path / "inputs")
    ok("prep", "--run", tmp_path / "r", "--recipe", recipe, "--set", "corpus.seed=77")
    before = sorted(path for path in (tmp_path / "r").rglob("*"))
    done = pipe("store", "pull", url, "--run", tmp_path / "r")
    assert done.exit_code == 1
    assert "holds another corpus than the store to be copied" in done.output
    assert sorted(path for path in (tmp_path / "r").rglob("*")) == before
