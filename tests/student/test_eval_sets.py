"""Reading local evaluation sets, and the sentences for broken ones."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from data_prep.errors import PipeError
from student.evaluation.sets import (
    ClassificationSet,
    RetrievalSet,
    SetFiles,
    StsSet,
    find_sets,
    read_set,
)


def lines(path: Path, rows: Iterable[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.write(text)
    return path


def named(directory: Path, name: str) -> SetFiles:
    (files,) = [files for files in find_sets(directory) if files.name == name]
    return files


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines(
        tmp_path / "sts" / "pairs.jsonl",
        [
            {"sentence1": "a\u2028b", "sentence2": "b", "score": 3, "subset": "x"},
            {"sentence1": "c", "sentence2": "d", "score": 0.5},
        ],
    )
    small = tmp_path / "retrieval" / "small"
    lines(
        small / "corpus.jsonl.gz",
        [{"_id": "1", "title": "T", "text": "one"}, {"_id": 2, "title": "", "text": "two"}],
    )
    lines(small / "queries.jsonl", [{"_id": "q1", "text": "?"}, {"_id": "unjudged", "text": "!"}])
    (small / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\t1\t1\nq1\t2\t0\n")
    for split in ("train", "test"):
        lines(
            tmp_path / "classification" / "labels" / f"{split}.jsonl",
            [{"text": "x", "label": "yes"}, {"text": "y", "label": 0}],
        )
    return tmp_path


def test_every_kind_is_found_and_read(data: Path) -> None:
    found = find_sets(data)
    assert [(files.kind, files.name) for files in found] == [
        ("sts", "pairs"),
        ("retrieval", "small"),
        ("classification", "labels"),
    ]
    pairs, small, labels = map(read_set, found)
    assert pairs == StsSet("pairs", ("a\u2028b", "c"), ("b", "d"), (3.0, 0.5))
    assert small == RetrievalSet(
        name="small",
        document_ids=("1", "2"),
        documents=("T one", "two"),
        query_ids=("q1",),
        queries=("?",),
        qrels={"q1": {"1": 1, "2": 0}},
    )
    assert isinstance(labels, ClassificationSet)
    assert labels.test_labels == ("yes", "0")


def test_unpacked_corpus_and_qrels_without_header_serve_too(data: Path) -> None:
    small = data / "retrieval" / "small"
    before = read_set(named(data, "small"))
    (small / "corpus.jsonl").write_bytes(gzip.decompress((small / "corpus.jsonl.gz").read_bytes()))
    (small / "corpus.jsonl.gz").unlink()
    (small / "qrels.tsv").write_text("q1\t1\t1\r\nq1\t2\t0\r\n")
    assert read_set(named(data, "small")) == before


def test_sets_of_one_name_and_two_kinds_are_told_apart(data: Path) -> None:
    (data / "sts" / "pairs.jsonl").rename(data / "sts" / "small.jsonl")
    found = find_sets(data)
    assert [files.name for files in found] == ["sts/small", "retrieval/small", "labels"]
    assert [read_set(files).name for files in found] == [files.name for files in found]


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match=r"expected files like sts/\*\.jsonl"):
        find_sets(tmp_path)
    with pytest.raises(PipeError, match="found no directory"):
        find_sets(tmp_path / "absent")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"{not json}", r"pairs\.jsonl, line 2 is not JSON"),
        (b'["a"]', r"line 2 is list; expected an object with sentence1"),
        (
            b'{"sentence1": "a", "score": 1}',
            r"no field 'sentence2' \(its fields: sentence1, score\)",
        ),
        (b'{"sentence1": "a", "sentence2": null, "score": 1}', r"field 'sentence2' is None"),
        (b'{"sentence1": "a", "sentence2": "b", "score": NaN}', r"line 2"),
        (b'{"sentence1": "\xff", "sentence2": "b", "score": 1}', r"line 2: found the byte 0xff"),
    ],
)
def test_broken_line_is_named(data: Path, line: bytes, sentence: str) -> None:
    path = data / "sts" / "pairs.jsonl"
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n" + line + b"\n")
    with pytest.raises(PipeError, match=sentence):
        read_set(named(data, "pairs"))


@pytest.mark.parametrize(
    ("qrels", "sentence"),
    [
        ("query-id\tcorpus-id\tscore\n", "holds no judgement"),
        ("q1\t1\t1\nq1 2 1\n", "line 2: found 'q1 2 1'"),
        ("q1\t1\t1\nq1\t2\tinf\n", "line 2"),
        ("q7\t1\t1\n", "judges the query 'q7'"),
        ("q1\tother\t1\n", "judges 1 of 1 documents"),
    ],
)
def test_broken_qrels(data: Path, qrels: str, sentence: str) -> None:
    (data / "retrieval" / "small" / "qrels.tsv").write_text(qrels)
    with pytest.raises(PipeError, match=sentence):
        read_set(named(data, "small"))


def test_missing_broken_and_empty_files(data: Path) -> None:
    labels = data / "classification" / "labels"
    lines(labels / "train.jsonl", [{"text": "x", "label": "yes"}])
    with pytest.raises(PipeError, match="one label only"):
        read_set(named(data, "labels"))
    (labels / "train.jsonl").write_text("")
    with pytest.raises(PipeError, match=r"train\.jsonl is empty"):
        read_set(named(data, "labels"))
    (labels / "train.jsonl").unlink()
    with pytest.raises(PipeError, match=r"found no file .*train\.jsonl"):
        read_set(named(data, "labels"))
    packed = data / "retrieval" / "small" / "corpus.jsonl.gz"
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(PipeError, match="not a whole gzip file"):
        read_set(named(data, "small"))


def test_pairs_of_one_score_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sts").mkdir()
    pair = '{"sentence1": "a", "sentence2": "b", "score": 1}\n'
    (tmp_path / "sts" / "same.jsonl").write_text(pair * 3)
    with pytest.raises(PipeError, match=r"same\.jsonl gives every pair the score 1; expected"):
        read_set(find_sets(tmp_path)[0])


def test_files_that_do_not_fit_together_are_refused(data: Path) -> None:
    small = data / "retrieval" / "small"
    (small / "qrels.tsv").write_text("q1\t1\t1\nq1\tzzz\t1\n")
    with pytest.raises(PipeError, match=r"1 of 2 documents that small's corpus .* 'zzz'"):
        read_set(named(data, "small"))
    (small / "qrels.tsv").write_text("q1\t1\t1\nq1\t1\t0\n")
    with pytest.raises(PipeError, match=r"line 2: judges query 'q1' and document '1' as 0"):
        read_set(named(data, "small"))
    (small / "qrels.tsv").write_text("q1\t1\t0\n")
    with pytest.raises(PipeError, match="calls no document relevant"):
        read_set(named(data, "small"))
    lines(small / "queries.jsonl", [{"_id": "q1", "text": "?"}, {"_id": "q1", "text": "!"}])
    with pytest.raises(PipeError, match=r"queries\.jsonl has the id 'q1' 2 times"):
        read_set(named(data, "small"))
    lines(data / "classification" / "labels" / "test.jsonl", [{"text": "x", "label": "other"}])
    with pytest.raises(PipeError, match=r"no label of train\.jsonl \(found 'other'"):
        read_set(named(data, "labels"))


def test_parts_of_a_set_are_not_passed_over(data: Path) -> None:
    (data / "sts" / "pears.instruction.txt").write_text("Say how alike they are.")
    with pytest.raises(PipeError, match="is the instruction of no set; expected a set 'pears'"):
        find_sets(data)
    (data / "sts" / "pears.instruction.txt").rename(data / "sts" / "pairs.instruction.txt")
    assert len(find_sets(data)) == 3
    (data / "classification" / "labels" / "test.jsonl").unlink()
    with pytest.raises(PipeError, match=r"train\.jsonl and no test\.jsonl beside it"):
        find_sets(data)
