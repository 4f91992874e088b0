"""What a report is put together from, without a run."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import matplotlib as mpl
import pytest

from data_prep.errors import PipeError, UsageError
from data_prep.files import write_json
from pipelines.environment import Environment
from pipelines.report import duration
from pipelines.report_page.charts import Bars, Chart, Line, Look, bar_svg, line_svg, spread
from pipelines.report_page.curves import (
    ALL_HEADS,
    Curve,
    evaluation_curves,
    loss_curves,
    thinned,
)
from pipelines.report_page.facts import Compared, StageFacts
from pipelines.report_page.measured import Measured
from pipelines.report_page.plots import cost_plots
from pipelines.report_page.spent import phase_times, step_times
from pipelines.report_page.svg import GRID, INK, SERIES
from pipelines.report_page.tables import environment_tables, time_table
from pipelines.sessions import Session, elapsed, read_sessions, session
from student.metrics import MetricLines
from student.stage_config import StageConfig
from tests.pipelines.html_page import Page

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
HERE = Environment.here()


def worked(phase, after, seconds, whole=True, ended=True):
    return Session(
        phase=phase,
        began=BEGAN + timedelta(seconds=after),
        seconds=seconds,
        whole=whole,
        ended=ended,
        environment=HERE,
    )


def chart(key, **changes):
    lines = (
        Line("one", (1.0, 2.0), (3.0, 4.0), Look.of(0)),
        Line("two", (1.0, 2.0), (5.0, 1.0), Look.of(1), ("he\x01re", "$\\frac{$ <b>& 東京\x1b")),
    )
    return Chart(key, "title", "x", "y", lines, **changes)


def test_lines_of_metrics_become_curves_by_term_and_head():
    lines = [
        {"step": 2, "loss": 4.0, "a/cosine": 1.0, "b/mse": 3.0, "time/data": 0.5},
        {"step": 1, "loss": 5.0, "a/cosine": 2.0},
    ]
    assert loss_curves(lines, ("a", "b")) == {
        "loss": {ALL_HEADS: Curve((1, 2), (5.0, 4.0))},
        "cosine": {"a": Curve((1, 2), (2.0, 1.0))},
        "mse": {"b": Curve((2,), (3.0,))},
    }
    assert set(loss_curves(lines, ("a",))["loss"]) == {"a"}


def test_evaluations_become_curves_by_measure_or_set():
    lines = [{"step": 5, "eval/a/spearman": 0.5, "eval/a/recall@1": 0.25, "eval/sts/X/a": 70.0}]
    assert evaluation_curves(lines, ("a",)) == {
        "held-out spearman": {"a": Curve((5,), (0.5,))},
        "recall@1": {"a": Curve((5,), (0.25,))},
        "sts/X": {"a": Curve((5,), (70.0,))},
    }


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100])
def test_a_thinned_curve_keeps_its_mean_where_parts_are_equal(count):
    values = [random.Random(count).random() for _ in range(count)]
    curve = Curve(tuple(range(count)), tuple(values))
    thin = thinned(curve, most=8)
    assert len(thin.steps) == min(count, 8)
    assert list(thin.steps) == sorted(thin.steps)
    assert min(values) <= min(thin.values) <= max(thin.values) <= max(values)


@pytest.mark.parametrize("seed", range(5))
def test_places_that_are_spread_keep_their_distance_and_order(seed):
    rng = random.Random(seed)
    places = sorted(rng.uniform(0, 20) for _ in range(8))
    found = spread(places, 3.0)
    assert all(b - a >= 3.0 - 1e-9 for a, b in pairwise(found))
    assert sum(found) == pytest.approx(sum(places))
    assert spread(found, 3.0) == pytest.approx(found)


def test_workers_that_overlap_are_counted_once():
    sessions = [worked("a", 0, 10), worked("a", 5, 10), worked("a", 30, 1), worked("a", 2, 3)]
    assert elapsed(sessions) == pytest.approx(16)
    assert elapsed([]) == 0
    (phase,) = phase_times(sessions)
    assert (phase.sessions, phase.interrupted) == (4, 0)


def test_phases_side_by_side_count_once_among_all():
    sessions = [worked("teacher a", 0, 3600), worked("teacher b", 0, 3600)]
    found = time_table(phase_times(sessions), elapsed(sessions))
    assert [row[:2] for row in found.rows] == [
        (phase, duration(3600)) for phase in ("teacher a", "teacher b", "all")
    ]


def test_phases_stand_in_the_order_in_which_they_began():
    sessions = [worked("b", 0, 1), worked("a", 2, 1, whole=False), worked("b", 5, 1)]
    assert [(p.phase, p.seconds, p.interrupted) for p in phase_times(sessions)] == [
        ("b", pytest.approx(2), 0),
        ("a", pytest.approx(1), 1),
    ]


def test_a_session_that_ended_without_a_word_was_killed_or_is_at_work():
    killed = worked("a", 0, 30, whole=False, ended=False)
    at_work = killed.model_copy(update={"running": True})
    stopped = worked("a", 60, 1, whole=False)
    phases = phase_times([killed, at_work, stopped])
    assert [(p.seconds, p.interrupted, p.killed) for p in phases] == [(pytest.approx(31), 1, 1)]
    table = time_table(phases, 31)
    assert table.rows[0][3:5] == ("1", "1")
    assert "last sign of life" in table.note


def test_a_kill_leaves_the_time_until_the_last_sign_of_life(tmp_path):
    code = f"""
from pathlib import Path
import os, signal, time
import pipelines.sessions as sessions
sessions._REFUSED_SECONDS = sessions._BEAT_SECONDS = 0.01
with sessions.session(Path({str(tmp_path)!r}), "stage 1"):
    while sum(one.seconds for one in sessions.read_sessions(Path({str(tmp_path)!r}))[0]) < 0.05:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    (found,), damaged = read_sessions(tmp_path)
    assert damaged == ()
    assert (found.phase, found.whole, found.ended, found.running) == ("stage 1", False, False, True)
    assert found.seconds >= 0.05
    (path,) = (tmp_path / "sessions").iterdir()
    for apart in (-3600, 3600):
        ((found,), _) = read_sessions(tmp_path, path.stat().st_mtime + apart)
        assert not found.running
        assert phase_times([found])[0].killed == 1


def test_a_clock_that_differs_from_the_file_systems_makes_nobody_dead(tmp_path):
    """Of another machine, of one that slept, or one that was set meanwhile."""
    one = worked("a", 0, 30, whole=False, ended=False)  # began long ago, and worked for 30 s
    write_json(tmp_path / "sessions" / "a.json", one.model_dump(mode="json"))
    ((found,), _) = read_sessions(tmp_path)
    assert found.running
    long_ago = time.time() - 3600
    os.utime(tmp_path / "sessions" / "a.json", (long_ago, long_ago))
    ((found,), _) = read_sessions(tmp_path)
    assert not found.running
    assert [path.name for path in (tmp_path / "sessions").iterdir()] == ["a.json"]


def test_a_machine_without_a_thread_to_spare_stops_nobody(tmp_path, monkeypatch):
    def none(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", none)
    with session(tmp_path, "stage 1"):
        pass
    ((found,), _) = read_sessions(tmp_path)
    assert (found.whole, found.ended) == (True, True)


def test_a_session_without_torch_stays_without_it(tmp_path):
    code = f"""
from pathlib import Path
import sys, time
import pipelines.sessions as sessions
sessions._REFUSED_SECONDS = sessions._BEAT_SECONDS = 0.01
with sessions.session(Path({str(tmp_path)!r}), "corpus"):
    while not sessions.read_sessions(Path({str(tmp_path)!r}))[0]:
        time.sleep(0.01)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_signs_of_life_wake_no_gpu_and_the_end_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda place: f"GPU {place}")
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: False)
    monkeypatch.setattr("pipelines.sessions._REFUSED_SECONDS", 0.0)
    begun = threading.Event()
    monkeypatch.setattr(
        "pipelines.sessions.write_json", lambda *given: write_json(*given) or begun.set()
    )
    with session(tmp_path, "stage 1"):
        assert begun.wait(60)
        ((found,), _) = read_sessions(tmp_path)
        assert found.environment.gpus == ()
        assert Environment.here(aside=True).gpus == ()
        monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
        assert Environment.here(aside=True).gpus == ("GPU 0",)
        monkeypatch.setattr("torch.cuda.is_initialized", lambda: False)
    ((found,), _) = read_sessions(tmp_path)
    assert found.environment.gpus == ("GPU 0",)


def test_a_machine_is_one_whether_or_not_a_session_used_its_gpus():
    used = HERE.model_copy(update={"gpus": ("H200",)})
    unused = HERE.model_copy(update={"gpus": ()})
    other = unused.model_copy(update={"host": "far-away"})
    sessions = [
        worked(phase, after, 1).model_copy(update={"environment": at})
        for after, (phase, at) in enumerate(
            [("corpus", unused), ("stage 1", used), ("eval", other)]
        )
    ]
    machines, _ = environment_tables(unused, sessions)
    assert machines.header == ("", "corpus, stage 1", "eval")
    assert machines.rows[3] == ("GPUs", "H200", "none in use")


@pytest.mark.parametrize(
    ("error", "seconds", "recorded"),
    [
        (UsageError("wrong"), 100, False),
        (PipeError("missing"), 5, False),
        (PipeError("lost"), 100, True),
        (ValueError("at once"), 0.5, False),
        (ValueError("later"), 5, True),
        (KeyboardInterrupt(), 5, True),
    ],
)
def test_what_was_refused_did_not_work(tmp_path, monkeypatch, error, seconds, recorded):
    (tmp_path / "r").mkdir()
    now = [1000.0]
    monkeypatch.setattr("pipelines.sessions.monotonic", lambda: now[0])
    with pytest.raises(type(error)), session(tmp_path / "r", "eval"):
        now[0] += seconds
        raise error
    assert len(read_sessions(tmp_path / "r")[0]) == recorded
    assert (tmp_path / "r" / "sessions").exists() == recorded


def test_a_session_is_recorded_however_it_ends(tmp_path, monkeypatch):
    with session(tmp_path, "teacher one"):
        pass
    with session(tmp_path, "nothing to do", worked=False):
        pass
    with pytest.raises(ValueError, match="at once"), session(tmp_path, "refused"):
        raise ValueError("at once")
    monkeypatch.setattr("pipelines.sessions._REFUSED_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt), session(tmp_path, "stopped", processes=3):
        raise KeyboardInterrupt
    (tmp_path / "sessions" / "half.json").write_text("{")
    found, damaged = read_sessions(tmp_path)
    assert [(s.phase, s.whole, s.processes) for s in found] == [
        ("teacher one", True, 1),
        ("stopped", False, 3),
    ]
    assert len(damaged) == 1


def test_a_session_that_cannot_be_recorded_stops_nobody(tmp_path):
    (tmp_path / "sessions").write_text("a file where a directory belongs")
    with session(tmp_path, "teacher one"):
        done = True
    assert done
    assert read_sessions(tmp_path) == ((), ())


def test_a_machine_that_cannot_be_described_stops_nobody(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("CUDA driver error")

    monkeypatch.setattr("pipelines.sessions.Environment.here", broken)
    with session(tmp_path, "stage 1"):
        done = True
    assert done
    monkeypatch.setattr("pipelines.sessions._REFUSED_SECONDS", 0.0)
    with pytest.raises(ValueError, match="the true one"), session(tmp_path, "stage 2"):
        raise ValueError("the true one")
    assert read_sessions(tmp_path) == ((), ())


def test_a_broken_driver_or_package_is_left_out_of_a_machine(monkeypatch):
    def broken(name=None):
        raise RuntimeError("CUDA driver error") if name is None else KeyError("Version")

    def none(name):
        return None

    monkeypatch.setattr("torch.cuda.device_count", broken)
    monkeypatch.setattr("pipelines.environment.metadata.version", broken)
    assert (Environment.here().gpus, Environment.here().packages) == ((), {})
    monkeypatch.setattr("pipelines.environment.metadata.version", none)
    assert Environment.here().packages == {}


def test_the_time_of_steps_is_what_their_speed_says():
    settings = StageConfig(
        name="s", trainable=("*",), heads={"a": ("mse",)}, batch_size=10, learning_rate=1.0, steps=4
    )
    lines = (
        {"step": 2, "loss": 1.0, "texts_per_second": 5.0, "time/data": 0.25, "time/forward": 0.5},
        {"step": 2, "eval/a/spearman": 0.5},
        {"step": 4, "loss": 1.0, "texts_per_second": 10.0, "time/data": 0.5},
    )
    stage = StageFacts(1, settings, 4, True, None, MetricLines(lines))
    expected = {"data": 2.0, "forward": 2.0, "other": 2.0}
    assert step_times(stage) == pytest.approx(expected)
    newer = tuple(line | {"steps_per_second": 2.0} for line in lines)
    faster = step_times(replace(stage, metrics=MetricLines(newer)))
    assert sum(faster.values()) == pytest.approx(4 / 2.0)


@pytest.mark.parametrize("draw", ["lines", "bars"])
def test_a_chart_has_no_colour_of_its_own_and_no_id_of_another(draw):
    def drawn(key):
        if draw == "lines":
            return line_svg(chart(key, log_x=True, level=2.0), "words")
        return bar_svg(Bars(key, "t", "x", (("<one>", (1.0, 2.0)), ("two", (3.0, 0.0)))), "words")

    first, second = drawn("one"), drawn("two")
    assert first == drawn("one")
    page = Page(first + second)
    assert not page.faults
    assert not page.loads
    assert len(page.ids) == len(set(page.ids))
    assert "<style" not in first
    assert not any(color in first for color in (INK, GRID, *SERIES))
    assert "var(--series-1)" in first
    assert "var(--plot-ink)" in first


def test_a_name_is_no_formula_and_no_markup():
    page = Page(line_svg(chart("k"), 'alternative "<b>"\x01'))
    assert not page.faults
    assert "b" not in {tag for tag, _ in page.tags}
    assert "$\\frac{$ <b>& 東京" in page.text
    assert page.tags[0][1]["aria-label"] == 'alternative "<b>"'


def test_a_chart_does_not_take_or_leave_a_style():
    before = line_svg(chart("k"), "words")
    with mpl.rc_context({"font.size": 30, "axes.grid": False}):
        assert line_svg(chart("k"), "words") == before
        assert mpl.rcParams["font.size"] == 30


def test_series_look_different_without_colour_too():
    looks = [Look.of(place) for place in range(36)]
    assert len({(look.color, look.dashes, look.marker) for look in looks}) == 36
    assert len({(look.dashes, look.marker) for look in looks[:6]}) == 6


def test_means_over_fewer_sets_are_not_compared():
    """Of files of earlier versions too, in which every model had a mean over its own sets."""
    start = {"model": "start", "tasks": {"a": 80.0}, "mean": 80.0, "parameters": 10}
    student = {"model": "s", "tasks": {"a": 85.0, "b": 10.0}, "mean": 47.5, "parameters": 10}
    measured = Measured.model_validate({"start": start, "students": [student]})
    assert measured.score(measured.students[0]) == 47.5
    assert measured.score(measured.start) is None
    group = cost_plots(Compared("x", measured), 0, {})
    assert group is not None
    assert all("start" not in plot.caption for plot in group.plots)
