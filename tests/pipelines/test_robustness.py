"""``pipe robustness`` on a finished run and on a model of its own."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import pipelines.mteb_models
from pipelines.cli import cli
from pipelines.contenders import Contender
from pipelines.report_page.evaluations import gather_evaluation
from pipelines.report_page.wordings import wording_tables
from pipelines.results import last_weights
from pipelines.robustness import Asked
from pipelines.run import Run
from pipelines.status import status
from teacher_cache.config import Prompts

_WORDS = ("read", "file", "write", "list", "of", "a", "path", "open")
_TEXTS = [" ".join(_WORDS[(i + j * j) % 8] for j in range(4)) + f" {i}" for i in range(12)]


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.fixture
def sets(tmp_path):
    """A tiny set of each kind."""
    root = tmp_path / "sets"

    def write(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    texts, pairs = _TEXTS, itertools.pairwise(_TEXTS)
    rows = [{"sentence1": a, "sentence2": b, "score": i % 5} for i, (a, b) in enumerate(pairs)]
    write(root / "sts" / "pairs.jsonl", rows)
    write(
        root / "retrieval/found/corpus.jsonl",
        [{"_id": str(i), "text": t} for i, t in enumerate(texts)],
    )
    write(
        root / "retrieval/found/queries.jsonl",
        [{"_id": str(i), "text": f"{t} is"} for i, t in enumerate(texts)],
    )
    lines = "".join(f"{i}\t{i}\t1\n" for i in range(12))
    (root / "retrieval/found/qrels.tsv").write_text(lines)
    for split in ("train", "test"):
        write(
            root / f"classification/parted/{split}.jsonl",
            [{"text": t, "label": i % 2} for i, t in enumerate(texts)],
        )
    return root


def robustness(*options):
    done = CliRunner().invoke(cli, ["robustness", *map(str, options)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


class Toy:
    """A text's vector; its prompt is a part of it, or is not."""

    def __init__(self, front=""):
        self.front = front
        self.seen = []

    def contender(self, *, heeds, question=""):
        def prompted(prompts):
            def embed(texts, roles):
                whole = prompts.in_front_of(texts, roles)
                self.seen += whole
                rows = [
                    np.random.default_rng(list(text.encode())).standard_normal(6)
                    for text in (whole if heeds else texts)
                ]
                return np.array([row / np.linalg.norm(row) for row in rows], np.float32)

            return embed

        own = Prompts(question=question)
        return Contender("second", 6, None, prompted(own), prompts=own, prompted=prompted)


@pytest.mark.parametrize("heeds", [True, False])
def test_a_model_that_ignores_its_prompt_and_one_that_does_not(run, sets, monkeypatch, heeds):
    toy = Toy()
    front = "Instruct: Help.\nQuery: "
    loaded = toy.contender(heeds=heeds, question=front)
    monkeypatch.setattr(pipelines.mteb_models, "load_teacher", lambda config: loaded)
    done = robustness("--run", run, "--sets", sets, "--model", "second", "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    (model,) = data["models"]
    assert (model["model"], model["instructed"]) == ("second", True)
    assert [row["task"] for row in model["tasks"]] == ["pairs", "found", "parted"]
    for row in model["tasks"]:
        changed = [row["difference"], row["low"], row["high"]]
        assert changed == [0, 0, 0] if not heeds else row["low"] < row["high"]
        assert heeds or row["none"] == row["instruction"] == row["paraphrase"]
    if heeds:
        assert any(row["difference"] for row in model["tasks"])
    # Without an instruction on each set but once as documents, which never have one.
    assert toy.seen.count(_TEXTS[0]) == 3
    assert not any(text.startswith(front) for text in toy.seen)


def test_a_finished_score_is_not_measured_again(run, sets, monkeypatch):
    options = ("--run", run, "--sets", sets)
    done = robustness(*options, "--model", "student", "--model", "start")
    assert done.exit_code == 0, done.output
    kept = json.loads((run / "eval" / "robustness.json").read_text())
    assert [model["model"] for model in kept["models"]] == ["start", "student fc1"]
    assert kept["stage"] == 3
    assert kept["paper"]["difference"] == 0.1
    assert not any(model["instructed"] for model in kept["models"])
    assert kept["table"] in done.stdout

    titles = [table.title for table in wording_tables(kept)]
    assert titles == [f"Instructions in other words: {name}" for name in ("start", "student fc1")]
    (found,) = [table for table in wording_tables(kept) if table.title.endswith("fc1")]
    assert [row[0] for row in found.rows] == [
        *("pairs", "found", "parted", "mean"),
        "Jasper, 53 tasks",
    ]
    assert "was not trained with instructions" in found.note
    opened = Run.open(run, None, ())
    facts = gather_evaluation(opened, last_weights(opened)).facts
    assert found in facts.tables

    def again(*_):
        raise AssertionError("a finished score was measured again")

    monkeypatch.setattr("student.evaluation.tasks.LocalTask.measure", again)
    second = robustness(*options, "--model", "student", "--model", "start", "--json")
    assert json.loads(second.stdout) == kept
    with (sets / "sts" / "pairs.jsonl").open("a") as file:
        file.write('{"sentence1": "a", "sentence2": "b", "score": 1}\n')
    with pytest.raises(AssertionError, match="measured again"):
        robustness(*options)


def test_a_measurement_of_an_older_student_is_said_to_be_one(run, sets):
    assert robustness("--run", run, "--sets", sets).exit_code == 0
    path, opened = run / "eval" / "robustness.json", Run.open(run, None, ())
    kept = json.loads(path.read_text())
    again = f"`pipe robustness --sets {sets} --run {run}`"

    def said():
        notes = gather_evaluation(opened, last_weights(opened)).notes
        (line,) = [one for one in status(opened) if one.what == "robustness"]
        return [note for note in notes if "other words" in note], line

    notes, line = said()
    assert (notes, line.open, line.note) == ([], False, "")
    for changed, of in (
        ({"revisions": {"student fc1": "0" * 40}}, "of other weights or prompts"),
        ({"revisions": {"student fc9": "0" * 40}}, "of other weights or prompts"),
        ({"stage": 2}, "of stage 2"),
    ):
        path.write_text(json.dumps(kept | changed))
        notes, line = said()
        assert of in notes[0]
        assert again in notes[0]
        assert (line.open, line.note, f"`{line.command}`") == (True, of, again)
    final = opened.students.final(3)
    path.write_text(json.dumps(kept | {"stage": 2}))
    final.rename(run / "later")  # nobody can measure a stage that is not finished
    notes, line = said()
    assert (line.open, line.note) == (True, "of other weights or prompts")
    assert robustness("--run", run, "--sets", sets).exit_code == 0
    notes, line = said()
    assert (notes, line.open, line.note) == ([], False, "")
    (run / "later").rename(final)
    assert said()[1].note == "of stage 2"
    path.write_text("[]")
    _, line = said()
    assert (line.open, line.note) == (True, "a broken file")
    path.unlink()
    assert "robustness" not in [one.what for one in status(opened)]


def test_tasks_of_mteb_and_a_file_of_own(run, tasks, tmp_path):
    own = tmp_path / "own.toml"
    entry = '[[instructions]]\ninstruction = "Say it."\nparaphrases = ["Tell it.", "Speak."]\n'
    own.write_text(entry + 'tasks = ["TinyA"]\n')
    options = ("--run", run, "--mteb", "Tiny(eng)", "--paraphrases", own)
    done = robustness(*options, "--json")
    assert done.exit_code == 0, done.output
    (model,) = json.loads(done.stdout)["models"]
    first, second = model["tasks"]
    assert first["texts"]["instruction"] == "Say it."
    assert len(first["texts"]["paraphrases"]) == 2
    assert second["texts"]["instruction"] == "Retrieve semantically similar text."
    kept = {path.name for path in (run / "eval/robustness/results").rglob("Tiny*.json")}
    assert kept == {"TinyA.json", "TinyB.json"}
    own.write_text(entry + 'tasks = ["TinyC"]\n')
    refused = robustness(*options)
    assert refused.exit_code == 2
    assert "found the task 'TinyC'" in refused.stderr
    assert "Tiny" in refused.stderr.partition("nearest is")[2]
    lost = robustness("--run", run, "--mteb", "TinyAbsent")
    assert lost.exit_code == 1
    assert "TinyAbsent is not measured" in lost.stdout


def test_any_directory_without_a_run(finished, sets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = finished[0] / "export"
    done = robustness("--model-path", model, "--sets", sets, "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert [one["model"] for one in data["models"]] == [str(model)]
    assert not (tmp_path / "run").exists()
    # It is the run's student under its default head.
    own = robustness("--run", finished[0], "--sets", sets, "--json")
    for ours, theirs in zip(
        json.loads(own.stdout)["models"][0]["tasks"], data["models"][0]["tasks"], strict=True
    ):
        assert theirs["instruction"] == pytest.approx(ours["instruction"], abs=1e-3)


def test_what_asks_for_the_same_does_so_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    asked = Asked(paths=("model", "owner/on-the-hub", "package:name/inside"), sets=Path("sets"))
    assert asked.options() == [
        *("--sets", str(tmp_path / "sets")),
        *("--model-path", str(tmp_path / "model")),
        *("--model-path", "owner/on-the-hub"),
        *("--model-path", "package:name/inside"),
    ]


def test_what_cannot_be_measured_is_told(run, sets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run2").mkdir()
    for options, code, sentence in (
        (("--run", "run2", "--sets", sets), 2, "found no run for student"),
        (("--run", run), 2, "found neither --sets nor --mteb"),
        (("--run", run, "--sets", sets, "--model", "nobody"), 2, "found no model 'nobody'"),
        (("--model-path", "./nowhere", "--sets", sets), 1, "found no directory ./nowhere"),
        (("--run", run, "--sets", sets, "--stage", 9), 1, "stage 9 is not in the recipe"),
    ):
        done = robustness(*options)
        assert done.exit_code == code, done.output
        assert sentence in done.stderr
