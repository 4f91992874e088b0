"""Hostile inputs: each is a sentence that names its place, or a counted skip; nothing read is lost.

A row of the table: the file's name, its bytes, settings, what the sentence says, the texts that
are read all the same, and how many problems are counted under ``on_error = "skip"``.
"""

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.cleaning import UNREADABLE, Cleaner
from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.readers import opening
from data_prep.records import Document
from data_prep.sources import pieces_of, read_documents
from tests.data_prep.helpers import corpus_config

GOOD = b'{"text": "good"}\n'
CSV = b"id,text\n1,good\n"
TSV = b"id\ttext\n1\tgood\n"


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return packed


def parquet(**columns: Any) -> bytes:
    return of_table(pa.table(columns))


def of_table(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def damaged(content: bytes, where: int) -> bytes:
    return (
        content[:where]
        + bytes(byte ^ 0xFF for byte in content[where : where + 40])
        + content[where + 40 :]
    )


LATIN = pa.array([b"good", b"\xff\xfe", b"good"]).view(pa.string())
MANY = parquet(text=[f"text {number} " * 50 for number in range(200)])

Row = tuple[str, bytes, dict[str, Any], str, list[str], int]

# A line that is not right, between two that are.
LINES: list[tuple[str, bytes, str]] = [
    ("half an object", b'{"text": "a', "line 2: not JSON"),
    ("no JSON", b"hello", "line 2: not JSON"),
    ("two objects", b'{"text": "a"}{"text": "b"}', "line 2: not JSON"),
    ("a trailing comma", b'{"text": "a",}', "line 2: not JSON"),
    ("single quotes", b"{'text': 'a'}", "line 2: not JSON"),
    ("a comment", b"// text", "line 2: not JSON"),
    ("a raw NUL", b'{"text": "a\x00b"}', "line 2: not JSON"),
    ("a raw tab", b'{"text": "a\tb"}', "line 2: not JSON"),
    ("NULs alone", b"\x00\x00\x00", "line 2: not JSON"),
    ("latin-1", b'{"text": "caf\xe9"}', "line 2: byte 13 of the line is not UTF-8"),
    ("cp1252 quotes", b'{"text": "\x93a\x94"}', "line 2: byte 10"),
    ("overlong UTF-8", b'{"text": "\xc0\xaf"}', "line 2: byte 10"),
    ("a surrogate in UTF-8", b'{"text": "\xed\xa0\x80"}', "line 2: byte 10"),
    ("half a character", b'{"text": "\xe4\xb8"}', "line 2: byte 10"),
    ("UTF-16", '{"text": "a"}'.encode("utf-16"), "line 2: byte 0"),
    ("UTF-16 without a mark", '{"text": "a"}'.encode("utf-16-le"), "line 2: not JSON"),
    ("a mark of byte order in the middle", b"\xef\xbb\xbf" + GOOD[:-1], "line 2: not JSON"),
    ("a list", b'["a", "b"]', "line 2: found a JSON list"),
    ("a string", b'"a"', "line 2: found a JSON str"),
    ("a number", b"7", "line 2: found a JSON int"),
    ("null", b"null", "line 2: found a JSON NoneType"),
    ("NaN", b"NaN", "line 2: found a JSON float"),
    ("a deep list", b"[" * 1900, "line 2: not JSON"),
    ("a deep object", b'{"a":' * 350, "line 2: not JSON"),
    ("another field", b'{"body": "a"}', "line 2: field 'text' is missing; found 'body'"),
    ("another case", b'{"Text": "a"}', "line 2: field 'text' is missing; found 'Text'"),
    ("no field", b"{}", "line 2: field 'text' is missing; found no fields"),
    ("a number for a text", b'{"text": 3}', "'text' holds a value of type int"),
    ("a truth value", b'{"text": true}', "'text' holds a truth value"),
    ("a list for a text", b'{"text": ["a"]}', "'text' holds a list"),
    ("nested JSON", b'{"text": {"en": "a"}}', "'text' holds an object"),
    ("a long line", b'{"text": "' + b"a" * 3000 + b'"}', "line 2: longer than 2,000 bytes"),
    ("a long line without JSON", b"a" * 5_000_000, "line 2: longer than 2,000 bytes"),
    ("a long line of blanks", b" " * 3000, "line 2: longer than 2,000 bytes"),
]

# A whole file that is not right, or a part of one.
FILES: dict[str, Row] = {
    "a mark of byte order": ("x.jsonl", b"\xef\xbb\xbf" + GOOD, {}, "", ["good"], 0),
    "CRLF": ("x.jsonl", b'{"text": "good"}\r\n\r\n', {}, "", ["good"], 0),
    "no line end": ("x.jsonl", GOOD[:-1], {}, "", ["good"], 0),
    "a line separator": ("x.jsonl", '{"text": "a\u2028b"}'.encode(), {}, "", ["a\u2028b"], 0),
    "an escaped NUL": ("x.jsonl", rb'{"text": "a\u0000b"}', {}, "", ["a\ufffdb"], 0),
    "a lone surrogate": ("x.jsonl", rb'{"text": "a\ud800"}', {}, "", ["a\ufffd"], 0),
    "a field twice": ("x.jsonl", b'{"text": 1, "text": "good"}', {}, "", ["good"], 0),
    "no id": ("x.jsonl", GOOD, {"id_field": "id"}, "field 'id' is missing", [], 1),
    "an id of null": (
        "x.jsonl", b'{"text": "a", "id": null}', {"id_field": "id"}, "'id' holds null", [], 1
    ),
    "gzip cut short": ("x.jsonl.gz", gzip.compress(GOOD)[:-8], {}, "read after line", ["good"], 1),
    "gzip with half a header": ("x.jsonl.gz", gzip.compress(GOOD)[:5], {}, "after line 0", [], 1),
    "gzip with another sum": (
        "x.jsonl.gz", gzip.compress(GOOD)[:-8] + b"\0" * 8, {}, "cannot be read after", ["good"], 1
    ),
    "gzip damaged": ("x.jsonl.gz", damaged(gzip.compress(GOOD * 9), 12), {}, "cannot be", [], 1),
    "gzip that is none": ("x.jsonl.gz", GOOD, {}, "cannot be read after line 0", [], 1),
    "gzip and then something": (
        "x.jsonl.gz", gzip.compress(GOOD) + b"tail", {}, "cannot be read after", ["good"], 1
    ),
    "gzip twice": ("x.jsonl.gz", gzip.compress(gzip.compress(GOOD)), {}, "not UTF-8", [], -1),
    "gzip of nothing": (
        "x.jsonl.gz", gzip.compress(b"") + gzip.compress(GOOD), {}, "", ["good"], 0
    ),
    "a bomb": (
        "x.jsonl.gz", gzip.compress(b"\0" * 20_000_000), {}, "longer than 2,000 bytes", [], 1
    ),
    "zstd cut short": ("x.jsonl.zst", zstd(GOOD * 9)[:-4], {}, "cannot be read after line", [], 1),
    "zstd that is none": ("x.jsonl.zst", GOOD, {}, "cannot be read after line 0", [], 1),
    "zstd damaged": ("x.jsonl.zst", damaged(zstd(GOOD * 9), 2), {}, "cannot be read after", [], 1),
    "gzip named zstd": ("x.jsonl.zst", gzip.compress(GOOD), {}, "after line 0", [], 1),
    "parquet named jsonl": ("x.jsonl", parquet(text=["a"]), {}, "x.jsonl, line 1: ", [], -1),
    "jsonl named parquet": ("x.parquet", GOOD, {}, "cannot be read as parquet", [], 1),
    "an empty parquet file": ("x.parquet", b"", {}, "cannot be read as parquet", [], 1),
    "four bytes": ("x.parquet", b"PAR1", {}, "cannot be read as parquet", [], 1),
    "parquet without its end": ("x.parquet", MANY[:-20], {}, "read as parquet", [], 1),
    "parquet without its beginning": ("x.parquet", MANY[400:], {}, "read as parquet", [], 1),
    "a broken footer": ("x.parquet", damaged(MANY, len(MANY) - 60), {}, "read as parquet", [], 1),
    "a footer of no length": (
        "x.parquet", MANY[:-8] + b"\xff\xff\xff\x7fPAR1", {}, "read as parquet", [], 1
    ),
    "a broken page": ("x.parquet", damaged(MANY, 4), {}, "read as parquet", [], 1),
    "a column of numbers": ("x.parquet", parquet(text=[1]), {}, "of type int64", [], 1),
    "a column of lists": ("x.parquet", parquet(text=[["a"]]), {}, "of type list", [], 1),
    "a column of objects": ("x.parquet", parquet(text=[{"a": "b"}]), {}, "type struct", [], 1),
    "a column of bytes": ("x.parquet", parquet(text=[b"a"]), {}, "of type binary", [], 1),
    "a column of nulls": ("x.parquet", parquet(text=pa.nulls(2)), {}, "of type null", [], 1),
    "another column": ("x.parquet", parquet(body=["a"]), {}, "found 'body'", [], 1),
    "no column": ("x.parquet", of_table(pa.table({})), {}, "found no fields", [], 1),
    "a text that is not UTF-8": (
        "x.parquet", parquet(text=LATIN), {}, "row 1: byte 0", ["good"] * 2, 1
    ),
    "a null": ("x.parquet", parquet(text=["good", None]), {}, "", ["good", ""], 0),
    "an id of a float": (
        "x.parquet", parquet(text=["a"], id=[1.5]), {"id_field": "id"}, "'id' holds a value", [], 1
    ),
    "a list of numbers": (
        "x.parquet", parquet(pos=[[1]]), {"take": "all"}, "'pos' is of type list", [], 1
    ),
    "no header": ("x.csv", b"1,good\n", {}, "line 1: field 'text' is missing", [], 1),
    "a short row": ("x.csv", CSV + b"2\n3,good\n", {}, "line 3: found 1 fields", ["good"] * 2, 1),
    "a long row": ("x.csv", CSV + b"2,a,b\n", {}, "line 3: found 3 fields", ["good"], 1),
    "an open quote": ("x.csv", CSV + b'2,"open\n', {}, "line 3: not a row", ["good"], 1),
    "a quote too many": (
        "x.csv", CSV + b'2,"a"b\n3,good\n', {}, "line 3: not a row", ["good"] * 2, 1
    ),
    "an open quote far from the end": (
        "x.csv", CSV + b'2,"open\n' + b"3,a\n" * 700, {}, "not a row", ["good", *["a"] * 201], 1
    ),
    "latin-1 in CSV": (
        "x.csv", CSV + b"2,caf\xe9\n3,good\n", {}, "line 3: byte 5", ["good"] * 2, 1
    ),
    "a NUL in CSV": ("x.csv", CSV + b"2,a\x00b\n", {}, "", ["good", "a\ufffdb"], 0),
    "a carriage return alone": ("x.csv", b"id,text\r1,good\r", {}, "not a row", [], 1),
    "a long line in CSV": (
        "x.csv", CSV + b"2," + b"a" * 3000 + b"\n3,good\n", {}, "line 3: longer", ["good"] * 2, 1
    ),
    "a long line in a quoted field": (
        "x.csv", CSV + b'2,"a\n' + b"b" * 3000 + b'\n"\n3,good\n', {}, "longer", ["good"] * 2, 1
    ),
    "commas for tabs": ("x.tsv", CSV, {}, "field 'text' is missing; found 'id,text'", [], 1),
    "a quote in TSV": ("x.tsv", TSV + b'2\t"a\n', {}, "", ["good", '"a'], 0),
    "a tab too many": ("x.tsv", TSV + b"2\ta\tb\n", {}, "line 3: found 3 fields", ["good"], 1),
    "an empty name in the header": ("x.tsv", b"\ttext\n1\tgood\n", {}, "", ["good"], 0),
    "CSV cut short": (
        "x.csv.gz", gzip.compress(CSV)[:-8], {}, "cannot be read after line 2", ["good"], 1
    ),
    "UTF-16 in CSV": ("x.csv", "id,text\n1,a\n".encode("utf-16"), {}, "not UTF-8", [], -1),
    "a text in latin-1": ("x.txt", b"caf\xe9", {}, "byte 3 is not UTF-8", [], 1),
    "a text in UTF-16": ("x.txt", "text".encode("utf-16"), {}, "byte 0 is not UTF-8", [], 1),
    "a program": ("x.txt", b"\x7fELF\x02\x01\x01\x00\xff", {}, "byte 8 is not UTF-8", [], 1),
    "a large text": ("x.txt", b"a" * 3000, {}, "more than 2,000 bytes", [], 1),
    "a text cut short": ("x.txt.gz", gzip.compress(b"a")[:-8], {}, "cannot be read", [], 1),
    "a NUL in a text": ("x.txt", b"a\x00b", {}, "", ["a\ufffdb"], 0),
    "lines in latin-1": (
        "x.txt", b"good\ncaf\xe9\n\ngood\r\n", {"format": "lines"}, "2: byte 3", ["good"] * 2, 1
    ),
    "a long line alone": (
        "x.txt", b"a" * 3000 + b"\ngood", {"format": "lines"}, "line 1: longer", ["good"], 1
    ),
    "a pair with a number": (
        "x.jsonl", b'["a", 7]\n["good"]', {"take": "all"}, "holds a", ["good"], 1
    ),
    "a query of null alone": ("x.jsonl", b'{"query": null}', {"take": "all"}, "'text' is", [], 1),
}  # fmt: skip

for _name, _line, _message in LINES:
    _content = GOOD + _line + b"\n" + GOOD
    _found = ["good", "good"]
    FILES[f"a line: {_name}"] = ("x.jsonl", _content, {}, _message, _found, 1)


@pytest.fixture(autouse=True)
def _low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_RECORD_BYTES", 2000)


def read(path: Path, **settings: Any) -> list[Document]:
    return list(read_documents(SourceConfig(name="web", path=str(path), **settings)))


def skipped(path: Path, **settings: Any) -> tuple[list[str], list[str]]:
    """The texts that are read all the same, and the problems."""
    documents = read(path, on_error="skip", **settings)
    texts = [document.text for document in documents if document.problem is None]
    return texts, [document.problem for document in documents if document.problem is not None]


def test_there_are_about_a_hundred() -> None:
    assert len(FILES) >= 100


@pytest.mark.parametrize("name", FILES)
def test_a_sentence_or_a_counted_skip(name: str, tmp_path: Path) -> None:
    file, content, settings, message, expected, count = FILES[name]
    path = tmp_path / file
    path.write_bytes(content)
    if count:
        with pytest.raises(PipeError) as caught:
            read(path, **settings)
        sentence = str(caught.value)
        assert message in sentence
        assert str(path) in sentence
        assert sentence.endswith(".")
        assert "\n" not in sentence
    else:
        assert [document.text for document in read(path, **settings)] == expected
    texts, problems = skipped(path, **settings)
    assert texts == expected
    assert len(problems) == count or (count < 0 and len(problems) >= 1)
    assert any(message in problem for problem in problems) or not count


def test_a_number_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_RECORD_BYTES", 10_000)
    (tmp_path / "x.jsonl").write_bytes(b"9" * 5000)
    with pytest.raises(PipeError, match="line 1: not JSON"):
        read(tmp_path / "x.jsonl")


@pytest.mark.parametrize("bad", ["x.jsonl.gz", "x.parquet", "x.csv", "x.txt"])
def test_a_bad_file_between_good_ones(bad: str, tmp_path: Path) -> None:
    suffix = bad.removeprefix("x")
    good = {
        ".jsonl.gz": gzip.compress(GOOD),
        ".parquet": parquet(text=["good"]),
        ".csv": CSV,
        ".txt": b"good",
    }[suffix]
    for name in ("a", "c"):
        (tmp_path / f"{name}{suffix}").write_bytes(good)
    (tmp_path / f"b{suffix}").write_bytes(b"\xff\xfe")
    texts, problems = skipped(tmp_path)
    assert texts == ["good", "good"]
    assert len(problems) == 1
    assert f"b{suffix}" in problems[0]


def test_a_problem_is_dropped_and_counted_by_its_reason(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"{\n" + GOOD)
    source = SourceConfig(name="web", path=str(tmp_path / "x.jsonl"), on_error="skip")
    cleaner = Cleaner(corpus_config([source]))
    problem, good = read_documents(source)
    assert cleaner.clean(problem) == UNREADABLE
    assert cleaner.clean(good) == good


def link_to_itself(directory: Path) -> Path:
    (directory / "x.jsonl").symlink_to(directory / "x.jsonl")
    return directory / "x.jsonl"


def a_link_to_nothing(directory: Path) -> Path:
    (directory / "x.jsonl").symlink_to(directory / "gone.jsonl")
    return directory / "x.jsonl"


def a_pipe(directory: Path) -> Path:
    os.mkfifo(directory / "x.jsonl")
    return directory / "x.jsonl"


def an_empty_directory_named_like_a_file(directory: Path) -> Path:
    (directory / "x.jsonl").mkdir()
    return directory / "x.jsonl"


def a_directory_of_pipes_and_loops(directory: Path) -> Path:
    link_to_itself(directory)
    (directory / "y.jsonl").mkdir()
    os.mkfifo(directory / "z.jsonl")
    (directory / "loop").symlink_to(directory)
    return directory


def a_name_too_long(directory: Path) -> Path:
    return directory / f"{'x' * 300}.jsonl"


def a_file_as_a_directory(directory: Path) -> Path:
    (directory / "x").write_bytes(GOOD)
    return directory / "x" / "y.jsonl"


def no_path(_: Path) -> str:
    return ""


@pytest.mark.parametrize(
    "make",
    [
        link_to_itself,
        a_link_to_nothing,
        a_pipe,
        an_empty_directory_named_like_a_file,
        a_directory_of_pipes_and_loops,
        a_name_too_long,
        a_file_as_a_directory,
        no_path,
    ],
)
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_source_that_is_not_there_always_stops(
    make: Callable[[Path], Path], on_error: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(PipeError, match=r"is missing|has no file to read|has no path|cannot be"):
        read(path, format="jsonl", on_error=on_error)


def test_a_loop_of_directories_ends(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "sub" / "x.jsonl").write_bytes(GOOD)
    assert [document.doc_id for document in read(tmp_path)] == ["sub/x.jsonl:1"]
    assert len(read(tmp_path / "**" / "*.jsonl")) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_bytes(GOOD)
    for closed in ("file.jsonl", "sub"):
        path = tmp_path / closed
        path.write_bytes(GOOD) if "." in closed else path.mkdir()
        path.chmod(0)
    try:
        with pytest.raises(PipeError, match=r"file\.jsonl cannot be read"):
            read(tmp_path)
        texts, problems = skipped(tmp_path)
        assert (texts, len(problems)) == (["good"], 2)
    finally:
        (tmp_path / "sub").chmod(0o700)


def test_what_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.jsonl").write_bytes(GOOD)
    (tmp_path / "sub").mkdir()
    scan = os.scandir

    def refuse(path: Any = ".") -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PipeError, match="sub cannot be read"):
        read(tmp_path, format="jsonl")
    texts, problems = skipped(tmp_path, format="jsonl")
    assert (texts, len(problems)) == (["good"], 1)


def test_a_file_that_goes_while_others_are_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(GOOD)
    config = SourceConfig(name="web", path=str(tmp_path))
    assert len(pieces_of(config)) == 2
    documents = read_documents(config)
    assert next(documents).text == "good"
    (tmp_path / "b.jsonl").unlink()
    with pytest.raises(PipeError, match=r"b\.jsonl cannot be read"):
        next(documents)


@pytest.mark.slow
def test_a_line_of_200_megabytes_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    monkeypatch.setattr(opening, "MAX_RECORD_BYTES", 2**20)
    with (tmp_path / "x.jsonl").open("wb") as file:
        file.write(GOOD + b'{"text": "')
        for _ in range(200):
            file.write(b"a" * 10**6)
        file.write(b'"}\n' + GOOD)
    tracemalloc.start()
    texts, problems = skipped(tmp_path / "x.jsonl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (texts, len(problems)) == (["good", "good"], 1)
    assert peak < 8 * 2**20
