"""Records of several texts: every shape of embedding-training-data, and what is taken of each."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.sources import read_documents

Q, P = "question", "passage"


def read(path: Path, **settings: Any) -> list[tuple[str, str, str]]:
    config = SourceConfig(name="e", path=str(path), **settings)
    return [(each.doc_id, each.text, each.role) for each in read_documents(config)]


def as_lines(directory: Path, *rows: Any) -> Path:
    path = directory / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "query", "passages"),
    [
        (["a", "b"], [("a", Q)], [("b", P)]),
        (["a", "b", "c"], [("a", Q)], [("b", P), ("c", P)]),
        ({"query": "a", "pos": ["b", "c"]}, [("a", Q)], [("b", P), ("c", P)]),
        ({"query": "a", "neg": ["d"], "pos": ["b"]}, [("a", Q)], [("b", P), ("d", P)]),
        ({"set": ["a", "b"]}, [("a", P)], [("b", P)]),
        ({"texts": ["a", "b"]}, [("a", P)], [("b", P)]),
        ({"anchor": "a", "positive": "b", "negative": "c"}, [("a", Q)], [("b", P), ("c", P)]),
        ({"question": "a", "answer": "b", "id": 7}, [("a", Q)], [("b", P)]),
        ({"pos": ["b"], "neg": ["c"]}, [("", Q)], [("b", P), ("c", P)]),
        ({"query": "a", "pos": None}, [("a", Q)], []),
        ({"text": "a", "pos": ["b"]}, [("a", Q)], [("b", P)]),
        ({"text": "a"}, [("a", P)], []),
        ("a", [("a", P)], []),
    ],
)
def test_what_is_taken(
    row: Any, query: list[tuple[str, str]], passages: list[tuple[str, str]], tmp_path: Path
) -> None:
    path = as_lines(tmp_path, row, ["y", "z"])
    for take, expected in (("query", query), ("passages", passages), ("all", query + passages)):
        found = read(path, take=take)
        first = len(query) if take == "passages" else 0
        numbers = range(first, first + len(expected))
        ids = [f"x.jsonl:1/{number}" if number else "x.jsonl:1" for number in numbers]
        of_row = [each for each in found if each[0].startswith("x.jsonl:1")]
        assert of_row == [(name, *text) for name, text in zip(ids, expected, strict=True)]


def test_texts_alone_have_the_role_of_the_source(tmp_path: Path) -> None:
    path = as_lines(tmp_path, "a", {"set": ["b", "c"]}, ["d", "e"])
    roles = [role for _, _, role in read(path, take="all", role="question")]
    assert roles == [Q, Q, Q, Q, P]


def test_ids_and_a_field_of_ones_own(tmp_path: Path) -> None:
    path = as_lines(tmp_path, {"key": 4, "title": "a", "passage": "b"})
    found = read(path, take="all", text_field="title", id_field="key")
    assert found == [("4", "a", Q), ("4/1", "b", P)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (7, "found a value of type int; expected a text, a list"),
        (None, "found null"),
        (["a", ["b"]], "the list holds a list"),
        ({"query": {"a": 1}}, "field 'query' holds an object"),
        ({"query": "a", "pos": ["b", 7]}, "field 'pos' holds a value of type int"),
        ({"body": "a"}, "field 'text' is missing; found 'body'"),
        ({"query": "a", "pos": ["b"]}, "field 'id' is missing"),
    ],
)
def test_other_shapes(row: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(PipeError, match=message):
        read(as_lines(tmp_path, row), take="all", id_field="id" if "id" in message else None)


def test_a_list_without_take_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match="set take of source 'e' to query, passages or all"):
        read(as_lines(tmp_path, ["a", "b"]))


def test_columns_of_texts(tmp_path: Path) -> None:
    rows = [{"query": "a", "pos": ["b", "c"], "score": 1.5}, {"query": "d", "pos": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    (tmp_path / "x.tsv").write_text("query\tanswer\na\tb\n")
    assert read(tmp_path / "x.parquet", take="query") == [
        ("x.parquet:0", "a", Q),
        ("x.parquet:1", "d", Q),
    ]
    assert [text for _, text, _ in read(tmp_path / "x.parquet", take="all")] == ["a", "b", "c", "d"]
    assert read(tmp_path / "x.tsv", take="all") == [("x.tsv:2", "a", Q), ("x.tsv:2/1", "b", P)]
    with pytest.raises(PipeError, match="field 'text' is missing"):
        read(tmp_path / "x.parquet")


def test_rows_of_a_data_set(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    rows = [{"anchor": "a", "positive": "b"}, {"anchor": "c", "positive": "d"}]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    assert read(tmp_path / "saved", take="query") == [("train:0", "a", Q), ("train:1", "c", Q)]
