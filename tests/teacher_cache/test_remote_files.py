"""Files at any URL: the same everywhere, patient where that helps, and never outside their root."""

import errno
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from data_prep.errors import PipeError
from teacher_cache import patience, remote_files
from teacher_cache.mirror import mirror
from teacher_cache.remote_files import RemoteFiles


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE", 0.002)


@pytest.fixture(params=["path", "file", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new root of every kind."""
    if request.param in ("path", "file"):
        return f"{'file://' if request.param == 'file' else ''}{tmp_path / 'root'}"
    name = "memory" if request.param == "memory" else "bucket"
    return f"{request.getfixturevalue(name)}/root"


def test_what_is_uploaded_is_listed_read_and_downloaded(root: str, tmp_path: Path) -> None:
    files = RemoteFiles(root)
    source, back = tmp_path / "source", tmp_path / "back" / "file"
    source.write_bytes(bytes(range(200)))
    assert files.list() == {}
    assert files.size("a/b.bin") is None
    files.upload(source, "a/b.bin")
    files.upload(source, "c")
    assert sorted(files.list()) == ["a/b.bin", "c"]
    assert files.size("a/b.bin") == files.list()["a/b.bin"].size == 200
    assert files.read("c") == bytes(range(200))
    assert files.read("c", start=190) == bytes(range(190, 200))
    files.download("a/b.bin", back)
    assert back.read_bytes() == bytes(range(200))
    assert [path.name for path in back.parent.iterdir()] == ["file"]
    source.write_bytes(b"other")
    before = files.list()["c"].version
    files.upload(source, "c")
    assert files.read("c") == b"other"
    assert files.list()["c"].version != before


def test_a_missing_file_is_a_sentence(root: str, tmp_path: Path) -> None:
    files = RemoteFiles(root)
    for attempt in (lambda: files.read("no"), lambda: files.download("no", tmp_path / "no")):
        with pytest.raises(PipeError, match=r"found no .*root/no, expected a file there"):
            attempt()
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a\\b", "\n"]
)
def test_a_name_that_leads_elsewhere_is_refused(memory: str, name: str, tmp_path: Path) -> None:
    files = RemoteFiles(memory)
    for attempt in (
        lambda: files.read(name),
        lambda: files.upload(tmp_path, name),
        lambda: files.download(name, tmp_path / "x"),
        lambda: files / name,
    ):
        with pytest.raises(PipeError, match="leads elsewhere and is not followed"):
            attempt()


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("far")
    root = tmp_path / "root"
    root.mkdir()
    files = RemoteFiles(str(root))
    for link, target, name in (
        ("link", "secret", "link"),
        ("folder", "far", "folder/file"),
        ("dangling", "nothing", "dangling"),
    ):
        (root / link).symlink_to(tmp_path / target)
        for attempt in (
            lambda name=name: files.read(name),
            lambda name=name: files.path(name),
            lambda name=name: files.upload(tmp_path / "secret", name),
            files.list,
        ):
            with pytest.raises(PipeError, match="found a symbolic link"):
                attempt()
        (root / link).unlink()
    assert (tmp_path / "far" / "file").read_text() == "far"


class Failing(MemoryFileSystem):
    """Fails so many times before it answers."""

    failures = 0
    error: BaseException = OSError(errno.EBUSY, "slow down")
    calls = 0

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
        type(self).calls += 1
        if type(self).calls <= self.failures:
            raise self.error
        return super().cat_file(path, *args, **kwargs)


class Status(Exception):  # noqa: N818
    """As a cloud's library has it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"status {code}")
        self.code = code


BUSY = [OSError(errno.EBUSY, "slow down"), TimeoutError("late"), ConnectionResetError("gone"),
        OSError("no number"), Status(503), Status(429)]  # fmt: skip
LASTING = [PermissionError("no"), Status(403), ValueError("bad"), OSError(errno.EINVAL, "bad")]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RemoteFiles:
    files = RemoteFiles("memory://failing")
    (tmp_path / "one").write_text("content")
    files.upload(tmp_path / "one", "one")
    monkeypatch.setattr(remote_files, "url_to_fs", lambda root: (Failing(), "/failing"))
    monkeypatch.setattr(Failing, "calls", 0)
    return RemoteFiles("memory://failing")


@pytest.mark.parametrize("error", BUSY, ids=repr)
def test_a_busy_server_is_tried_again(
    failing: RemoteFiles, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    monkeypatch.setattr(Failing, "failures", 4)
    assert failing.read("one") == b"content"
    assert Failing.calls == 5


def test_a_server_that_stays_busy_is_a_sentence(
    failing: RemoteFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "error", OSError(errno.EBUSY, "slow down"))
    monkeypatch.setattr(Failing, "failures", 100)
    with pytest.raises(PipeError, match=r"memory://failing/one cannot be used .*slow down.*conti"):
        failing.read("one")
    assert Failing.calls == 7


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_will_not_pass_is_told_at_once(
    failing: RemoteFiles, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    monkeypatch.setattr(Failing, "failures", 100)
    with pytest.raises(PipeError, match="memory://failing/one cannot be used"):
        failing.read("one")
    assert Failing.calls == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [("s3://b/x", r"jasper-distill\[s3\]"), ("gs://b/x", r"jasper-distill\[gcs\]"),
     ("nonsense://b", "expected a directory or an fsspec URL")],
)  # fmt: skip
def test_a_missing_library_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    def missing(root: str) -> None:
        raise ImportError(f"install the library for {root}")

    monkeypatch.setattr(remote_files, "url_to_fs", missing)
    with pytest.raises(PipeError, match=said):
        RemoteFiles(url).list()


def test_without_a_mark_of_change_a_file_is_fetched_again(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that keeps the size shows nowhere in such a listing."""
    files, mirrored = RemoteFiles(memory), tmp_path / "mirror"
    for name in ("manifest.json", "canary/dummy.json"):
        (tmp_path / "file").write_text("one")
        files.upload(tmp_path / "file", name)
    find = MemoryFileSystem.find

    def bare(self: MemoryFileSystem, path: str, **options: Any) -> dict[str, dict[str, Any]]:
        found = find(self, path, **options)
        return {where: {"size": info["size"], "type": "file"} for where, info in found.items()}

    monkeypatch.setattr(MemoryFileSystem, "find", bare)
    mirror(files, mirrored)
    (tmp_path / "file").write_text("two")
    files.upload(tmp_path / "file", "canary/dummy.json")
    mirror(files, mirrored)
    assert (mirrored / "canary" / "dummy.json").read_text() == "two"
