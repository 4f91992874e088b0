"""Benchmarks of mteb on a run: cached, resumed, compared; small tasks on disk stand in for real."""

import json
import shutil
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard

from data_prep.errors import UsageError
from data_prep.files import exclusive
from pipelines.cli import cli
from pipelines.evaluate_mteb import _measure
from pipelines.model_names import head_name
from pipelines.results_revision import saved_revision
from student.evaluation.benchmarks import Benchmark, find_benchmark
from student.evaluation.mteb_library import reach_hub
from student.evaluation.published import PAPER_BENCHMARK, paper_scores
from student.evaluation.result_store import result_files
from student.evaluation.tasks import Measured


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(finished[0], tmp_path / "run")


def evaluate(run, *options):
    done = CliRunner().invoke(cli, ["eval", "--run", str(run), *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_benchmark_is_run_once_and_compared(run, tasks, monkeypatch):
    options = ("--mteb", "Tiny(eng)", "--model", "student", "--model", "start", "--heads", "all")
    done = evaluate(run, *options)
    assert done.exit_code == 0, done.output
    kept = json.loads((run / "eval" / "mteb" / "Tiny-eng.json").read_text())
    assert (kept["benchmark"], kept["measured"]) == ("Tiny(eng)", 2)
    assert [one["model"] for one in kept["students"]] == ["student fc1", "student fc2"]
    assert kept["start"]["mean"] == pytest.approx(sum(kept["start"]["tasks"].values()) / 2)
    assert kept["teachers"] == []
    gained = kept["students"][0]["gain_intervals"]["mean"]
    assert gained["over"] == "items"
    assert gained["low"] < gained["high"]
    files = {path.name for path in (run / "eval/mteb/results").rglob("*.json")}
    assert files == {"TinyA.json", "TinyB.json", "model_meta.json"}
    # Where the model card looks for them.
    revision = saved_revision(run / "student" / "stage-3" / "final")
    assert kept["revisions"]["student fc2"] == revision
    mine = result_files(run / "eval" / "mteb", head_name("fc2"), revision)
    assert [path.name for path in mine] == ["TinyA.json", "TinyB.json"]

    def again(*_, **__):
        raise AssertionError("a finished task ran again")

    monkeypatch.setattr("mteb.evaluate", again)
    second = evaluate(run, *options, "--json")
    assert second.exit_code == 0, second.output
    (data,) = json.loads(second.stdout)["benchmarks"]
    assert data == kept


def test_a_killed_run_goes_on_with_the_task_that_was_not_whole(run, tasks, monkeypatch):
    assert evaluate(run, "--mteb", "Tiny(eng)").exit_code == 0
    before = json.loads((run / "eval" / "mteb" / "Tiny-eng.json").read_text())
    (torn,) = (run / "eval/mteb/results").rglob("TinyB.json")
    torn.write_text(torn.read_text()[:40])
    seen = []
    import mteb

    real = mteb.evaluate
    monkeypatch.setattr(
        "mteb.evaluate", lambda model, one, **rest: seen.append(one) or real(model, one, **rest)
    )
    assert evaluate(run, "--mteb", "Tiny(eng)").exit_code == 0
    assert [one.metadata.name for one in seen] == ["TinyB"]
    assert json.loads((run / "eval" / "mteb" / "Tiny-eng.json").read_text()) == before


def test_changed_weights_are_measured_anew(run, tasks):
    assert evaluate(run, "--mteb", "TinyA").exit_code == 0
    shutil.rmtree(run / "student" / "stage-3" / "final")
    shutil.copytree(run / "student" / "stage-2" / "final", run / "student" / "stage-3" / "final")
    assert evaluate(run, "--mteb", "TinyA").exit_code == 0
    (student,) = (run / "eval/mteb/results").iterdir()
    assert len(list(student.iterdir())) == 2


def test_a_task_without_data_fails_alone(run, tasks):
    done = evaluate(run, "--mteb", "TinyAbsent", "--mteb", "TinyA")
    assert done.exit_code == 1
    assert "neither in the cache of Hugging Face nor can it be fetched" in done.stderr
    assert "TinyA: 1 of 1 tasks" in done.stdout
    kept = json.loads((run / "eval" / "mteb" / "TinyAbsent.json").read_text())
    assert "TinyAbsent is not measured" in kept["failed"]["student fc1"]["TinyAbsent"]


def test_a_stage_that_is_asked_for_has_a_table_of_its_own(run, tasks):
    done = evaluate(run, "--mteb", "TinyA", "--stage", "2", "--json")
    assert done.exit_code == 0, done.output
    apart = run / "eval" / "mteb" / "stage-2" / "TinyA.json"
    assert json.loads(apart.read_text())["stage"] == 2
    assert not (run / "eval" / "mteb" / "TinyA.json").exists()


def test_teachers_and_the_start_need_no_stage(inputs, tasks, tmp_path):
    options = ("--recipe", str(inputs), "--mteb", "TinyA")
    done = evaluate(tmp_path / "new", *options, "--model", "dummy", "--model", "start")
    assert done.exit_code == 0, done.output
    kept = json.loads((tmp_path / "new" / "eval" / "mteb" / "TinyA.json").read_text())
    assert [one["model"] for one in kept["teachers"]] == ["dummy"]
    assert kept["start"]["tasks"].keys() == {"TinyA"}
    done = evaluate(tmp_path / "new", *options)
    assert done.exit_code == 1
    assert "stage 1 is not finished" in done.stderr
    done = evaluate(tmp_path / "new", *options, "--model", "nobody")
    assert done.exit_code == 2
    assert "expected one of student, start, dummy, second" in done.stderr


def test_results_from_before_stand_beside_new_ones(run, tasks):
    assert evaluate(run, "--mteb", "TinyA", "--model", "second").exit_code == 0
    assert evaluate(run, "--mteb", "TinyA").exit_code == 0
    kept = json.loads((run / "eval" / "mteb" / "TinyA.json").read_text())
    assert [one["model"] for one in kept["teachers"]] == ["second"]
    assert "TinyA" in kept["students"][0]["retention"]["second"]


def test_published_results_stand_beside_ours(run, tasks, tmp_path):
    assert evaluate(run, "--mteb", "TinyA").exit_code == 0
    (ours,) = (run / "eval/mteb/results").rglob("TinyA.json")
    theirs = tmp_path / "published" / "results" / "someone__model" / "abc"
    theirs.mkdir(parents=True)
    shutil.copy(ours, theirs)
    options = ("--published", str(tmp_path / "published"), "--published-model", "someone/model")
    done = evaluate(run, "--mteb", "TinyA", *options)
    assert done.exit_code == 0, done.output
    kept = json.loads((run / "eval" / "mteb" / "TinyA.json").read_text())
    (reference,) = kept["references"]
    assert reference["model"] == "someone/model (published)"
    assert reference["tasks"] == pytest.approx(kept["students"][0]["tasks"])
    (tmp_path / "empty").mkdir()
    done = evaluate(run, "--mteb", "TinyA", "--published", str(tmp_path / "empty"))
    assert done.exit_code == 1
    assert "results/MODEL/REVISION/TASK.json" in done.stderr


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    asked = []

    class Session:
        def head(self, address, timeout):
            asked.append(address)
            raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.get_session", Session)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    assert not reach_hub()
    assert not reach_hub()
    assert len(asked) == 1


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(UsageError, match=r"'MTEB\(eng, v1\)'"):
        find_benchmark("mteb(eng,v1)")
    with pytest.raises(UsageError, match="'STS12'"):
        find_benchmark("sts 12")
    with pytest.raises(UsageError, match="nothing alike"):
        find_benchmark("@@@@@@@@@")


def test_the_papers_table_is_of_the_benchmarks_tasks():
    benchmark = find_benchmark(PAPER_BENCHMARK)
    assert len(benchmark.tasks) == 56
    counts = {"Classification": 12, "Clustering": 11, "PairClassification": 3, "Reranking": 4}
    counts |= {"Retrieval": 15, "STS": 10, "Summarization": 1}
    for scores in paper_scores(benchmark.kinds):
        # The printed mean over 56 sets is that of the printed means of the types.
        mean = sum(n * scores.published[f"{kind} ({n})"] for kind, n in counts.items()) / 56
        assert mean == pytest.approx(scores.published["mean"], abs=0.02)


def test_options_of_benchmarks_need_one(run):
    for options in (("--model", "start"), ("--heads", "all"), ("--published", ".")):
        done = evaluate(run, *options)
        assert done.exit_code == 2
        assert "--mteb" in done.stderr


def test_benchmarks_that_take_other_parts_of_a_task_do_not_share_it():
    def narrowed(name, subsets):
        about = SimpleNamespace(name="T", type="STS", prompt=None)
        return Benchmark(
            name, (SimpleNamespace(metadata=about, eval_splits=["test"], hf_subsets=subsets),)
        )

    store = SimpleNamespace(found=lambda task, model: Measured(len(task.hf_subsets), None))
    model = SimpleNamespace(parts=("m",), asked=True, known=lambda part: None, forget=lambda: None)
    measured, failed = {}, {}
    for benchmark in (narrowed("one", ["en"]), narrowed("both", ["en", "de"])):
        _measure(store, model, benchmark, measured, failed)
    assert sorted(found.score for found in measured["m"].values()) == [1, 2]


def test_a_second_process_is_told_of_the_first(run, tasks):
    with exclusive(run / "eval" / "mteb", "runs benchmarks in"):
        done = evaluate(run, "--mteb", "TinyA")
    assert done.exit_code == 1
    assert "another process runs benchmarks in" in done.stderr


@pytest.mark.parametrize("model", ["student", "start"])
def test_a_stage_that_is_not_in_the_recipe_is_refused(run, tasks, model):
    done = evaluate(run, "--mteb", "TinyA", "--model", model, "--stage", "9")
    assert done.exit_code == 1
    assert "stage 9 is not in the recipe; it has stages 1 to 3" in done.stderr


def test_a_teacher_that_has_no_part_is_not_looked_at(run, tasks, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "pipelines.mteb_models._weights", lambda config: seen.append(config.name) or []
    )
    assert evaluate(run, "--mteb", "TinyA").exit_code == 0
    assert seen == []
    assert evaluate(run, "--mteb", "TinyA", "--model", "second").exit_code == 0
    assert evaluate(run, "--mteb", "TinyA").exit_code == 0
    assert seen == ["second", "second"]


def test_the_card_has_what_was_measured(run, tasks):
    assert evaluate(run, "--mteb", "Tiny(eng)").exit_code == 0
    kept = json.loads((run / "eval" / "mteb" / "Tiny-eng.json").read_text())
    assert CliRunner().invoke(cli, ["export", "--run", str(run)]).exit_code == 0
    found = ModelCard.load(run / "export" / "README.md").data.eval_results
    scores = {one.dataset_name.split()[0]: 100 * one.metric_value for one in found}
    assert scores == pytest.approx(kept["students"][0]["tasks"])
    assert {one.task_type for one in found} == {"sentence-similarity"}
