"""From the hub: only what is needed, resumed where it broke off, then from its cache.

The client is huggingface_hub's own, in a process of its own, against a server on this machine.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from teacher_cache.encoders import load_encoder
from tests.teacher_cache.hub_server import Hub
from tests.teacher_cache.small import dummy
from tests.teacher_cache.tiny_models import make_stella

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEVER = ("modeling_x.py", "pytorch_model.bin", "onnx/model.onnx", "README.md", "train.pkl")

FETCH = """
import sys
from data_prep.errors import PipeError
from teacher_cache.models import hub_commit, model_directory
asked = sys.argv[1], sys.argv[2] or None
try:
    print(hub_commit(*asked) if len(sys.argv) > 3 else model_directory(*asked))
except PipeError as error:
    print("PipeError:", error)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_stella(tmp_path_factory.mktemp("hub") / "model")
    for name in NEVER:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("raise SystemExit('run')")
    return directory


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[Hub]:
    with Hub.of("owner/tiny", COMMIT, checkpoint).serve() as served:
        yield served


def fetch(
    hub: Hub,
    cache: Path,
    ref: str = "owner/tiny",
    revision: str = "v1",
    *options: str,
    **more: str,
) -> tuple[str, str]:
    """What a fresh process answers, and what it prints beside it."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    settings |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH, ref, revision, *options],
        check=False,
        env={**settings, **more},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_only_weights_settings_and_tokenizer_are_fetched(
    hub: Hub, checkpoint: Path, tmp_path: Path
) -> None:
    place, progress = fetch(hub, tmp_path)
    got = {path.relative_to(place).as_posix() for path in Path(place).rglob("*") if path.is_file()}
    assert got == hub.files.keys() - set(NEVER)
    assert {"model.safetensors", "tokenizer.json", "2_Dense_24/config.json"} < got
    for name in got:
        assert (Path(place) / name).read_bytes() == hub.files[name]
    assert not hub.downloads().keys() & set(NEVER)
    assert Path(place).parts[-3:] == ("models--owner--tiny", "snapshots", COMMIT)  # its own cache
    assert "100%" in progress
    settings = {"kind": "stella", "dim": 24}
    vectors = [
        load_encoder(dummy("tiny", model=str(model), **settings), "cpu").encode(
            ["a text"], ["passage"]
        )
        for model in (place, checkpoint)
    ]
    np.testing.assert_array_equal(*vectors)


def test_a_second_time_and_offline_the_cache_serves(hub: Hub, tmp_path: Path) -> None:
    place, _ = fetch(hub, tmp_path)
    hub.requests.clear()
    assert fetch(hub, tmp_path)[0] == place
    assert hub.downloads() == {}
    hub.requests.clear()
    assert fetch(hub, tmp_path, HF_HUB_OFFLINE="1")[0] == place
    assert hub.requests == []
    assert fetch(hub, tmp_path, revision=COMMIT, HF_HUB_OFFLINE="1")[0] == place
    assert fetch(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")[0] == place  # nobody answers


def test_a_download_that_breaks_off_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    large = "extra.safetensors"  # the client keeps what it has in pieces of 10 MB
    hub.files = {**hub.files, large: np.arange(6_000_000, dtype=np.int32).tobytes()}
    hub.break_off |= {large, "model.safetensors"}
    place, _ = fetch(hub, tmp_path)
    for name in (large, "model.safetensors"):
        assert (Path(place) / name).read_bytes() == hub.files[name]
    first, second = hub.downloads()[large]
    assert (first, second[:7]) == ("", "bytes=1")
    assert hub.downloads()["model.safetensors"] == ["", ""]
    assert hub.break_off == set()


def test_after_a_failure_only_what_is_missing_is_fetched(hub: Hub, tmp_path: Path) -> None:
    weights = hub.files["model.safetensors"]
    hub.refused.add("model.safetensors")
    said, _ = fetch(hub, tmp_path)
    assert said.startswith("PipeError: the model owner/tiny could not be fetched from the hub (")
    hub.refused.clear()
    place, _ = fetch(hub, tmp_path)
    assert (Path(place) / "model.safetensors").read_bytes() == weights
    others = hub.downloads().keys() - {"model.safetensors"}
    assert "tokenizer.json" in others
    assert all(len(hub.downloads()[name]) == 1 for name in others)


@pytest.mark.parametrize(
    ("ref", "revision", "more"),
    [
        ("owner/other", "v1", {}),
        ("owner/tiny", "no-such-revision", {}),
        ("owner/tiny", "v1", {"HF_HUB_OFFLINE": "1"}),
        ("owner/tiny", "v1", {"HF_ENDPOINT": "http://127.0.0.1:9"}),
    ],
)
def test_what_is_not_there_is_a_sentence(
    hub: Hub, tmp_path: Path, ref: str, revision: str, more: dict[str, str]
) -> None:
    said, _ = fetch(hub, tmp_path, ref, revision, **more)
    assert said.startswith(f"PipeError: the model {ref} could not be fetched from the hub (")
    assert "\n" not in said
    assert said.endswith(
        "check the name and the network, or give a directory as the teacher's `model`."
    )


def test_the_commit_is_the_hubs_or_else_the_caches(hub: Hub, tmp_path: Path) -> None:
    def commit(cache: Path, **more: str) -> str:
        return fetch(hub, cache, "owner/tiny", "v1", "commit", **more)[0]

    assert commit(tmp_path / "a") == COMMIT
    assert hub.downloads() == {}
    assert commit(tmp_path / "a", HF_HUB_OFFLINE="1") == "None"
    fetch(hub, tmp_path / "b")
    assert commit(tmp_path / "b", HF_HUB_OFFLINE="1") == COMMIT
