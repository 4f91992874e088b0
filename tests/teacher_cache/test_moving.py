"""Push, pull and merge: what arrives is what left, and what is not whole never arrives."""

import json
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache.corpus_copy import copy_corpus
from teacher_cache.linear_head import LinearHead
from teacher_cache.place import Place
from teacher_cache.remote_files import RemoteFiles
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from tests.killed import killed
from tests.teacher_cache.places import commit_digests, copy, fill_shards
from tests.teacher_cache.s3_server import S3Server
from tests.teacher_cache.small import dummy, make_corpus, rewrite, vector_files


@pytest.fixture
def run(tmp_path: Path, store: TeacherStore) -> Path:
    """A place: the corpus and a store of two teachers with three shards each."""
    return store.directory.parent


@pytest.fixture(params=["directory", "file", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place of every kind, with nothing there."""
    if request.param in ("directory", "file"):
        return f"{'file://' if request.param == 'file' else ''}{tmp_path / 'place'}"
    return f"{request.getfixturevalue('memory' if request.param == 'memory' else 'bucket')}/run"


def test_pulled_is_what_was_pushed(
    run: Path, place: str, store: TeacherStore, corpus: Corpus, tmp_path: Path
) -> None:
    pushed = copy([run], place)
    assert (pushed.copied, pushed.standing, pushed.differences) == (6, 0, [])
    assert pushed.bytes == sum(
        len(content) for name, content in vector_files(store.directory).items() if "/c/" in name
    )
    assert copy_corpus(Place(str(run)), Place(place), 2) == 3
    again = copy([run], f"{place}/store/")
    assert (again.copied, again.standing) == (0, 6)
    assert copy_corpus(Place(str(run)), Place(place), 2) == 0

    back = tmp_path / "back"
    assert copy([place], back).copied == 6
    assert copy_corpus(Place(place), Place(str(back)), 2) == 3
    assert vector_files(back / "store") == vector_files(store.directory)
    there, pulled = Corpus.open(back / "corpus"), TeacherStore.open(back / "store")
    assert verify(pulled, there) == []
    for name in ("narrow", "wide"):
        canary = f"canary/{name}.json"
        assert (pulled.directory / canary).read_bytes() == (store.directory / canary).read_bytes()
        assert pulled.commit(name, 1) == store.commit(name, 1)
    for path in corpus.directory.glob("*.parquet"):
        assert (back / "corpus" / path.name).read_bytes() == path.read_bytes()
    assert not list((back / "store" / "scratch").iterdir())


def test_only_what_is_asked_for_is_copied(run: Path, memory: str, tmp_path: Path) -> None:
    copy([run], memory)
    copy([memory], tmp_path / "a", teachers=("wide",), shards=frozenset({0, 2}))
    pulled = TeacherStore.open(tmp_path / "a" / "store")
    assert list(pulled.teachers) == ["wide"]
    assert pulled.committed("wide") == {0, 2}
    copy([memory], tmp_path / "b", vectors=False)
    bare = TeacherStore.open(tmp_path / "b" / "store")
    assert list(bare.teachers) == ["narrow", "wide"]
    assert not bare.committed("narrow")
    # And what was left out can be had later.
    assert copy([memory], tmp_path / "a").copied == 4
    assert not TeacherStore.open(tmp_path / "a" / "store").missing("narrow")
    with pytest.raises(PipeError, match=r"no teacher 'tall' in .* expected one of narrow, wide"):
        copy([memory], tmp_path / "c", teachers=("tall",))
    with pytest.raises(PipeError, match="found shard 3, expected 0 to 2"):
        copy([memory], tmp_path / "c", shards=frozenset({3}))


def test_three_clusters_merge_into_the_store_of_one_worker(tmp_path: Path, memory: str) -> None:
    """Disjoint shards, 1, 2 and 3 workers, and the second cluster was killed in the middle."""
    corpus = make_corpus(tmp_path, 12 * 64 - 5)
    alone = fill_shards(tmp_path / "alone" / "store", corpus, dummy(), range(12))
    command = ["tests.teacher_cache.slow_fill", str(tmp_path / "b" / "store")]
    command += [str(corpus.directory), str(tmp_path / "log"), "0", "0"]
    assert killed("*/commits/dummy/00003.json", *command)
    begun = TeacherStore.open(tmp_path / "b" / "store").committed("dummy")
    assert begun == set(range(4))
    # A shard that was placed and not committed is nobody's.
    path = tmp_path / "b" / "store" / "vectors.zarr" / "dummy" / "c" / "4" / "0"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"half")
    rest = sorted(set(range(12)) - begun)
    fill_shards(tmp_path / "a" / "store", corpus, dummy(), rest[::2], workers=1)
    fill_shards(tmp_path / "c" / "store", corpus, dummy(), rest[1::2], workers=3)

    for target in (tmp_path / "all", memory):
        merged = copy([tmp_path / name for name in "abc"], target)
        assert (merged.copied, merged.standing, merged.differences) == (12, 0, [])
    copy([memory], tmp_path / "by-memory")
    for name in ("all", "by-memory"):
        result = TeacherStore.open(tmp_path / name / "store", corpus)
        assert commit_digests(result) == commit_digests(alone)
        assert vector_files(result.directory) == vector_files(alone.directory)
        assert verify(result, corpus) == []


def test_of_two_commits_the_first_named_is_kept(tmp_path: Path, corpus: Corpus) -> None:
    one = fill_shards(tmp_path / "a" / "store", corpus, dummy(), [0, 1])
    two = fill_shards(tmp_path / "b" / "store", corpus, dummy(), [1, 2], noise=1e-3)
    merged = copy([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert merged.copied == 3
    (found,) = merged.differences
    assert (found.teacher, found.shard) == ("dummy", 1)
    assert (found.kept, found.other) == (str(tmp_path / "a"), str(tmp_path / "b"))
    rows = np.arange(64, 128)
    left, right = one.read_teacher("dummy", rows), two.read_teacher("dummy", rows)
    assert found.max_abs_difference == pytest.approx(np.abs(left - right).max(), rel=1e-3)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    assert found.min_cosine == pytest.approx(((left * right).sum(axis=1) / norms).min(), abs=1e-6)
    assert 0 < found.max_abs_difference < 0.05
    merge = TeacherStore.open(tmp_path / "c" / "store")
    digests = {**commit_digests(two), **commit_digests(one)}
    assert commit_digests(merge) == digests

    # What the target has counts as named first.
    again = copy([tmp_path / "b", tmp_path / "a"], tmp_path / "c")
    assert (again.copied, again.standing) == (0, 3)
    (found,) = again.differences
    assert (found.kept, found.other) == (str(tmp_path / "c"), str(tmp_path / "b"))
    assert commit_digests(TeacherStore.open(tmp_path / "c" / "store")) == digests


def test_equal_vectors_of_two_clusters_are_no_news(tmp_path: Path, corpus: Corpus) -> None:
    for name in "ab":
        fill_shards(tmp_path / name / "store", corpus, dummy(), range(3))
    assert copy([tmp_path / "a", tmp_path / "b"], tmp_path / "c").differences == []


def test_what_does_not_belong_together_is_refused_before_anything(
    tmp_path: Path, corpus: Corpus, memory: str
) -> None:
    fill_shards(tmp_path / "a" / "store", corpus, dummy(), [0])
    other = make_corpus(tmp_path / "other", 170, seed=8)
    fill_shards(tmp_path / "b" / "store", other, dummy(), [1])
    changed = dummy(prompts={"question": "query: "})
    fill_shards(tmp_path / "c" / "store", corpus, changed, [1])
    for wrong, said in (
        ("b", "different corpora .*fingerprint"),
        ("c", 'prompts.question .*"quer'),
    ):
        for target in (tmp_path / "all", memory):
            with pytest.raises(PipeError, match=said):
                copy([tmp_path / "a", tmp_path / wrong], target)
            assert RemoteFiles(str(target)).list() == {}
        with pytest.raises(PipeError, match=said):
            copy([tmp_path / wrong], tmp_path / "a")
    # A teacher that is left out may be whatever it is.
    fill_shards(tmp_path / "c" / "store", corpus, dummy("new", 8), [1])
    assert copy([tmp_path / "a", tmp_path / "c"], tmp_path / "all", teachers=("new",)).copied == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "swapped"])
@pytest.mark.parametrize("into", ["path", "memory"])
def test_a_damaged_shard_does_not_travel(
    run: Path, store: TeacherStore, memory: str, damage: str, into: str, tmp_path: Path
) -> None:
    path = store.shard_path("wide", 1)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    changes = {
        "cut": lambda: path.write_bytes(content[:-1]),
        "flipped": lambda: path.write_bytes(content),
        "gone": path.unlink,
        "swapped": lambda: shutil.copyfile(store.shard_path("wide", 0), path),
    }
    if into == "path":
        # Pushed whole; damaged there.
        copy([run], memory)
        files = fsspec.filesystem("memory")
        name = f"{memory.removeprefix('memory:/')}/store/vectors.zarr/wide/c/1/0"
        changes[damage]()
        if damage == "gone":
            files.rm_file(name)
        else:
            files.pipe_file(name, path.read_bytes())
        source, target = memory, str(tmp_path / "back")
    else:
        changes[damage]()
        source, target = str(run), memory
    with pytest.raises(PipeError, match=r"wide|c/1/0"):
        copy([source], target)
    listed = RemoteFiles(target).list()
    assert "store/commits/wide/00001.json" not in listed
    assert "store/vectors.zarr/wide/c/1/0" not in listed


def test_an_upload_that_is_cut_off_is_not_committed(
    run: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = RemoteFiles.upload

    def cut(self: RemoteFiles, source: Path, name: str) -> None:
        if name.endswith("wide/c/1/0"):
            half = source.parent / "half"
            half.write_bytes(source.read_bytes()[:-1000])
            source = half
        whole(self, source, name)

    monkeypatch.setattr(RemoteFiles, "upload", cut)
    with pytest.raises(PipeError, match=r"found \d+ bytes .*wide/c/1/0, expected the"):
        copy([run], memory)
    assert "store/commits/wide/00001.json" not in RemoteFiles(memory).list()
    monkeypatch.setattr(RemoteFiles, "upload", whole)
    assert copy([run], memory).copied >= 1
    assert copy([run], memory).standing == 6


def test_nothing_leads_outside_the_store(run: Path, store: TeacherStore, tmp_path: Path) -> None:
    """Links, and names in records, whoever wrote them."""
    shard = store.shard_path("wide", 1)
    shard.rename(tmp_path / "outside")
    shard.symlink_to(tmp_path / "outside")
    with pytest.raises(PipeError, match="found a symbolic link"):
        copy([run], tmp_path / "back")
    shard.unlink()
    (tmp_path / "outside").rename(shard)
    sound = (store.directory / "commits" / "wide" / "00001.json").read_text()
    rewrite(store.directory / "commits" / "wide" / "00001.json", teacher="../../wide")
    with pytest.raises(PipeError, match=r"found the teacher \.\./\.\./wide"):
        copy([run], tmp_path / "back")
    (store.directory / "commits" / "wide" / "00001.json").write_text(sound)
    manifest = json.loads((store.directory / "manifest.json").read_text())
    entry = manifest["teachers"]["wide"]
    entry["config"]["name"] = "../wide"
    rewrite(store.directory / "manifest.json", teachers={"../wide": entry})
    with pytest.raises(PipeError, match=r"manifest\.json .*expected a whole StoreManifest"):
        copy([run], tmp_path / "back")
    assert not (tmp_path / "back" / "store" / "vectors.zarr" / "wide" / "c" / "1").exists()


def test_a_teacher_pushed_meanwhile_keeps_its_entry(
    tmp_path: Path, corpus: Corpus, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clusters push different teachers to one place at the same time."""
    fill_shards(tmp_path / "a" / "store", corpus, dummy("one"), [0])
    fill_shards(tmp_path / "b" / "store", corpus, dummy("two"), [0])
    from teacher_cache import moving

    plan = moving._plan

    def meanwhile(*arguments: object) -> object:
        monkeypatch.setattr(moving, "_plan", plan)
        copy([tmp_path / "b"], memory)
        return plan(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(moving, "_plan", meanwhile)
    copy([tmp_path / "a"], memory)
    copy([memory], tmp_path / "c")
    assert list(TeacherStore.open(tmp_path / "c" / "store").teachers) == ["one", "two"]


def test_every_storage_travels(tmp_path: Path, corpus: Corpus, memory: str) -> None:
    store = fill_shards(tmp_path / "a" / "store", corpus, dummy("eight", storage="int8"), range(3))
    rng = np.random.default_rng(0)
    head = LinearHead(rng.standard_normal((16, 4), np.float32))
    store.add_teacher(dummy("states", storage="factored"), head)
    for shard in range(3):
        states = rng.standard_normal((len(corpus.shard_range(shard)), 4), np.float32)
        store.write_shard("states", shard, states, corpus.text_digest(shard))
    copy([tmp_path / "a"], memory)
    copy([memory], tmp_path / "b")
    pulled = TeacherStore.open(tmp_path / "b" / "store", corpus)
    rows = np.arange(170)
    np.testing.assert_array_equal(pulled.read(rows), store.read(rows))
    other = TeacherStore.create(tmp_path / "c" / "store", corpus)
    other.add_teacher(dummy("states", storage="factored"), LinearHead(head.weight * 2))
    with pytest.raises(PipeError, match=r"states is not the same .* last layer has other weights"):
        copy([tmp_path / "c"], tmp_path / "b")


def test_a_corpus_with_changed_texts_is_not_copied(run: Path, memory: str, tmp_path: Path) -> None:
    shutil.copyfile(run / "corpus" / "spans-00000.parquet", run / "corpus" / "spans-00001.parquet")
    with pytest.raises(PipeError, match=r"spans-00001\.parquet does not hold the texts"):
        copy_corpus(Place(str(run)), Place(memory), 2)
    assert not RemoteFiles(memory).exists("corpus/manifest.json")
    other = make_corpus(tmp_path / "other", 170, seed=4)
    with pytest.raises(PipeError, match=r"holds another corpus .*fingerprint"):
        copy_corpus(Place(str(other.directory.parent)), Place(str(run)), 2)


@pytest.mark.parametrize(("failing", "pause"), [(0.1, 0.0), (0.0, 0.02)])
def test_a_server_that_fails_or_is_slow(
    run: Path, store: TeacherStore, s3: S3Server, bucket: str, tmp_path: Path,
    failing: float, pause: float,
) -> None:  # fmt: skip
    with s3.misbehaving(failing, pause):
        assert copy([run], bucket).copied == 6
        copy_corpus(Place(str(run)), Place(bucket), 4)
        assert copy([bucket], tmp_path / "back").copied == 6
        copy_corpus(Place(bucket), Place(str(tmp_path / "back")), 4)
        assert not failing or s3.failed
    assert vector_files(tmp_path / "back" / "store") == vector_files(store.directory)
    corpus = Corpus.open(tmp_path / "back" / "corpus")
    assert verify(TeacherStore.open(tmp_path / "back" / "store"), corpus) == []


def test_pushing_what_is_no_run_is_a_sentence(tmp_path: Path, memory: str) -> None:
    for place in (tmp_path / "nothing", memory):
        with pytest.raises(PipeError, match="found no store in"):
            copy([place], tmp_path / "back")
    assert not (tmp_path / "back").exists()


def remote_file(place: str, name: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """A file of a place in memory, to be damaged."""
    return fsspec.filesystem("memory"), f"{place.removeprefix('memory:/')}/store/{name}"


@pytest.mark.parametrize("damage", ["shard gone", "shard cut", "commit cut", "commit of another"])
def test_a_push_mends_what_is_damaged_there(
    run: Path, store: TeacherStore, memory: str, tmp_path: Path, damage: str
) -> None:
    copy([run], memory)
    what, how = damage.split(maxsplit=1)
    names = {"shard": "vectors.zarr/wide/c/1/0", "commit": "commits/wide/00001.json"}
    files, path = remote_file(memory, names[what])
    if how == "gone":
        files.rm_file(path)
    elif how == "cut":
        files.pipe_file(path, files.cat_file(path)[:-100])
    else:
        files.pipe_file(path, store.commit_path("wide", 0).read_bytes())
    again = copy([run], memory)
    assert (again.copied, again.standing) == (1, 5)
    copy([memory], tmp_path / "back")
    assert vector_files(tmp_path / "back" / "store") == vector_files(store.directory)


def test_a_shard_that_was_lost_there_comes_back_with_its_own_commit(
    tmp_path: Path, corpus: Corpus, memory: str
) -> None:
    """The vectors that are pushed again are another machine's."""
    fill_shards(tmp_path / "a" / "store", corpus, dummy(), [0])
    other = fill_shards(tmp_path / "b" / "store", corpus, dummy(), [0], noise=1e-3)
    copy([tmp_path / "a"], memory)
    files, path = remote_file(memory, "vectors.zarr/dummy/c/0/0")
    files.rm_file(path)
    assert copy([tmp_path / "b"], memory).copied == 1
    copy([memory], tmp_path / "c")
    assert commit_digests(TeacherStore.open(tmp_path / "c" / "store")) == commit_digests(other)


@pytest.mark.parametrize("moment", ["before the upload", "before the commit"])
def test_a_shard_committed_meanwhile_stays(
    tmp_path: Path, corpus: Corpus, memory: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    first = fill_shards(tmp_path / "a" / "store", corpus, dummy(), [0])
    fill_shards(tmp_path / "b" / "store", corpus, dummy(), [0])
    record = first.commit_path("dummy", 0).read_bytes()
    files, path = remote_file(memory, "commits/dummy/00000.json")
    whole = RemoteFiles.upload
    uploaded = []

    def upload(self: RemoteFiles, source: Path, name: str) -> None:
        uploaded.append(name)
        whole(self, source, name)
        early = name == "manifest.json" and moment == "before the upload"
        if early or (name.endswith("/c/0/0") and moment == "before the commit"):
            files.pipe_file(path, record)

    monkeypatch.setattr(RemoteFiles, "upload", upload)
    done = copy([tmp_path / "b"], memory)
    assert (done.copied, done.standing) == (0, 1)
    assert files.cat_file(path) == record
    sent = "vectors.zarr/dummy/c/0/0" in uploaded
    assert sent == (moment == "before the commit")


@pytest.mark.parametrize("other", ["corpus", "teacher"])
def test_another_store_that_appears_meanwhile_is_left_alone(
    tmp_path: Path, corpus: Corpus, memory: str, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    fill_shards(tmp_path / "a" / "store", corpus, dummy(), [0])
    theirs = make_corpus(tmp_path / "other", 170, seed=8) if other == "corpus" else corpus
    changed = dummy() if other == "corpus" else dummy(prompts={"question": "query: "})
    fill_shards(tmp_path / "b" / "store", theirs, changed, [0])
    from teacher_cache import moving

    opened = moving.open_target

    def meanwhile(*arguments: object) -> object:
        target = opened(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(moving, "open_target", opened)
        copy([tmp_path / "b"], memory)
        return target

    monkeypatch.setattr(moving, "open_target", meanwhile)
    with pytest.raises(PipeError, match="another process has put another store in memory://"):
        copy([tmp_path / "a"], memory)
    copy([memory], tmp_path / "c")
    standing = TeacherStore.open(tmp_path / "b" / "store")
    pulled = TeacherStore.open(tmp_path / "c" / "store")
    assert vector_files(pulled.directory) == vector_files(standing.directory)


@pytest.mark.parametrize(
    ("name", "most"),
    [("manifest.json", 2**26), ("commits/wide/00001.json", 2**22), ("heads/x.safetensors", 2**32),
     ("vectors.zarr/wide/c/1/0", None)],
)  # fmt: skip
def test_what_is_too_large_is_not_downloaded(
    run: Path, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, most: int | None,
) -> None:  # fmt: skip
    copy([run], memory)
    files, path = remote_file(memory, name)
    if not files.exists(path):
        files.pipe_file(path, b"x")
    entry = files.store[path]
    size = entry.size + 1 if most is None else most + 1
    info, find = type(files).info, type(files).find

    def large(self: object, where: str, **options: object) -> dict[str, object]:
        found = info(self, where, **options)
        return {**found, "size": size} if found["name"] == path else found

    def listing(self: object, where: str, **options: object) -> dict[str, dict[str, object]]:
        found = find(self, where, **options)
        return {p: {**i, "size": size} if p == path else i for p, i in found.items()}

    asked = []
    whole = RemoteFiles.download

    def noted(self: RemoteFiles, what: str, target: Path) -> None:
        asked.append(what)
        whole(self, what, target)

    monkeypatch.setattr(type(files), "info", large)
    monkeypatch.setattr(type(files), "find", listing)
    monkeypatch.setattr(RemoteFiles, "download", noted)
    with pytest.raises(PipeError, match=rf"found {size:,} bytes in .*{name}, expected"):
        copy([memory], tmp_path / "back")
    assert name not in asked


def test_copies_on_one_file_system_share_no_bytes(
    run: Path, store: TeacherStore, tmp_path: Path
) -> None:
    copy([run], tmp_path / "b")
    there = TeacherStore.open(tmp_path / "b" / "store")
    for name in store.teachers:
        ours, theirs = (one.shard_path(name, 0) for one in (store, there))
        assert ours.read_bytes() == theirs.read_bytes()
        assert not ours.samefile(theirs)
        assert theirs.stat().st_nlink == 1


def test_a_copy_is_checked_before_it_is_placed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shutil.copyfile

    def spoilt(source: Path, target: Path) -> None:
        whole(source, target)
        if Path(target).name == "shard":
            content = bytearray(Path(target).read_bytes())
            content[100] ^= 1
            Path(target).write_bytes(content)

    monkeypatch.setattr(shutil, "copyfile", spoilt)
    with pytest.raises(PipeError, match="chunk 0 with other bytes"):
        copy([run], tmp_path / "b")
    assert not list((tmp_path / "b" / "store").glob("commits/*/*"))
    assert not list((tmp_path / "b" / "store").glob("vectors.zarr/*/c/*/0"))
