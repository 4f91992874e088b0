"""Which step's weights are kept."""

import json
import math

import pytest
from pydantic import ValidationError

from data_prep.errors import PipeError
from student.places import Places
from student.selecting import Selection
from student.stage_config import StageConfig

SPEARMAN = "eval/fc1/spearman"


def stage(**settings):
    return StageConfig(
        name="fc1",
        trainable=("heads.fc1",),
        heads={"fc1": ("cosine",)},
        batch_size=8,
        learning_rate=1e-3,
        **{"steps": 100, **settings},
    )


@pytest.fixture
def selection(tmp_path):
    def make(**settings):
        def save(directory):
            directory.mkdir(parents=True)
            (directory / "student.json").write_text(str(make.step))

        made = Selection(Places(tmp_path), 1, stage(**settings), save)

        def offer(step, value):
            make.step = step
            return made.offer(step, {made.stage.metric: value})

        made.offered = offer
        return made

    make.step = 0
    make.places = Places(tmp_path)
    return make


BEST = {"select": "best", "evaluate_every": 10}


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        (SPEARMAN, [0.1, 0.5, 0.4, 0.5], 20),
        ("fc1/cosine", [0.3, 0.2, 0.1, 0.1], 30),
        (SPEARMAN, [math.nan, -0.5, math.nan], 20),
        (SPEARMAN, [math.nan, math.nan], 10),
        ("loss", [math.nan, 3.0, math.inf], 20),
    ],
)
def test_the_best_is_kept_and_the_first_of_equals(selection, tmp_path, metric, values, best):
    made = selection(**BEST, metric=metric)
    for step, value in zip(range(10, 50, 10), values, strict=False):
        made.offered(step, value)
    weights = list(selection.places.selected_weights(1).iterdir())
    assert [path.name for path in weights] == [f"step-{best}"]
    assert made.finish(tmp_path / "final").step == best
    assert (tmp_path / "final" / "student.json").read_text() == str(best)


def test_a_resumed_stage_goes_on_from_what_is_kept(selection):
    selection(**BEST, metric=SPEARMAN).offered(10, 0.5)
    again = selection(**BEST, metric=SPEARMAN)
    again.resume(10, [SPEARMAN])
    assert not again.offered(20, 0.4)
    assert again.offered(30, 0.6)


def test_a_stage_that_begins_anew_forgets(selection):
    selection(**BEST, metric=SPEARMAN).offered(10, 0.5)
    again = selection(**BEST, metric=SPEARMAN)
    again.resume(0, [SPEARMAN])
    assert again.offered(10, 0.4)


@pytest.mark.parametrize("settings", [{**BEST, "metric": SPEARMAN}, {"select": "step:10"}])
def test_lost_weights_are_a_sentence(selection, tmp_path, settings):
    made = selection(**settings)
    made.resume(5, [SPEARMAN])
    with pytest.raises(PipeError, match="restore them"):
        made.resume(10, [SPEARMAN])
    with pytest.raises(PipeError, match="restore them"):
        made.finish(tmp_path / "final")


def test_a_named_step(selection, tmp_path):
    made = selection(select="step:10")
    assert [made.reached(step) for step in (9, 10, 11)] == [False, True, False]
    made.resume(20, [])
    assert made.finish(tmp_path / "final").step == 10
    record = json.loads(selection.places.selected(1).read_text())
    assert record == {"step": 10, "metric": None, "value": None}


def test_the_last_needs_nothing(selection, tmp_path):
    made = selection()
    made.resume(50, [])
    assert not made.reached(100)
    assert made.finish(tmp_path / "final") is None


def test_a_metric_that_is_not_measured(selection):
    with pytest.raises(PipeError, match="expected one of loss, eval/fc1/kendall"):
        selection(**BEST, metric=SPEARMAN).resume(0, ["loss", "eval/fc1/kendall"])


def test_a_broken_record(selection):
    made = selection(**BEST, metric=SPEARMAN)
    selection.places.selected(1).parent.mkdir()
    selection.places.selected(1).write_text("[1]")
    with pytest.raises(PipeError, match="does not say which step"):
        made.offered(10, 0.5)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"select": "best", "metric": SPEARMAN}, "evaluate_every is 0"),
        ({**BEST, "metric": SPEARMAN, "steps": 9}, "expected 1 to 9"),
        (BEST, "there is no metric"),
        ({"select": "step:101"}, "has 100 steps"),
        ({"select": "step:0"}, "select"),
        ({"select": "first"}, "select"),
        ({"evaluate_every": 15}, "multiple of log_every"),
        ({"evaluate_sets": ("sts",)}, "evaluate_every is 0"),
    ],
)
def test_settings_that_make_no_sense(settings, found):
    with pytest.raises(ValidationError, match=found):
        stage(**settings)
