"""A model as mteb sees one: which texts it gets, in which roles, under which prompts."""

from types import SimpleNamespace

import numpy as np
import pytest

from student.evaluation.mteb_model import INSTRUCT, MtebModel, instruction_template
from student.evaluation.sets import RetrievalSet, StsSet, find_sets, read_set
from student.evaluation.tasks import LocalTask
from teacher_cache.config import Prompts

INSTRUCTED = Prompts(passage="p: ", question="Instruct: Find it.\nQuery: ")


class Watched:
    """Says what it was given; a text's vector is drawn from it."""

    def __init__(self, prompts):
        self.seen = []
        self.prompts = prompts

    def under(self, prompts):
        other = Watched(prompts)
        other.seen = self.seen
        return other

    def __call__(self, texts, roles):
        whole = self.prompts.in_front_of(texts, roles)
        self.seen += whole
        rows = [np.random.default_rng(list(text.encode())).standard_normal(5) for text in whole]
        return np.array(rows, np.float32)


STS = StsSet("s", ("a", "b", "a"), ("b", "c", "d"), (1, 2, 3))
RETRIEVAL = RetrievalSet("r", ("1", "2"), ("x", "y"), ("q",), ("z",), {"q": {"1": 1}})


def run(data, prompts=INSTRUCTED, **options):
    embed = Watched(prompts)
    model = MtebModel(embed, "m", prompts=prompts, prompted=embed.under, **options)
    LocalTask(data).measure(model)
    return embed.seen


def test_without_an_instruction_queries_are_questions_and_the_rest_passages():
    assert run(STS, remember=True) == ["p: a", "p: b", "p: c", "p: d"]
    assert sorted(run(RETRIEVAL)) == ["Instruct: Find it.\nQuery: z", "p: x", "p: y"]


def test_an_instruction_stands_before_all_texts_but_documents():
    given = {"s": "Compare {them}.", "r": "Search."}
    front = "Instruct: Compare {them}.\nQuery: "
    assert run(STS, instructions=given, remember=True) == [front + text for text in "abcd"]
    seen = run(RETRIEVAL, instructions=given)
    assert sorted(seen) == ["Instruct: Search.\nQuery: z", "p: x", "p: y"]
    by_kind = {"r": {"query": "Q", "document": "D"}}
    seen = run(RETRIEVAL, instructions=by_kind, template="<{instruction}> ")
    assert sorted(seen) == ["<D> x", "<D> y", "<Q> z"]


def test_a_set_brings_its_instruction_and_a_plain_model_ignores_it(tmp_path):
    (tmp_path / "sts").mkdir()
    (tmp_path / "sts" / "s.jsonl").write_text(
        '{"sentence1": "a", "sentence2": "b", "score": 1}\n' * 2
        + '{"sentence1": "c", "sentence2": "b", "score": 2}\n'
    )
    (tmp_path / "sts" / "s.instruction.txt").write_text("Compare.\n")
    (files,) = find_sets(tmp_path)
    data = read_set(files)
    assert data.instruction == "Compare."
    assert run(data)[0] == "Instruct: Compare.\nQuery: a"
    assert run(data, Prompts(question="query: "))[0] == "a"
    assert run(data, Prompts(), template=INSTRUCT)[0] == "Instruct: Compare.\nQuery: a"
    assert run(data, instructions={"s": "Other."})[0] == "Instruct: Other.\nQuery: a"


def test_equal_texts_are_embedded_once():
    assert run(STS) == ["p: a", "p: b", "p: b", "p: c", "p: d"]
    assert len(run(STS, remember=True)) == 4


def test_templates_come_from_the_prompt_for_questions():
    assert instruction_template(INSTRUCTED) == INSTRUCT
    assert instruction_template(Prompts(question="Instruct: a\nQuery:")) == INSTRUCT.rstrip()
    assert instruction_template(Prompts()) is None


def test_results_are_filed_by_name_and_revision():
    meta = MtebModel(lambda texts, roles: np.ones((1, 1)), "student-fc1", "abc").mteb_model_meta
    assert (meta.name, meta.revision) == ("jasper-distill/student-fc1", "abc")
    task = SimpleNamespace(name="t", prompt="Do.")
    model = MtebModel(lambda texts, roles: np.ones((1, 1)), "a/b", template=INSTRUCT)
    assert model.name == "a/b"
    assert model.instruction(task) is None
    assert not model.takes_instructions


@pytest.mark.parametrize("kind", ["query", "document", None])
def test_cosines_are_mtebs(kind):
    model = MtebModel(Watched(INSTRUCTED), "m")
    one, other = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[1, 1, 2]]
    np.testing.assert_allclose(model.similarity(one, other), one @ other.T)
    np.testing.assert_allclose(model.similarity_pairwise(one, other), [0, 1, 1])
