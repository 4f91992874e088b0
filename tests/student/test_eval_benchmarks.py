"""mteb's tasks of every kind, by the stand-ins that the library brings."""

import errno

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from data_prep.errors import PipeError
from student.evaluation.benchmarks import Benchmark, task_instructions
from student.evaluation.mteb_library import require_mteb
from student.evaluation.mteb_model import MtebModel
from student.evaluation.result_store import ResultStore
from teacher_cache.config import Prompts

require_mteb()

import mteb.mocks.mock_tasks as stand_ins  # noqa: E402

KINDS = (
    "Aggregated",
    "Classification",
    "MultilingualClusteringFast",
    "MultilabelClassification",
    "MultilingualClassification",
    "MultilingualRetrieval",
    "PairClassification",
    "Reranking",
    "Retrieval",
    "STS",
    "Summarization",
)
HAVE_ITEMS = {"Classification", "Retrieval", "STS"}
"""Of which every score must be taken apart into items."""


def vectors(texts, roles):
    return np.array(
        [np.random.default_rng(list(text.encode())).standard_normal(8) for text in texts],
        np.float32,
    )


def stand_in(kind):
    for name in (f"Mock{kind}Task", f"Mock{kind}"):
        if hasattr(stand_ins, name):
            return getattr(stand_ins, name)()
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_of_every_kind_is_measured_and_found_again(kind, tmp_path):
    task = stand_in(kind)
    if kind == "Retrieval":  # of two splits no items would be known
        task = task.filter_eval_splits(["test"])
    given = []

    def under(prompts):
        def embed(texts, roles):
            given.append(prompts.question)
            return vectors(prompts.in_front_of(texts, roles), roles)

        return embed

    model = MtebModel(
        vectors,
        "m",
        "r",
        prompts=Prompts(question="Instruct: a\nQuery: "),
        prompted=under,
        instructions=task_instructions(Benchmark("one", (task,))),
    )
    store = ResultStore(tmp_path)
    assert store.found(task, model) is None
    measured = store.measure(task, model)
    found = store.found(task, model)
    assert found is not None
    assert found.score == measured.score
    assert given
    assert all(text.startswith("Instruct: ") and text != "Instruct: a\nQuery: " for text in given)
    assert (measured.items is not None) or kind not in HAVE_ITEMS
    if measured.items is not None:
        assert 100 * measured.items.score == pytest.approx(measured.score, abs=0.01)
        np.testing.assert_array_equal(found.items.figures_N, measured.items.figures_N)


class Languages(stand_ins.MockMultilingualSTSTask):
    """Two languages, on which a model scores differently; or one, as a benchmark narrows a task."""

    def __init__(self, *subsets):
        super().__init__()
        self.hf_subsets = list(subsets)

    def load_data(self, **_):
        texts = [f"text {i}" for i in range(8)]
        others = [f"other {i}" for i in range(8)]
        gold = {"eng": [3, 1, 4, 1, 5, 9, 2, 6], "fra": [2, 7, 1, 8, 2, 8, 1, 8]}
        self.dataset = {
            name: DatasetDict(
                test=Dataset.from_dict(
                    {"sentence1": texts, "sentence2": others, "score": gold[name]}
                )
            )
            for name in self.hf_subsets
        }
        self.data_loaded = True


MODEL = MtebModel(vectors, "m", "r")


def test_a_narrower_task_gets_the_score_of_its_own_languages(tmp_path):
    alone = ResultStore(tmp_path / "alone").measure(Languages("eng"), MODEL)
    store = ResultStore(tmp_path / "both")
    both = store.measure(Languages("eng", "fra"), MODEL)
    assert both.score != alone.score
    assert both.items is None
    found = store.found(Languages("eng"), MODEL)
    assert (found.score, found.items) == (alone.score, None)


def test_items_of_other_languages_are_not_taken(tmp_path):
    store = ResultStore(tmp_path)
    one = store.measure(Languages("eng"), MODEL)
    assert one.items is not None
    assert store.measure(Languages("eng", "fra"), MODEL).items is None
    assert store.found(Languages("eng"), MODEL).items is None


def test_a_result_without_its_items_was_not_finished(tmp_path, monkeypatch):
    task = stand_in("STS")
    store = ResultStore(tmp_path)
    whole = store.measure(task, MODEL)
    (items,) = tmp_path.rglob("*.npz")
    items.unlink()
    assert ResultStore(tmp_path).found(stand_in("STS"), MODEL) is None
    again = ResultStore(tmp_path).measure(stand_in("STS"), MODEL)
    np.testing.assert_array_equal(again.items.figures_N, whole.items.figures_N)


@pytest.mark.parametrize("kind", ["STS", "Summarization"])
def test_a_kill_loses_no_items(kind, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mteb.results.TaskResult.to_disk", killed)
        with pytest.raises(KeyboardInterrupt):
            ResultStore(tmp_path).measure(stand_in(kind), MODEL)
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    store = ResultStore(tmp_path)
    assert store.found(stand_in(kind), MODEL) is None
    assert (store.measure(stand_in(kind), MODEL).items is not None) == (kind == "STS")


def test_a_full_disk_is_not_told_as_missing_data(tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        ResultStore(tmp_path).measure(stand_in("STS"), MtebModel(full, "m", "r"))

    def other(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PipeError, match="Permission denied") as told:
        ResultStore(tmp_path).measure(stand_in("STS"), MtebModel(other, "m", "r"))
    assert "fetched" not in str(told.value)


def test_a_score_that_is_no_number_is_a_sentence(tmp_path):
    same = MtebModel(lambda texts, roles: np.ones((len(texts), 4), np.float32) / 2, "m", "r")
    store = ResultStore(tmp_path)
    for attempt in (store.measure, store.found):
        with pytest.raises(PipeError, match="its score is no number"):
            attempt(stand_in("STS"), same)
