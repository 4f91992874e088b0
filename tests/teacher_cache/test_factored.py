"""Teachers that end in a linear layer: states and the layer say what the vectors say."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import as_factored, load_encoder
from teacher_cache.fill import fill
from teacher_cache.linear_head import LinearHead
from teacher_cache.models import model_directory
from teacher_cache.store import TeacherStore
from teacher_cache.teachers import TEACHERS
from tests.teacher_cache.small import dummy
from tests.teacher_cache.tiny_models import change_json, change_tensors, make_stella

TEXTS = ["one", "a longer text about rivers " * 6, "naïve 東京 🚀", "What is it?"]
ROLES = ["passage", "passage", "passage", "question"]
MINILM = TEACHERS["all-minilm-l6-v2"]


def dense(activation: torch.nn.Module | None = None, **settings: object) -> Dense:
    torch.manual_seed(5)
    return Dense(384, 40, activation_function=activation or torch.nn.Identity(), **settings)


def minilm_with(directory: Path, *modules: torch.nn.Module) -> TeacherConfig:
    """MiniLM with other modules behind its pooling."""
    model = SentenceTransformer(str(model_directory(MINILM.model)), device="cpu")
    parts = [*list(model)[:2], *modules]
    SentenceTransformer(modules=parts, device="cpu").save(str(directory))
    return dummy(
        kind="sentence-transformers",
        model=str(directory),
        dim=40,
        prompts={"question": "query: "},
    )


@pytest.fixture
def stella(tmp_path: Path) -> TeacherConfig:
    model = make_stella(tmp_path / "stella")
    return dummy("stella", 40, kind="stella", model=str(model), prompts={"question": "q: "})


def check_factors(teacher: TeacherConfig) -> None:
    encoder = load_encoder(teacher, "cpu")
    factored = as_factored(encoder, teacher)
    assert (factored.head.state_dim, factored.head.dim) == (factored.state_dim, teacher.dim)
    states = factored.encode_states(TEXTS, ROLES)
    assert states.shape == (4, factored.state_dim)
    assert states.dtype == np.float32
    assert np.abs(np.linalg.norm(states, axis=1) - 1).min() > 1e-3  # not normalised
    vectors = encoder.encode(TEXTS, ROLES)
    np.testing.assert_allclose(factored.head.apply(states), vectors, atol=2e-6)
    half = factored.head.apply(states.astype(np.float16))
    np.testing.assert_allclose(half, vectors, atol=2e-3)
    assert states.tobytes() == factored.encode_states(TEXTS, ROLES).tobytes()
    assert factored.encode_states([], []).shape == (0, factored.state_dim)


def test_stella(stella: TeacherConfig) -> None:
    check_factors(stella)
    loaded = load_encoder(stella, "cpu")
    narrow = loaded.under(stella.model_copy(update={"dim": 24}))
    assert as_factored(narrow, stella).head.dim == 24


def test_a_store_of_stellas_states_gives_its_vectors(
    stella: TeacherConfig, corpus: Corpus, tmp_path: Path
) -> None:
    teacher = stella.model_copy(update={"storage": "factored"})
    store = TeacherStore.create(tmp_path / "store", corpus)
    encoder = load_encoder(teacher, "cpu")
    fill(store, corpus, teacher, encoder, lambda line: None)
    rows = np.arange(corpus.rows)
    assert store.read_stored("stella", rows).shape == (corpus.rows, 32)
    expected = encoder.encode(*corpus.take(rows))
    found = store.read_teacher("stella", rows)
    assert found.shape == expected.shape == (corpus.rows, 40)
    assert 1 - np.einsum("nd,nd->n", found, expected).min() <= 1e-3


def test_stella_with_a_head_without_bias(stella: TeacherConfig) -> None:
    head = Path(stella.model) / "2_Dense_40"
    change_tensors(head / "model.safetensors", lambda tensors: tensors.pop("linear.bias"))
    change_json(head / "config.json", lambda config: config.update(bias=False))
    check_factors(stella)
    assert as_factored(load_encoder(stella, "cpu"), stella).head.bias is None


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_sentence_transformers(tmp_path: Path, bias: bool, normalize: bool) -> None:
    modules = [dense(bias=bias), *([Normalize()] if normalize else [])]
    check_factors(minilm_with(tmp_path, *modules))


@pytest.mark.parametrize("dim", [1, 3, 64])
def test_the_dummy(dim: int) -> None:
    teacher = dummy(kind="dummy-factored", dim=dim)
    encoder = load_encoder(teacher)
    factored = as_factored(encoder, teacher)
    assert factored.state_dim == max(1, dim // 4)
    states = factored.encode_states(TEXTS, ROLES)
    np.testing.assert_array_equal(factored.head.apply(states), encoder.encode(TEXTS, ROLES))
    other = load_encoder(dummy(kind="dummy-factored", dim=dim, model="another"))
    assert np.abs(other.head.weight - factored.head.weight).max() > 0.1


def test_a_teacher_without_such_a_layer_is_a_sentence(tmp_path: Path) -> None:
    curved = minilm_with(tmp_path / "curved", dense(torch.nn.Tanh()))
    residual = minilm_with(tmp_path / "residual", dense(use_residual=True))
    for teacher in (MINILM, TEACHERS["wordllama-256"], dummy(), curved, residual):
        with pytest.raises(
            PipeError, match=f"no linear layer at the end of teacher {teacher.name}"
        ):
            as_factored(load_encoder(teacher, "cpu"), teacher)


def test_a_state_that_gives_zero_stays_finite() -> None:
    head = LinearHead(np.eye(3, 2, dtype=np.float32))
    np.testing.assert_array_equal(head.apply(np.zeros((1, 2), np.float32)), np.zeros((1, 3)))


def test_the_head_needs_no_torch() -> None:
    code = "import sys, teacher_cache.linear_head; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
