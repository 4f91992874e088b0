"""A stage's metrics, whatever a kill has left."""

import json

import pytest

from student.metrics import MetricLines, last_metrics, read_metrics

LINES = [{"step": 10, "loss": 3.0}, {"step": 20, "loss": 2.0}, {"step": 20, "eval/fc1/cosine": 0.5}]


@pytest.mark.parametrize("end", ["", '{"step": 30, "lo', "[1]\n", "\n"])
def test_it_is_the_last_whole_line_of_a_step(tmp_path, end):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in LINES) + end)
    assert last_metrics(path) == LINES[1]


def test_the_end_of_a_long_file_is_enough(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with path.open("w") as file:
        for step in range(1, 20_001):
            file.write(json.dumps({"step": step, "loss": 1.0}) + "\n")
    assert last_metrics(path) == {"step": 20_000, "loss": 1.0}


def test_there_may_be_none(tmp_path):
    assert last_metrics(tmp_path / "metrics.jsonl") is None
    (tmp_path / "metrics.jsonl").write_text("")
    assert last_metrics(tmp_path / "metrics.jsonl") is None


@pytest.mark.parametrize(
    ("end", "damaged"),
    [
        ("", 0),
        ('{"step": 30, "lo', 1),
        ("[1]\n", 1),
        ('{"loss": 1}\n{"step": "x"}\n', 2),
        ("\n", 0),
    ],
)
def test_every_whole_line_is_read(tmp_path, end, damaged):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in LINES) + end)
    assert read_metrics(path) == MetricLines(tuple(LINES), damaged)


def test_what_is_no_finite_number_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "loss": NaN, "a": Infinity, "b": "x", "c": true, "d": 2}\n'
        f'{{"step": 2, "e": 1{"0" * 400}}}\n{{"step": 1{"0" * 400}}}\n'
    )
    assert read_metrics(path) == MetricLines(({"step": 1, "d": 2}, {"step": 2}), 1)
    assert read_metrics(tmp_path / "none.jsonl") == MetricLines()
