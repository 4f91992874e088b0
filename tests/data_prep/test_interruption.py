"""A prepare that is killed leaves nothing that the next one does not make good."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.config import CorpusConfig
from data_prep.prepare import prepare
from tests.data_prep.helpers import corpus_config, file_bytes, silent, two_sources

# Slowed down at every file, so that the parent is in time for its moment.
PROGRAM = """
import sys, time
from pathlib import Path
from data_prep.config import CorpusConfig
from data_prep.prepare import prepare
original = Path.replace
Path.replace = lambda self, target: (time.sleep(0.01), original(self, target))[1]
config = CorpusConfig.model_validate_json(Path(sys.argv[1]).read_text())
prepare(config, Path(sys.argv[2]), lambda line: print(line, flush=True))
"""

ROOT = Path(__file__).parents[2]


def kill_at(config_file: Path, directory: Path, shards: int) -> int:
    """Kill a real prepare once so many shards are there; return how many it left."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(config_file), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it has begun to read its sources
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(directory.glob("spans-*.parquet"))) >= shards:
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait(timeout=10) == -signal.SIGKILL
    process.stdout.close()
    return len(list(directory.glob("spans-*.parquet")))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[CorpusConfig, dict[str, bytes]]:
    """Make an uninterrupted corpus of many small shards."""
    directory = tmp_path_factory.mktemp("clean")
    config = corpus_config(
        two_sources(directory / "data", passages=4000, asked=2500),
        cut_fraction=0.3,
        held_out_fraction=0.05,
        word_shuffle_fraction=0.01,
    )
    prepare(config, directory / "corpus", silent)
    return config, file_bytes(directory / "corpus")


def test_killed_again_and_again(
    clean: tuple[CorpusConfig, dict[str, bytes]], tmp_path: Path
) -> None:
    config, expected = clean
    (tmp_path / "config.json").write_text(config.model_dump_json())
    corpus = tmp_path / "corpus"
    total = len(expected) - 1
    assert total > 90
    for moment in (0, 1, 15, 40):
        left = kill_at(tmp_path / "config.json", corpus, moment)
        assert left < total
        assert not (corpus / "manifest.json").exists()
        # What lies there is whole, though nothing says yet that it counts.
        for path in corpus.glob("spans-*.parquet"):
            assert path.read_bytes() == expected[path.name]
    prepare(config, corpus, silent)
    assert file_bytes(corpus) == expected


def test_interrupted_while_a_file_is_put_in_place(
    clean: tuple[CorpusConfig, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same at exact points: before the first shard, between two, and at the manifest."""
    config, expected = clean
    original = Path.replace
    for stop in ("spans-00000.parquet", "spans-00007.parquet", "manifest.json"):

        def replace(self: Path, target: Path, stop: str = stop) -> Path:
            if Path(target).name == stop:
                raise KeyboardInterrupt
            return original(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            prepare(config, tmp_path / stop, silent)
        monkeypatch.undo()
        assert not (tmp_path / stop / "manifest.json").exists()
        prepare(config, tmp_path / stop, silent)
        assert file_bytes(tmp_path / stop) == expected
