"""The comparison of teacher, start and student."""

import json

import pytest

from student.evaluation.comparison import Comparison, Scores
from student.evaluation.heldout import HeadAgreement
from student.evaluation.intervals import gain, retention
from student.evaluation.table import as_dict, render

TEACHER = Scores("teacher", {"STS12": 80.0, "STS13": 50.0}, dim=384, parameters=22_713_216)
START = Scores("start", {"STS12": 70.0, "STS13": 40.0}, dim=384, texts_per_s=900.0)
STUDENT = Scores(
    "student",
    {"STS12": 76.0, "STS13": 48.0},
    dim=640,
    parameters=17_000_000,
    texts_per_s=890.4,
    held_out=HeadAgreement("fc1", 640, 0.95, 0.9, 0.8),
)


def row(table: str, label: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(label + "  ")]
    return line[len(label) :].split()


def values(lines):
    return {name: estimate.value for name, estimate in lines.items()}


def test_retention_and_gain_by_set_and_on_average() -> None:
    assert values(retention(STUDENT, TEACHER, {})) == pytest.approx(
        {"STS12": 95.0, "STS13": 96.0, "mean": 100 * 62 / 65}
    )
    assert values(gain(STUDENT, START, {})) == pytest.approx(
        {"STS12": 6.0, "STS13": 8.0, "mean": 7.0}
    )


def test_means_cover_only_the_sets_that_both_have() -> None:
    partial = Scores("partial", {"STS13": 50.0, "other": 1.0})
    assert values(retention(STUDENT, partial, {})) == pytest.approx({"STS13": 96.0, "mean": 96.0})
    assert values(gain(STUDENT, partial, {})) == pytest.approx({"STS13": -2.0, "mean": -2.0})
    assert retention(STUDENT, Scores("none"), {}) == {}
    assert gain(STUDENT, Scores("none"), {}) == {}


def test_table_has_every_number_in_its_column() -> None:
    table = render(Comparison((TEACHER,), START, (STUDENT,)))
    assert table.splitlines()[0].split() == ["teacher", "start", "student", "kept", "gained"]
    assert row(table, "STS12") == ["80.00", "70.00", "76.00", "95.0%", "+6.00"]
    assert row(table, "mean") == ["65.00", "55.00", "62.00", "95.4%", "+7.00"]
    assert row(table, "kept of teacher") == ["100.0%", "84.6%", "95.4%"]
    assert row(table, "gained over the start") == ["+10.00", "+7.00"]
    assert row(table, "held-out cosine") == ["0.9500"]
    assert row(table, "parameters") == ["22,713,216", "17,000,000"]
    assert row(table, "texts/s") == ["900", "890"]
    ends = {len(line) for line in table.splitlines() if line.startswith(("STS", "mean"))}
    assert len(ends) == 1


def test_table_without_sets_start_or_teacher_leaves_their_parts_out() -> None:
    table = render(Comparison((), None, (Scores("student", dim=8),)))
    assert "kept" not in table
    assert "gained" not in table
    assert "mean" not in table
    assert row(table, "dimensions") == ["8"]


def test_dict_is_json_and_says_the_same() -> None:
    second = Scores("student fc2", {"STS12": 72.0}, dim=16)
    data = json.loads(json.dumps(as_dict(Comparison((TEACHER,), START, (STUDENT, second)))))
    assert data["teachers"][0]["mean"] == 65
    assert data["students"][0]["retention"]["teacher"]["STS12"] == 95
    assert data["students"][0]["held_out"]["cosine"] == 0.95
    assert data["students"][1]["gain"] == {"STS12": 2, "mean": 2}
    assert data["start"]["texts_per_s"] == 900


def test_types_have_means_of_their_own() -> None:
    kinds = {"STS12": "STS", "STS13": "STS", "med": "Retrieval"}
    teacher = Scores("teacher", {"STS12": 80.0, "STS13": 60.0, "med": 50.0})
    student = Scores("student", {"STS12": 70.0, "STS13": 60.0, "med": 40.0})
    paper = Scores("paper", published={"STS (2)": 71.0, "mean": 60.5})
    table = render(Comparison((teacher,), None, (student,), kinds, (paper,)))
    assert row(table, "STS (2)") == ["70.00", "65.00", "71.00", "92.9%"]
    assert row(table, "mean by type") == ["60.00", "52.50", "87.5%"]
    assert row(table, "mean") == ["63.33", "56.67", "60.50", "89.5%"]
    data = as_dict(Comparison((teacher,), None, (student,), kinds, (paper,)))
    assert data["students"][0]["lines"]["mean by type"] == 52.5
    assert data["students"][0]["retention_intervals"]["teacher"]["med"]["low"] is None
    assert data["references"][0]["lines"] == {"STS (2)": 71.0, "mean": 60.5}


def test_every_head_is_compared_with_every_teacher() -> None:
    second = Scores("student fc2", {"STS12": 72.0, "STS13": 30.0}, dim=16)
    other = Scores("other", {"STS12": 60.0, "STS13": 40.0})
    table = render(Comparison((TEACHER, other), START, (STUDENT, second)))
    assert row(table.split("\n\n")[1], "student") == ["640", "62.00", "95.4%", "124.0%", "+7.00"]
    assert row(table.split("\n\n")[1], "student fc2") == ["16", "51.00", "78.5%", "102.0%", "-4.00"]


def test_means_stand_only_where_they_are_over_the_same_sets() -> None:
    kinds = {"a": "STS", "b": "STS", "c": "Retrieval"}
    start = Scores("start", {"a": 80.0, "c": 50.0})
    student = Scores("student", {"a": 85.0, "b": 11.0, "c": 50.0})
    teacher = Scores("teacher", {"a": 90.0, "b": 10.0, "c": 50.0})
    comparison = Comparison((teacher,), start, (student,), kinds)
    table = render(comparison)
    assert row(table, "mean")[:2] == ["50.00", "48.67"]  # the start, which lacks a set, has none
    assert row(table, "mean by type")[:2] == ["50.00", "49.00"]
    assert row(table, "STS (2)")[:2] == ["50.00", "48.00"]
    assert "STS (1)" not in table
    data = as_dict(comparison)
    assert data["start"]["mean"] is None
    assert "mean" not in data["start"]["lines"]
    # What both have is still compared.
    assert data["students"][0]["gain"]["mean"] == 2.5


def test_published_means_over_more_tasks_have_lines_of_their_own() -> None:
    kinds = {"a": "STS", "b": "STS"}
    paper = Scores("paper", published={"mean": 60.5})
    part = Comparison((), None, (Scores("student", {"a": 70.0}),), kinds, (paper,))
    assert row(render(part), "mean") == ["70.00"]
    assert row(render(part), "mean (2)") == ["60.50"]
