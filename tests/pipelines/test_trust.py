"""The commands that say whether a store can be trusted, and that mend it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipelines.cli import cli
from teacher_cache.store import TeacherStore


@pytest.fixture
def run(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of a finished run, to damage."""
    return Path(shutil.copytree(finished[0], tmp_path / "copy"))


def pipe(run: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--run", str(run)])


def damage(run: Path, teacher: str, shard: int) -> Path:
    path = TeacherStore.open(run / "store").shard_path(teacher, shard)
    content = bytearray(path.read_bytes())
    content[100] ^= 4
    path.write_bytes(content)
    return path


def test_verify_repair_teach_and_all_is_well(run: Path) -> None:
    path = TeacherStore.open(run / "store").shard_path("second", 1)
    sound = path.read_bytes()
    damage(run, "second", 1)
    found = pipe(run, "store", "verify")
    assert found.exit_code == 1
    assert "error: found chunk 0 with other bytes" in found.stdout
    assert "pipe store repair" in found.stdout
    dry = pipe(run, "store", "repair", "--dry-run")
    assert "would be done: shard 1 of second is set aside" in dry.stdout
    assert path.exists()
    done = pipe(run, "store", "repair")
    assert f"next: `pipe teach --run {run}`" in done.stdout
    assert not path.exists()
    taught = pipe(run, "teach")
    assert taught.exit_code == 0, taught.output
    assert path.read_bytes() == sound
    assert pipe(run, "store", "verify").exit_code == 0
    assert "nothing is left to be done" in pipe(run, "store", "repair").stdout


def test_teach_stops_at_a_shard_that_is_not_whole(run: Path) -> None:
    TeacherStore.open(run / "store").shard_path("dummy", 2).unlink()
    stopped = pipe(run, "teach")
    assert stopped.exit_code == 1
    assert "1 committed shards of dummy are not whole" in stopped.stderr
    assert "pipe store repair" in stopped.stderr
    pipe(run, "store", "repair")
    assert pipe(run, "teach").exit_code == 0
    assert pipe(run, "store", "verify").exit_code == 0


def test_a_lost_manifest_is_made_again(run: Path) -> None:
    (run / "store" / "manifest.json").write_text("{")
    found = json.loads(pipe(run, "store", "verify", "--json").stdout)
    assert [problem["kind"] for problem in found["problems"]] == ["manifest"]
    done = pipe(run, "store", "repair")
    assert "dummy is taken up again" in done.stdout
    assert pipe(run, "store", "verify").exit_code == 0
    assert TeacherStore.open(run / "store").missing("dummy") == []


def test_texts_that_changed_are_made_again_and_their_vectors_stay(run: Path) -> None:
    path = run / "corpus" / "spans-00001.parquet"
    sound = path.read_bytes()
    path.write_bytes(sound[:-200])
    assert pipe(run, "store", "verify").exit_code == 1
    assert f"next: `pipe prep --run {run}`" in pipe(run, "store", "repair").stdout
    assert pipe(run, "prep").exit_code == 0
    assert path.read_bytes() == sound
    assert pipe(run, "store", "verify").exit_code == 0


def test_a_part_of_the_store(run: Path) -> None:
    damage(run, "second", 1)
    assert pipe(run, "store", "verify", "--teacher", "dummy").exit_code == 0
    assert pipe(run, "store", "verify", "--teacher", "second").exit_code == 1
    drawn = json.loads(pipe(run, "store", "verify", "--sample", "2", "--json").stdout)["checked"]
    assert (drawn["shards"], drawn["sample"]) == (2, 2)
    again = ["store", "verify", "--sample", "2", "--json", "--seed", str(drawn["seed"])]
    assert json.loads(pipe(run, *again).stdout)["checked"]["rows"] == drawn["rows"]
    used = json.loads(pipe(run, "store", "verify", "--used", "--json").stdout)["checked"]
    assert used["teachers"] == ["dummy", "second"]
    assert used["shards"] > 2
    for sample in ("0", "1.5", "many", "-1", "200%"):
        refused = pipe(run, "store", "verify", "--sample", sample)
        assert (refused.exit_code, "expected a number of shards" in refused.stderr) == (2, True)
    refused = pipe(run, "store", "verify", "--teacher", "nobody")
    assert (refused.exit_code, "no teacher 'nobody'" in refused.stderr) == (1, True)


def test_a_manifest_that_is_gone_is_made_again(run: Path) -> None:
    manifest = run / "store" / "manifest.json"
    before = TeacherStore.open(run / "store").read(np.arange(40))
    manifest.unlink()
    for command in (["teach"], ["store", "verify"]):
        done = pipe(run, *command)
        assert done.exit_code == 1, done.output
        assert "pipe store repair" in done.output
    done = pipe(run, "store", "repair")
    assert done.exit_code == 0, done.output
    assert "the manifest, which was gone, is made again" in done.output
    assert pipe(run, "store", "verify").exit_code == 0
    np.testing.assert_array_equal(TeacherStore.open(run / "store").read(np.arange(40)), before)


@pytest.mark.parametrize("size", ["12 parsecs", "1,5GB", "10 GB or so", ""])
def test_a_cache_size_that_is_none_is_refused(run: Path, size: str) -> None:
    done = pipe(run, "distill", "--store", str(run), "--cache-size", size)
    assert done.exit_code == 2, done.output
    assert "expected a number with a unit" in done.output


def test_an_empty_place_is_refused(run: Path) -> None:
    done = pipe(run, "store", "push", "")
    assert done.exit_code == 2, done.output
    assert "empty name for a place" in done.output
