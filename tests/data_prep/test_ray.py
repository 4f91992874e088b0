"""Ray: two actors make the corpus that one process makes."""

import signal

import pytest
from click.testing import CliRunner

from data_prep import units
from data_prep.errors import PipeError
from data_prep.executors import Places, load_executor
from data_prep.prepare import prepare
from pipelines.cli import cli
from tests.data_prep.helpers import corpus_config, file_bytes, silent
from tests.data_prep.test_out_of_core import MIXED, odd_sources

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two places on this machine, for all tests here; starting Ray takes seconds."""
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    signal.signal(signal.SIGTERM, handler)
    yield
    ray.shutdown()


def two_actors():
    return load_executor("ray", Places(actors=2, gpus_per_actor=0), silent)


def test_two_actors_make_the_corpus_of_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr(units, "SMALLEST", 4000)
    monkeypatch.setattr(units, "_UNKNOWN_SIZE", 1)
    config = corpus_config(odd_sources(tmp_path / "data"), **MIXED)
    prepare(config, tmp_path / "one", silent)
    prepare(config, tmp_path / "ray", silent, two_actors())
    assert file_bytes(tmp_path / "one") == file_bytes(tmp_path / "ray")


def test_a_source_that_is_wrong_is_told_from_an_actor(tmp_path):
    sources = odd_sources(tmp_path / "data")
    with (tmp_path / "data" / "d.jsonl").open("a") as file:
        file.write("\nnot JSON")
    with pytest.raises(PipeError, match=r"d\.jsonl, line 91: not JSON"):
        prepare(corpus_config(sources), tmp_path / "out", silent, two_actors())


def test_the_command(inputs, tmp_path):
    for name, options in (("a", ["--workers", "1"]), ("b", ["--executor", "ray", "--actors", "2"])):
        run = str(tmp_path / name)
        done = CliRunner().invoke(cli, ["prep", "--recipe", str(inputs), "--run", run, *options])
        assert done.exit_code == 0, done.output
    assert file_bytes(tmp_path / "a" / "corpus") == file_bytes(tmp_path / "b" / "corpus")


@pytest.mark.parametrize(
    "options", [["--executor", "ray", "--workers", "2"], ["--actors", "2"], ["--workers", "0"]]
)
def test_options_that_do_not_go_together(options, inputs, tmp_path):
    arguments = ["prep", "--recipe", str(inputs), "--run", str(tmp_path / "r"), *options]
    assert CliRunner().invoke(cli, arguments).exit_code == 2
