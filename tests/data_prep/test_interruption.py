"""A prepare that is killed leaves nothing that the next one does not make good."""

import random
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from data_prep import reading, units
from data_prep.config import CorpusConfig
from data_prep.errors import PipeError
from data_prep.files import temporary_for
from data_prep.prepare import prepare
from data_prep.scratch import Scratch
from tests.data_prep.helpers import corpus_config, file_bytes, silent, two_sources
from tests.killed import killed
from tests.warm import WarmProcess

WORKER = "tests.data_prep.prepare_worker"


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
    for moment in ("*", "*/spans-00000.parquet", "*/spans-00014.parquet", "*/spans-00039.*"):
        assert killed(moment, WORKER, str(tmp_path / "config.json"), str(corpus), "1")
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


@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=pytest.mark.slow)], ids=["a few", "twenty"]
)
def test_killed_at_random_moments(
    kills: int, clean: tuple[CorpusConfig, dict[str, bytes]], tmp_path: Path
) -> None:
    """With two processes, whatever they are at; those that were killed too late count as well."""
    config, expected = clean
    (tmp_path / "config.json").write_text(config.model_dump_json())
    chance = random.Random(kills)
    for number in range(kills):
        place = tmp_path / str(number % 2)
        process = WarmProcess(WORKER, str(tmp_path / "config.json"), str(place), "2")
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 3))
        process.kill()
        process.wait()
    for number in range(2):
        prepare(config, tmp_path / str(number), silent)
        assert file_bytes(tmp_path / str(number)) == expected


def test_what_was_read_is_not_read_again(
    clean: tuple[CorpusConfig, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, expected = clean
    monkeypatch.setattr(units, "SMALLEST", 20_000)
    monkeypatch.setattr(units, "LARGEST", 20_000)
    original = reading.read_unit
    read: list[int] = []

    def counted(unit: units.Unit, *rest: object) -> object:
        if len(read) == 1:
            read.append(-1)
            raise KeyboardInterrupt
        read.append(unit.number)
        return original(unit, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read_unit", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path / "out", silent)
    lines: list[str] = []
    prepare(config, tmp_path / "out", lines.append)
    assert read == [0, -1, 1]
    assert any("before it was interrupted" in line for line in lines)
    assert file_bytes(tmp_path / "out") == expected


def interrupt_at_unit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    original = reading.read_unit

    def fail(unit: units.Unit, *rest: object) -> object:
        if unit.number == 1:
            raise KeyboardInterrupt
        return original(unit, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read_unit", fail)


def test_what_a_killed_run_was_writing_goes_at_the_next_start(
    clean: tuple[CorpusConfig, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = clean
    interrupt_at_unit_1(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path, silent)
    before = file_bytes(tmp_path)
    scratch = Scratch(tmp_path)
    for path in (scratch.run(1, 0), scratch.keys(1, 0), scratch.offers(0), scratch.order("rows")):
        temporary_for(path).write_bytes(b"half a file")
    assert file_bytes(tmp_path) != before
    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path, silent)
    assert file_bytes(tmp_path) == before


def test_sources_that_change_meanwhile_are_read_again(
    clean: tuple[CorpusConfig, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = two_sources(tmp_path / "data", passages=60, asked=30)
    config = corpus_config(sources)
    interrupt_at_unit_1(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path / "out", silent)
    monkeypatch.undo()
    two_sources(tmp_path / "data", passages=70, asked=30)
    prepare(config, tmp_path / "out", silent)
    prepare(config, tmp_path / "fresh", silent)
    assert file_bytes(tmp_path / "out") == file_bytes(tmp_path / "fresh")


def test_a_full_disk_is_a_sentence_and_the_same_command_continues(
    clean: tuple[CorpusConfig, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, expected = clean
    original = Path.replace
    for stop in (".arrow", ".keys", "rows", "spans-00007.parquet", "manifest.json"):

        def replace(self: Path, target: Path, stop: str = stop) -> Path:
            if Path(target).name.endswith(stop):
                raise OSError(28, "No space left on device", str(target))
            return original(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        with pytest.raises(PipeError, match=r"cannot be written .*No space left.* make room"):
            prepare(config, tmp_path / "out", silent)
        monkeypatch.undo()
    prepare(config, tmp_path / "out", silent)
    assert file_bytes(tmp_path / "out") == expected
