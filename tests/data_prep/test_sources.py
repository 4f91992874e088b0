"""Readers: every format gives the same documents, and every mistake is a sentence with a place."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.records import Document
from data_prep.sources import FORMATS, read_documents, resolve_format
from tests.data_prep.helpers import write_jsonl

ROOT = Path(__file__).parents[2]
RECORDS = [{"id": "a", "text": "First."}, {"id": "b", "text": "Zweites: ä, 中, 😀."}]


def read(path: Path | str, **settings: Any) -> list[Document]:
    return list(read_documents(SourceConfig(name="web", path=str(path), **settings)))


def pairs(documents: list[Document]) -> list[tuple[str, str]]:
    return [(document.doc_id, document.text) for document in documents]


def as_jsonl(directory: Path) -> Path:
    return write_jsonl(directory / "x.jsonl", RECORDS)


def as_gzip(directory: Path) -> Path:
    path = directory / "x.jsonl.gz"
    path.write_bytes(gzip.compress(as_jsonl(directory).read_bytes()))
    return path


def as_parquet(directory: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(RECORDS), directory / "x.parquet")
    return directory / "x.parquet"


def as_dictionary(directory: Path) -> Path:
    table = pa.Table.from_pylist(RECORDS)
    texts = table["text"].dictionary_encode()
    pq.write_table(table.set_column(1, "text", texts), directory / "y.parquet")
    return directory / "y.parquet"


def as_saved_dataset(directory: Path) -> Path:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset.from_list(RECORDS).save_to_disk(directory / "saved")
    return directory / "saved"


@pytest.mark.parametrize("write", [as_jsonl, as_gzip, as_parquet, as_dictionary, as_saved_dataset])
def test_formats_are_inferred_and_agree(write: Any, tmp_path: Path) -> None:
    documents = read(write(tmp_path), id_field="id", role="question")
    assert pairs(documents) == [(record["id"], record["text"]) for record in RECORDS]
    assert {(document.source, document.role) for document in documents} == {("web", "question")}


def test_a_directory_through_datasets(tmp_path: Path) -> None:
    as_jsonl(tmp_path)
    expected = [(f"train:{row}", record["text"]) for row, record in enumerate(RECORDS)]
    assert pairs(read(tmp_path, format="datasets")) == expected
    with pytest.raises(PipeError, match="split 'nothing'"):
        read(tmp_path, format="datasets", split="nothing")
    with pytest.raises(PipeError, match="found 'id', 'text'"):
        read(tmp_path, format="datasets", text_field="body")


def test_a_data_set_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach 'some/name' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(PipeError, match=r"'some/name'.*Couldn't reach"):
        read("some/name", format="datasets")


def test_identities_do_not_depend_on_where_the_files_are(tmp_path: Path) -> None:
    for place in ("here", "there/further"):
        (tmp_path / place / "sub").mkdir(parents=True)
        for name in ("b.txt", "a.txt", "sub/a.md", ".hidden.txt", "ignored.bin"):
            (tmp_path / place / name).write_text(f"text of {name}")
    expected = [(name, f"text of {name}") for name in ("a.txt", "b.txt", "sub/a.md")]
    assert pairs(read(tmp_path / "here")) == expected
    assert pairs(read(tmp_path / "there" / "further")) == expected
    assert pairs(read(tmp_path / "here" / "**" / "*.txt", format="text")) == expected[:2]
    assert pairs(read(tmp_path / "here" / "sub" / "?.md")) == [("a.md", "text of sub/a.md")]


def test_a_directory_of_jsonl_and_the_default_ids(tmp_path: Path) -> None:
    (tmp_path / "2.jsonl").write_text('\n{"text": "c"}\n')
    (tmp_path / "1.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\n{"text": null}')
    assert pairs(read(tmp_path)) == [("1.jsonl:1", "a"), ("1.jsonl:2", ""), ("2.jsonl:2", "c")]


def test_at_most_so_many_documents(tmp_path: Path) -> None:
    assert len(read(as_jsonl(tmp_path), max_documents=1)) == 1


def test_what_utf8_cannot_hold_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"id": "a\ud800", "text": "x\x00y\udfffz 😀"}) + "\n")
    assert pairs(read(path, id_field="id")) == [("a\ufffd", "x\ufffdy\ufffdz 😀")]


def test_integer_ids(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [{"id": 7, "text": "a"}])
    assert pairs(read(path, id_field="id")) == [("7", "a")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": \n', r"x\.jsonl, line 2: not JSON"),
        (b'{"text": "a"}\n["text"]\n', r"x\.jsonl, line 2: found a JSON list"),
        (b'{"body": "a", "id": 1}\n', r"x\.jsonl, line 1: field 'text' is missing; found 'body', "),
        (b"{}\n", "found no fields"),
        (b'{"text": "a"}\n{"text": "\xff"}\n', r"x\.jsonl, line 2: byte 10 .* not UTF-8"),
        (b'{"text": 3}\n', "'text' holds a value of type int; expected a string"),
        (b'{"text": ["a"]}\n', "'text' holds a list; expected a string"),
        (b"\n\n", "'web' has no document"),
        (b"", "'web' has no document"),
    ],
)
def test_mistakes_in_jsonl(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(PipeError, match=message):
        read(tmp_path / "x.jsonl")


@pytest.mark.parametrize("value", [None, True, 1.5, {}])
def test_an_id_that_names_nothing(value: object, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [{"id": value, "text": "a"}])
    with pytest.raises(PipeError, match="line 1: field 'id' holds"):
        read(path, id_field="id")


def test_broken_files(tmp_path: Path) -> None:
    whole = as_gzip(tmp_path).read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-9])
    (tmp_path / "not.jsonl.gz").write_bytes(b"plain text")
    (tmp_path / "not.parquet").write_bytes(b"plain text")
    (tmp_path / "cut.parquet").write_bytes(as_parquet(tmp_path).read_bytes()[:-20])
    (tmp_path / "empty.parquet").write_bytes(b"")
    for name in ("cut.jsonl.gz", "not.jsonl.gz", "not.parquet", "cut.parquet", "empty.parquet"):
        with pytest.raises(PipeError, match=f"{name} cannot be read"):
            read(tmp_path / name)


def test_mistakes_in_parquet(tmp_path: Path) -> None:
    path = as_parquet(tmp_path)
    with pytest.raises(PipeError, match="field 'body' is missing; found 'id', 'text'"):
        read(path, text_field="body")
    with pytest.raises(PipeError, match="field 'key' is missing"):
        read(path, id_field="key")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    with pytest.raises(PipeError, match="'text' is of type int64; expected strings"):
        read(tmp_path / "numbers.parquet")
    raw = pa.array([b"fine", b"\xff\xfe"]).view(pa.string())
    pq.write_table(pa.table({"text": raw}), tmp_path / "latin.parquet")
    with pytest.raises(PipeError, match=r"latin\.parquet.* not UTF-8"):
        read(tmp_path / "latin.parquet")


def test_text_that_is_not_utf8_names_the_byte(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"caf\xe9")
    with pytest.raises(PipeError, match=r"x\.txt: byte 3 is not UTF-8"):
        read(tmp_path / "x.txt")


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match=r"nothing\.jsonl .* is missing"):
        read(tmp_path / "nothing.jsonl")
    with pytest.raises(PipeError, match="'web' has no path"):
        read("")
    with pytest.raises(PipeError, match="has no file to read"):
        read(tmp_path)
    with pytest.raises(PipeError, match="has no file to read"):
        read(tmp_path / "*.jsonl")


def test_formats_that_are_not_clear(tmp_path: Path) -> None:
    (tmp_path / "x.doc").write_text("x")
    with pytest.raises(PipeError, match="format unknown; set its format to one of jsonl, parquet"):
        read(tmp_path / "x.doc")
    assert pairs(read(tmp_path / "x.doc", format="text")) == [("x.doc", "x")]
    as_jsonl(tmp_path)
    as_parquet(tmp_path)
    with pytest.raises(PipeError, match="format jsonl and parquet"):
        read(tmp_path)
    with pytest.raises(PipeError, match="'xml'; expected auto or one of"):
        read(tmp_path, format="xml")
    assert len(read(tmp_path, format="jsonl")) == 2


def test_every_suffix_names_one_format() -> None:
    suffixes = [suffix for reader in FORMATS.values() for suffix in reader.suffixes]
    assert len(set(suffixes)) == len(suffixes)


def test_auto_never_goes_to_the_hub() -> None:
    with pytest.raises(PipeError, match='set its format to "datasets"'):
        resolve_format(SourceConfig(name="web", path="some-org/some-name"))


def test_the_room_imports_no_heavy_library() -> None:
    program = (
        "import sys, data_prep.prepare, data_prep.corpus;"
        "print(sorted({'torch', 'zarr', 'datasets', 'teacher_cache'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
