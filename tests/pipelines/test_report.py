"""The report of a run: whole, harmless, and there in whatever state the run is."""

import json
import math
import os
import shutil

import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from pipelines.environment import Environment
from pipelines.recipe import load_recipe
from pipelines.report_page import write_report
from pipelines.report_page.gather import gather
from pipelines.results_revision import saved_revision
from pipelines.run import Run
from student.evaluation.intervals import Estimate
from student.export_record import weights_digest
from tests.pipelines.html_page import Page

TOLD = "<script>alert(1)</script>$x$&\"'"
EVIL = f"{TOLD}\x01\x1b\ufffe\ud83d"
"""With what neither XML nor UTF-8 can hold."""


@pytest.fixture
def run(finished, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(finished[0], directory)
    return Run.open(directory, None, ())


def report(run):
    written = write_report(run)
    return Page(written.path.read_text(encoding="utf-8")), written.notes


def metrics_of(run, number):
    path = run.students.metrics(number)
    return path, [json.loads(line) for line in path.read_text().splitlines()]


def test_a_finished_run_leaves_a_whole_report(finished):
    directory, output = finished
    assert f"the report is in {directory / 'report.html'}" in output
    text = (directory / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.faults
    assert not page.loads
    assert "http://" not in text
    assert "https://" not in text
    assert len(page.ids) == len(set(page.ids))
    assert "What is missing" not in page.text
    for words in (
        "documents", "questions", "dummy", "second", "MIT", "stage 3 (reduce)", "fc2",
        "relative similarity", "Dimension against retention", "Quality against speed",
        "held-out Spearman", "Time by phase", "sentence-transformers", "[[stages]]",
    ):  # fmt: skip
        assert words in page.text, words
    assert len(text) < 2_000_000


def test_held_out_agreement_stands_with_its_intervals(finished):
    page = Page((finished[0] / "report.html").read_text(encoding="utf-8"))
    results = json.loads((finished[0] / "eval" / "results.json").read_text())
    student = results["students"][0]
    agreement = Estimate(**student["held_out"]["intervals"]["spearman"]).text(".4f")
    assert "[" in agreement
    kept = Estimate(**student["held_out_retention"]["dummy"]["spearman"]).text(".1f")
    gained = Estimate(**student["held_out_gain"]["spearman"]).text("+.4f")
    for told in (agreement, kept, gained):
        assert told in page.text
    for told in (agreement, kept.replace(" [", "% ["), gained):
        assert told in results["table"]


def test_every_plot_says_in_words_what_it_shows(finished):
    page = Page((finished[0] / "report.html").read_text(encoding="utf-8"))
    plots = [attributes for tag, attributes in page.tags if attributes.get("class") == "plot"]
    assert len(plots) > 10
    assert all(plot["role"] == "img" and len(plot["aria-label"]) > 20 for plot in plots)


def test_references_in_a_plot_lead_into_the_same_plot(finished):
    page = Page((finished[0] / "report.html").read_text(encoding="utf-8"))
    referred = [
        value.removeprefix("#")
        for tag, attributes in page.tags
        if tag == "use"
        for name, value in attributes.items()
        if name == "href"
    ]
    assert referred
    assert set(referred) <= set(page.ids)


def test_equal_runs_give_equal_reports(run):
    first = write_report(run).path.read_bytes()
    assert write_report(run).path.read_bytes() == first
    assert write_report(run, run.directory / "other.html").path.read_bytes() == first


def test_a_report_of_a_stage_half_done_does_not_change_with_the_hour(run):
    for path in (run.students.final(3), run.students.checkpoint(3, 20)):
        shutil.rmtree(path)
    first = write_report(run).path.read_bytes()
    os.utime(run.students.metrics(3), (0, 0))
    assert write_report(run).path.read_bytes() == first
    assert b"Stage 3 (reduce) has come to step 20 of 20" in first


def test_the_command_says_where_it_is_and_what_is_missing(run):
    run.results.unlink()
    to = run.directory / "here.html"
    done = CliRunner().invoke(
        cli, ["report", "--run", str(run.directory), "--to", str(to), "--json"]
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["report"] == str(to)
    assert said["bytes"] == to.stat().st_size
    assert any(f"`pipe eval --run {run.directory}`" in note for note in said["notes"])


def test_a_directory_that_does_not_exist_is_refused(run):
    to = run.directory / "no" / "report.html"
    done = CliRunner().invoke(cli, ["report", "--run", str(run.directory), "--to", str(to)])
    assert done.exit_code == 2
    assert "is no directory" in done.output


def test_a_file_that_cannot_be_written_is_called_what_the_user_calls_it(run):
    to = run.directory / ("r" * 250)
    done = CliRunner().invoke(cli, ["report", "--run", str(run.directory), "--to", str(to)])
    assert done.exit_code == 1
    assert f"error: {to} cannot be used" in done.output


def test_no_name_or_text_of_a_run_becomes_markup(run):
    manifest = run.corpus / "manifest.json"
    data = json.loads(manifest.read_text())
    data["sources"][0] |= {"name": EVIL, "license": EVIL}
    manifest.write_text(json.dumps(data))
    benchmark(run, EVIL)
    results = json.loads(run.results.read_text())
    results["teachers"][0]["model"] = EVIL
    results["students"][1]["model"] = EVIL
    run.results.write_text(json.dumps(results))
    changed = run.recipe.model_copy(update={"name": EVIL})
    page, notes = report(Run(run.directory, changed))
    assert not any("cannot be read" in note for note in notes)
    assert not page.faults
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count("alert(1)") > 4
    title = page.text.index("report of a distillation")
    assert TOLD in page.text[: title + 200]
    assert not set(page.text) & set(EVIL.removeprefix(TOLD))


def test_held_out_agreement_over_steps_is_drawn(run):
    path, lines = metrics_of(run, 3)
    measured = [
        {
            "step": step,
            "eval/fc1/spearman": 0.5,
            "eval/fc2/spearman": 0.4,
            "eval/sts/STSB/fc2": 70.0,
        }
        for step in (10, 20)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *measured]))
    page, _ = report(run)
    labels = [attributes.get("aria-label", "") for _, attributes in page.tags]
    assert any("held-out spearman" in label and "fc2: 0.4 at step 10" in label for label in labels)
    assert any("sts/STSB. fc2: 70 at step 10" in label for label in labels)


def test_a_damaged_line_of_metrics_is_a_sentence(run):
    path, lines = metrics_of(run, 2)
    lines[0]["loss"] = math.nan
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text + '{"step": 20, "lo\n[1]\n"x"\n')
    page, notes = report(run)
    assert any(str(path) in note and "3 of" in note for note in notes)
    assert "Losses of stage 2" in page.text
    assert not page.faults


DAMAGE = {
    "corpus/manifest.json": "corpus",
    "store/manifest.json": "store",
    "store/commits/dummy/00001.json": "dummy",
    "student/stage-2/stage.json": "stage.json",
    "student/stage-3/selected.json": "selected.json",
    "eval/results.json": "evaluation",
    "sessions/broken.json": "sessions",
}


@pytest.mark.parametrize("content", ['{"step": 1}', "\udce9"])
@pytest.mark.parametrize("path", DAMAGE)
def test_a_damaged_file_is_a_sentence(run, path, content):
    (run.directory / path).write_text(content, encoding="utf-8", errors="surrogateescape")
    notes = gather(run).notes
    assert any(DAMAGE[path] in note for note in notes), notes


def test_a_run_in_which_everything_is_damaged_has_a_report(run):
    for path in DAMAGE:
        (run.directory / path).write_text("{")
    page, notes = report(run)
    assert len(notes) >= len(DAMAGE) - 1  # a stage that is finished needs no selection
    told = page.text.replace(" ", "")
    assert all(note.replace("`", "").replace(" ", "") in told for note in notes)
    assert not page.faults


def test_results_of_another_shape_are_a_sentence(run):
    results = json.loads(run.results.read_text())
    results["students"] = "none"
    results["images"] = {"heads": []}
    run.results.write_text(json.dumps(results))
    page, notes = report(run)
    assert sum("cannot be read" in note for note in notes) == 2
    assert not page.faults


@pytest.mark.parametrize(
    ("gone", "command"),
    [
        (("corpus", "store", "student", "eval", "sessions"), "prep"),
        (("store", "student", "eval"), "teach"),
        (("student", "eval"), "distill"),
        (("student/stage-3", "eval"), "distill"),
        (("eval",), "eval"),
    ],
)
def test_a_run_half_done_says_which_command_goes_on(run, gone, command):
    for part in gone:
        shutil.rmtree(run.directory / part)
    notes = gather(run).notes
    assert any(f"`pipe {command} --run {run.directory}" in note for note in notes), notes


def test_a_run_that_has_only_a_recipe(inputs, tmp_path):
    run = Run(tmp_path, load_recipe(str(inputs)))
    page, notes = report(run)
    assert len(notes) >= 6
    assert not page.faults
    assert "[[stages]]" in page.text
    assert {attributes["class"] for tag, attributes in page.tags if tag == "svg"} == set()


def test_an_evaluation_of_other_weights_is_said_to_be_old(run):
    results = json.loads(run.results.read_text())
    results["of"]["weights"] = "0" * 64
    run.results.write_text(json.dumps(results))
    _, notes = report(run)
    assert any("of other weights" in note for note in notes)


def test_figures_that_are_none_stop_nothing(run):
    results = json.loads(run.results.read_text())
    for student in results["students"]:
        student["held_out"] |= {"spearman": math.nan, "kendall": math.inf}
        student["texts_per_s"] = math.inf
    run.results.write_text(json.dumps(results))
    page, _ = report(run)
    assert not page.faults
    assert "held-out Spearman" in page.text
    results["students"][0]["dim"] = 10**400
    run.results.write_text(json.dumps(results))
    assert any("cannot be read" in note for note in gather(run).notes)


def test_what_was_measured_on_images_is_shown(run):
    from PIL import Image

    head = {"pairs": 20, "images": {"1": 0.5, "5": 0.75, "10": 1.0}}
    head |= {"captions": {"1": 0.25, "5": 0.5, "10": 1.0}}
    zero_shot = {"images": 20, "classes": 4, "accuracy": 0.4, "largest": 0.3}
    results = json.loads(run.results.read_text())
    results["images"] = {
        "heads": [{"head": "fc1", "dim": 32, "recall": head, "zero_shot": zero_shot}],
        "pairs": 20,
        "chance": {"1": 0.05},
        "picture": "/etc/passwd",
    }
    run.results.write_text(json.dumps(results))
    Image.effect_noise((1200, 1200), 60).save(run.results.parent / "found-images.png")
    page, _ = report(run)
    (picture,) = (attributes["src"] for tag, attributes in page.tags if tag == "img")
    assert picture.startswith("data:image/jpeg;base64,")
    assert len(picture) < 1_300_000
    assert "images @1" in page.text
    assert "75.0" in page.text


def benchmark(run, name="MTEB(eng, v2)"):
    lines = {"STS12": 70.0, "SciFact": 40.0, "STS (1)": 70.0, "mean": 55.0}
    model = {"tasks": {"STS12": 70.0, "SciFact": 40.0}, "lines": lines, "mean": 55.0}
    within = {"value": 97.5, "low": 96.25, "high": 98.75, "over": "items"}
    student = {
        "model": "student fc1",
        "dim": 32,
        "parameters": 1000,
        "retention": {"dummy": {"mean": 97.5}},
        "retention_intervals": {"dummy": {"mean": within}},
        "gain": {"mean": 5.0},
        "gain_intervals": {"mean": {"value": 5.0, "low": None, "high": None, "over": None}},
    }
    data = {
        "benchmark": name, "tasks": 3, "measured": 2, "stage": 3, "mteb": "2.1", "table": "",
        "failed": {"dummy": {"X": "why"}}, "teachers": [model | {"model": "dummy", "dim": 24}],
        "start": model | {"model": "start"}, "students": [model | student],
        "references": [model | {"model": "paper's"}], "kinds": {"STS12": "STS"},
    }  # fmt: skip
    path = run.results.parent / "mteb" / "one.json"
    path.parent.mkdir()
    path.write_text(json.dumps(data))
    return path


def test_a_benchmark_has_its_tables_with_intervals_and_its_plots(run):
    benchmark(run)
    page, notes = report(run)
    assert not notes
    assert not page.faults
    for words in (
        "MTEB(eng, v2)", "97.5 [96.2, 98.8]", "+5.00", "paper's", "2 of 3 tasks", "STS (1)",
        "1 measurements failed", "On MTEB(eng, v2), student fc1 keeps 97.5% of dummy.",
    ):  # fmt: skip
        assert words in page.text, words
    assert "Dimension against retention: MTEB(eng, v2)" in page.text
    assert len(page.ids) == len(set(page.ids))


def test_a_damaged_benchmark_costs_nothing_else(run):
    benchmark(run)
    damaged = run.benchmarks / "two.json"
    half = '{"benchmark": "MTEB(Multilingual, v2)", "tasks": 1, "meas'
    for content in (half, half[:-6] + '"measured": "?"}'):
        damaged.write_text(content)
        page, notes = report(run)
        (note,) = notes
        assert str(damaged) in note
        assert f"`pipe eval --mteb 'MTEB(Multilingual, v2)' --run {run.directory}`" in note
        assert "held-out Spearman" in page.text
        assert "97.5 [96.2, 98.8]" in page.text


def test_a_benchmark_of_other_weights_is_said_to_be_old(run):
    path = benchmark(run)
    data = json.loads(path.read_text())
    for revision, old in ((saved_revision(run.students.final(3)), False), ("0" * 40, True)):
        path.write_text(json.dumps(data | {"revisions": {"student fc1": revision}}))
        page, notes = report(run)
        assert ("of other weights" in page.text) == old
        assert any("`pipe eval --mteb 'MTEB(eng, v2)' --run" in note for note in notes) == old


def test_a_benchmark_of_a_stage_before_the_last_is_said_to_be_old(run):
    path = benchmark(run)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stage": 2}))
    again = f"`pipe eval --mteb 'MTEB(eng, v2)' --run {run.directory}` measures anew"

    page, notes = report(run)
    assert "The student is that of stage 2." in page.text
    assert any(again in note for note in notes)

    run.students.final(3).rename(run.directory / "later")  # measuring anew would be of stage 2 too
    page, notes = report(run)
    assert "The student is that of stage 2, the last one that is finished." in page.text
    assert not any(again in note for note in notes)


def test_the_students_weights_are_read_once(run, monkeypatch):
    benchmark(run)
    path = run.results.parent / "mteb" / "one.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"revisions": {"student fc1": "0"}}))
    read = []

    def counted(directory):
        read.append(directory)
        return weights_digest(directory)

    for module in ("pipelines.results", "pipelines.results_revision", "pipelines.kept_robustness"):
        monkeypatch.setattr(f"{module}.weights_digest", counted)
    gather(run)
    assert read == [run.students.final(3)]


@pytest.mark.parametrize("ends", [{"low": 1.0, "high": None}, {"low": None, "high": 1.0}])
def test_an_interval_of_one_end_is_damage(run, ends):
    path = benchmark(run)
    data = json.loads(path.read_text())
    data["students"][0]["gain_intervals"]["mean"] |= ends
    path.write_text(json.dumps(data))
    assert any(str(path) in note for note in gather(run).notes)


def test_a_picture_that_is_none_is_left_out(run):
    results = json.loads(run.results.read_text())
    results["images"] = {"heads": []}
    run.results.write_text(json.dumps(results))
    (run.results.parent / "found-images.png").write_text("<svg onload='alert(1)'/>")
    page, _ = report(run)
    assert "img" not in {tag for tag, _ in page.tags}


def test_the_machines_that_worked_are_told_apart(run):
    elsewhere = Environment.here().model_copy(update={"host": "far-away", "gpus": ("H200",)})
    path = sorted((run.directory / "sessions").glob("*stage-2*"))[0]
    data = json.loads(path.read_text())
    data["environment"] = elsewhere.model_dump(mode="json")
    path.write_text(json.dumps(data))
    page, _ = report(run)
    assert "far-away" in page.text
    assert "H200" in page.text
