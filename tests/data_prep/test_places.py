"""The same files give the same documents wherever they are and however they are compressed."""

import gzip
import shutil
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.records import Document
from data_prep.sources import pieces_of, read_documents, read_piece
from tests.data_prep.test_sources import RECORDS, as_jsonl, as_parquet

TEXTS = [record["text"] for record in RECORDS]


def read(path: Path | str, **settings: Any) -> list[Document]:
    return list(read_documents(SourceConfig(name="web", path=str(path), **settings)))


def as_csv(directory: Path) -> Path:
    rows = "".join(f'{record["id"]},"{record["text"]}"\r\n' for record in RECORDS)
    (directory / "x.csv").write_bytes(b"\xef\xbb\xbfid,text\r\n" + rows.encode())
    return directory / "x.csv"


def as_tsv(directory: Path) -> Path:
    rows = "".join(f"{record['id']}\t{record['text']}\n" for record in RECORDS)
    (directory / "x.tsv").write_text("id\ttext\n" + rows)
    return directory / "x.tsv"


def as_lines(directory: Path) -> Path:
    (directory / "x.txt").write_text("\n".join(TEXTS))
    return directory / "x.txt"


def compressed(path: Path, by: str) -> Path:
    content = path.read_bytes()
    target = path.with_name(path.name + by)
    codec = {"": bytes, ".gz": gzip.compress, ".zst": pa.Codec("zstd").compress}[by]
    target.write_bytes(codec(content) if by != ".zst" else codec(content, asbytes=True))
    return target


@pytest.mark.parametrize("by", ["", ".gz", ".zst"])
@pytest.mark.parametrize("write", [as_jsonl, as_csv, as_tsv, as_lines])
def test_compression(write: Any, by: str, tmp_path: Path) -> None:
    path = compressed(write(tmp_path), by)
    settings: dict[str, Any] = {"format": "lines"} if write is as_lines else {"id_field": "id"}
    documents = read(path, **settings)
    assert [document.text for document in documents] == TEXTS
    if by:
        cut = path.with_name(f"cut-{path.name}")
        cut.write_bytes(path.read_bytes()[:-6])
        with pytest.raises(PipeError, match="cannot be read after line"):
            read(cut, **settings)


def test_members_and_frames_one_after_the_other(tmp_path: Path) -> None:
    line = as_jsonl(tmp_path).read_bytes()
    (tmp_path / "y.jsonl.gz").write_bytes(gzip.compress(line) * 2)
    (tmp_path / "y.jsonl.zst").write_bytes(pa.Codec("zstd").compress(line, asbytes=True) * 2)
    for suffix in ("gz", "zst"):
        assert [each.text for each in read(tmp_path / f"y.jsonl.{suffix}")] == TEXTS * 2


def test_files_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text('7\tHe said "no\n8\t"Yes"\n')
    found = read(tmp_path / "x.tsv", columns=("key", "text"), id_field="key")
    assert [(each.doc_id, each.text) for each in found] == [("7", 'He said "no'), ("8", '"Yes"')]


def test_quotes_in_csv(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('id,text\n1,"one, ""two""\nthree"\n2,four\n')
    found = read(tmp_path / "x.csv")
    assert [(each.doc_id, each.text) for each in found] == [
        ("x.csv:3", 'one, "two"\nthree'),
        ("x.csv:4", "four"),
    ]


@pytest.fixture(params=["memory", "file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
        bucket = f"s3://{uuid.uuid4().hex}"
        fsspec.filesystem("s3").mkdir(bucket)
        return bucket
    if request.param == "file":
        return (tmp_path / "there").as_uri()
    return f"memory://{uuid.uuid4().hex}"


def test_any_file_system(url: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    compressed(as_jsonl(here), ".gz")
    (here / "x.jsonl").rename(here / "sub" / "y.jsonl")
    (here / ".hidden.jsonl").write_text("{}")
    as_parquet(here)
    system, root = fsspec.core.url_to_fs(url)
    for path in here.rglob("*"):
        if path.is_file():
            system.makedirs(f"{root}/{path.parent.relative_to(here).as_posix()}", exist_ok=True)
            with system.open(f"{root}/{path.relative_to(here).as_posix()}", "wb") as file:
                file.write(path.read_bytes())
    kinds = {
        "": "jsonl",
        "/sub": "auto",
        "/x.jsonl.gz": "auto",
        "/*.gz": "auto",
        "/**/*.jsonl": "auto",
    }
    for path, kind in kinds.items():
        assert read(f"{url}{path}", format=kind) == read(f"{here}{path}", format=kind)
    assert read(f"{url}/x.parquet", id_field="id") == read(here / "x.parquet", id_field="id")
    config = SourceConfig(name="web", path=f"{url}/x.parquet")
    (piece,) = pieces_of(config)
    assert piece.documents == len(list(read_piece(config, piece))) == 2
    for path in ("/nothing.jsonl", "/nothing/"):
        with pytest.raises(PipeError, match=r"nothing.* is missing"):
            read(f"{url}{path}", format="jsonl")
    with pytest.raises(PipeError, match="has no file to read"):
        read(f"{url}/*.csv")


def test_an_unknown_protocol() -> None:
    with pytest.raises(PipeError, match=r"nowhere://x/y.* cannot be opened .*expected a path or"):
        read("nowhere://x/y")


def test_a_remote_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    url = f"memory://{uuid.uuid4().hex}/x.jsonl"
    with fsspec.open(url, "wb") as file:
        file.write(b'{"text": "a"}\n')

    def deny(*_: Any, **__: Any) -> bytes:
        raise RuntimeError("403 forbidden")

    monkeypatch.setattr(MemoryFileSystem, "_open", deny)
    with pytest.raises(PipeError, match=r"403 forbidden.*; see that it can be reached"):
        read(url)


def test_pieces_together_are_the_source(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        shutil.copy(as_jsonl(tmp_path), data / f"{number}.jsonl")
    datasets.Dataset.from_list(RECORDS * 3).save_to_disk(tmp_path / "saved")
    for path, kind in ((data, "jsonl"), (data, "datasets"), (tmp_path / "saved", "auto")):
        config = SourceConfig(name="web", path=str(path), format=kind)
        apart = [
            each for piece in reversed(pieces_of(config)) for each in read_piece(config, piece)
        ]
        together = list(read_documents(config))
        assert sorted(each.doc_id for each in apart) == sorted(each.doc_id for each in together)
        assert len({each.doc_id for each in together}) == len(together) == 6


def test_rows_of_a_saved_data_set_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset.from_list(RECORDS * 3).save_to_disk(tmp_path / "saved")
    whole = read(tmp_path / "saved")
    monkeypatch.setattr("data_prep.readers.hub.PIECE_ROWS", 4)
    assert len(pieces_of(SourceConfig(name="web", path=str(tmp_path / "saved")))) == 2
    assert read(tmp_path / "saved") == whole
    assert whole[5].doc_id == "train:5"
