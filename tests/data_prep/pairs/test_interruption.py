"""A preparation that is killed leaves nothing that the next one does not make good."""

from pathlib import Path

import pytest

from data_prep.pairs.prepare import prepare_pairs
from tests.data_prep.helpers import file_bytes, silent
from tests.data_prep.pairs.helpers import config, source, write_parquet
from tests.data_prep.pairs.helpers import png as image
from tests.killed import killed

WORKER = "tests.data_prep.prepare_worker"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory):
    """Make an uninterrupted corpus of many small shards, from a spool."""
    directory = tmp_path_factory.mktemp("clean")
    columns = {
        "image": [image(i) for i in range(1200)],
        "caption": [f"No. {i}" for i in range(1200)],
    }
    path = write_parquet(directory / "a.parquet", columns)
    wanted = config(source(path), held_out=100)
    prepare_pairs(wanted, directory / "pairs", silent)
    return wanted, file_bytes(directory / "pairs")


def test_killed_again_and_again(clean, tmp_path: Path) -> None:
    wanted, expected = clean
    (tmp_path / "config.json").write_text(wanted.model_dump_json())
    pairs = tmp_path / "pairs"
    for moment in ("*", "*/images-00000.parquet", "*/images-00011.parquet"):
        assert killed(moment, WORKER, str(tmp_path / "config.json"), str(pairs))
        assert not (pairs / "manifest.json").exists()
        for path in pairs.glob("*.parquet"):
            assert path.read_bytes() == expected[path.name]
    kept = {path: path.stat().st_ino for path in pairs.glob("images-*.parquet")}
    assert len(kept) >= 12
    prepare_pairs(wanted, pairs, silent)
    assert file_bytes(pairs) == expected
    assert {path: path.stat().st_ino for path in kept} == kept


@pytest.mark.parametrize(
    "stop", ["spans-00000.parquet", "images-00003.parquet", "images.json", "manifest.json"]
)
def test_interrupted_while_a_file_is_put_in_place(
    stop: str, clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, expected = clean
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if Path(target).name == stop:
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        prepare_pairs(wanted, tmp_path, silent)
    monkeypatch.undo()
    assert not (tmp_path / "manifest.json").exists()
    # What another program would have left there, and a shard of no corpus.
    (tmp_path / ".images.spool").write_bytes(b"old")
    (tmp_path / "images-00099.parquet").write_bytes(b"old")
    prepare_pairs(wanted, tmp_path, silent)
    assert file_bytes(tmp_path) == expected
    (tmp_path / ".images.spool").write_bytes(b"left at the very end")
    prepare_pairs(wanted, tmp_path, silent)
    assert file_bytes(tmp_path) == expected
