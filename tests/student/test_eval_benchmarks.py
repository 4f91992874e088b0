"""mteb's tasks of every kind, by the stand-ins that the library brings."""

import numpy as np
import pytest

from student.evaluation.benchmarks import Benchmark, ResultStore, task_instructions
from student.evaluation.mteb_library import require_mteb
from student.evaluation.mteb_model import MtebModel
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
    if measured.items is not None:
        assert 100 * measured.items.score == pytest.approx(measured.score, abs=0.01)
        np.testing.assert_array_equal(found.items.figures_N, measured.items.figures_N)
