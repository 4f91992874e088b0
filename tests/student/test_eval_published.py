"""Results of others in mteb's layout."""

import json
from pathlib import Path

import pytest

from student.evaluation.benchmarks import find_benchmark
from student.evaluation.published import published_scores

TASKS = ("STS12", "STS13")


def write(directory: Path, revision: str, scores: dict[str, float]) -> None:
    place = directory / "results" / "someone__model" / revision
    place.mkdir(parents=True)
    for name, main in scores.items():
        score = {"main_score": main, "hf_subset": "default", "languages": ["eng-Latn"]}
        result = {
            "dataset_revision": "0" * 40,
            "task_name": name,
            "mteb_version": "2.26.0",
            "scores": {"test": [score]},
            "evaluation_time": 1.0,
            "kg_co2_emissions": None,
        }
        (place / f"{name}.json").write_text(json.dumps(result))


@pytest.mark.parametrize(
    ("pinned", "expected"),
    [(None, {"STS12": 50.0, "STS13": 60.0}), ("aaa", {"STS12": 70.0}), ("gone", None)],
)
def test_a_models_scores_are_of_one_revision(tmp_path, pinned, expected) -> None:
    write(tmp_path, "aaa", {"STS12": 0.7})
    write(tmp_path, "bbb", {"STS12": 0.5, "STS13": 0.6})
    write(tmp_path, "ccc", {"STS12": 0.1, "STS13": 0.2})
    tasks = [task for name in TASKS for task in find_benchmark(name).tasks]
    wanted = {"someone/model": pinned} if pinned else {}
    (found,) = published_scores(tmp_path, ["someone/model"], tasks, wanted)
    assert found.tasks == pytest.approx(expected or {"STS12": 50.0, "STS13": 60.0})


def test_a_task_that_was_not_measured_whole_is_left_out(tmp_path) -> None:
    write(tmp_path, "aaa", {"STS12": 0.7, "STS13": float("nan")})
    tasks = [task for name in TASKS for task in find_benchmark(name).tasks]
    (found,) = published_scores(tmp_path, ["someone/model"], tasks)
    assert set(found.tasks) == {"STS12"}
