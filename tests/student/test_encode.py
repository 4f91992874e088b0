"""The student as an embedding function."""

import numpy as np
import pytest
import torch

from data_prep.errors import PipeError
from student.encode import StudentEncoder, parameters_in_use
from student.pooled_once import PooledOnce
from teacher_cache.config import Prompts
from tests.student.tiny_students import FAMILIES, HIDDEN, TEXTS, student

PASSAGES = ["passage"] * len(TEXTS)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", ["fc1", None])
def test_batching_does_not_change_vectors(family: str, head: str | None) -> None:
    model = student(family)
    one_by_one = np.concatenate(
        [StudentEncoder(model, head).encode([text], ["passage"]) for text in TEXTS]
    )
    for budget in (1, 20, 4096):
        batched = StudentEncoder(model, head, tokens_per_batch=budget).encode(TEXTS, PASSAGES)
        assert batched.dtype == np.float32
        np.testing.assert_allclose(batched, one_by_one, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(one_by_one, axis=1), 1, atol=1e-6)


def test_slices_of_a_long_list_land_in_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = StudentEncoder(student("bert"), "fc1")
    whole = encoder.encode(TEXTS, PASSAGES)
    monkeypatch.setattr("student.encode.TEXTS_AT_ONCE", 4)
    np.testing.assert_allclose(encoder.encode(TEXTS, PASSAGES), whole, atol=1e-6)


def test_pooled_state_is_normalised_mean_over_tokens() -> None:
    model = student("qwen2")
    ids = torch.tensor([model.tokenizer("how? why?")["input_ids"]])
    states_LH = model.text(input_ids=ids).last_hidden_state[0]
    mean_H = states_LH.mean(0).detach().numpy()
    encoder = StudentEncoder(model)
    assert encoder.dim == HIDDEN
    (vector,) = encoder.encode(["how? why?"], ["question"])
    np.testing.assert_allclose(vector, mean_H / np.linalg.norm(mean_H), atol=1e-6)


def test_prompt_goes_in_front_of_its_role_only() -> None:
    prompted = StudentEncoder(student("bert", prompts=Prompts(question="query: ")), "fc1")
    plain = StudentEncoder(student("bert"), "fc1")
    question, passage = prompted.encode(["why?", "why?"], ["question", "passage"])
    expected_question, expected_passage = plain.encode(["query: why?", "why?"], ["passage"] * 2)
    np.testing.assert_allclose(question, expected_question, atol=1e-6)
    np.testing.assert_allclose(passage, expected_passage, atol=1e-6)
    assert not np.allclose(question, passage, atol=1e-3)
    other = plain.under(Prompts(question="query: "))
    np.testing.assert_allclose(other.encode(["why?"], ["question"]), [question], atol=1e-6)
    np.testing.assert_allclose(plain.encode(["why?"], ["question"]), [passage], atol=1e-6)


@pytest.mark.parametrize("most", [None, 2 * HIDDEN, 0])
def test_heads_share_pooled_states_of_a_text_under_a_prompt(
    most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, others, computed = student("bert"), Prompts(passage="find: "), []
    plain = model.pooled

    def counted(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        computed.extend(ids)
        return plain(ids, mask)

    heads = [name for name, _ in model.named_heads()]
    expected = {
        (head, prompts.passage): StudentEncoder(model, head).under(prompts).encode(TEXTS, PASSAGES)
        for head in heads
        for prompts in (model.prompts, others)
    }
    monkeypatch.setattr(model, "pooled", counted)
    pooled = PooledOnce(model, most)
    for (head, front), vectors in expected.items():
        found = pooled.head(head, Prompts(passage=front))(TEXTS, PASSAGES)
        np.testing.assert_allclose(found, vectors, atol=1e-6)
    once = 2 * len(set(TEXTS))
    assert len(computed) == (once if most is None else once * len(heads))


def test_text_is_cut_at_max_tokens() -> None:
    encoder = StudentEncoder(student("bert", max_tokens=8), "fc1")
    kept = "the cat sat on the mat"
    short, long = encoder.encode([kept, kept + " over the moon"], ["passage"] * 2)
    np.testing.assert_allclose(short, long, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_training_mode_stays_and_dropout_is_off(training: bool) -> None:
    model = student("bert")
    model.train(training)
    encoder = StudentEncoder(model, "fc1")
    np.testing.assert_array_equal(encoder.encode(TEXTS, PASSAGES), encoder.encode(TEXTS, PASSAGES))
    assert model.training is training
    assert model.text.encoder.training is training


def test_empty_list_gives_no_rows() -> None:
    assert StudentEncoder(student("bert"), "fc2").encode([], []).shape == (0, 12)


def test_unknown_head_names_those_there() -> None:
    with pytest.raises(PipeError, match="fc1, fc2"):
        StudentEncoder(student("bert"), "fc9")


def test_what_a_checkpoint_carries_unused_does_not_count() -> None:
    model = student("bert")
    text = sum(p.numel() for p in model.text.parameters())
    pooler = sum(p.numel() for p in model.text.pooler.parameters())
    assert pooler
    assert parameters_in_use(model) == text - pooler
    assert parameters_in_use(model, "fc2") == text - pooler + model.hidden * 12 + 12
