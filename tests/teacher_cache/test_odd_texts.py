"""Texts that no one means to have: from every kind of teacher a right vector, or a sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import KINDS, Encoder, Factored, load_encoder
from teacher_cache.teachers import TEACHERS
from tests.teacher_cache.small import dummy
from tests.teacher_cache.tiny_models import byte_tokenizer, make_nv_embed, make_stella


def static(directory: Path) -> TeacherConfig:
    module = StaticEmbedding(byte_tokenizer("<unk>"), embedding_dim=16)
    SentenceTransformer(modules=[module], device="cpu").save(str(directory))
    return dummy(kind="sentence-transformers", model=str(directory))


MAKERS: dict[str, Callable[[Path], TeacherConfig]] = {
    "sentence-transformers": lambda directory: TEACHERS["all-minilm-l6-v2"],
    "a static one": static,
    "nv-embed": lambda directory: dummy(
        "nv", 48, kind="nv-embed", model=str(make_nv_embed(directory))
    ),
    "stella": lambda directory: dummy("s", 24, kind="stella", model=str(make_stella(directory))),
    "stella with an end token": lambda directory: dummy(
        "s", 24, kind="stella", model=str(make_stella(directory)), eos="append"
    ),
    "wordllama": lambda directory: TEACHERS["wordllama-256"],
    "dummy": lambda directory: dummy(),
    "dummy-factored": lambda directory: dummy(kind="dummy-factored"),
}
NO_EMPTY_TEXTS = {"a static one", "stella", "wordllama"}


@pytest.fixture(scope="module", params=MAKERS)
def teacher(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Encoder]:
    directory = tmp_path_factory.mktemp("odd") / "model"
    return request.param, load_encoder(MAKERS[request.param](directory), "cpu")


def ways(encoder: Encoder) -> list[Callable[[list[str]], np.ndarray]]:
    """Vectors, and what a factored store would keep."""
    found = [lambda texts: encoder.encode(texts, ["passage"] * len(texts))]
    if isinstance(encoder, Factored) and encoder.head is not None:
        states = encoder.encode_states
        found.append(lambda texts: states(texts, ["passage"] * len(texts)))
    return found


def test_every_kind_is_here() -> None:
    assert KINDS.keys() <= MAKERS.keys()


def test_a_hundred_thousand_characters(teacher: tuple[str, Encoder]) -> None:
    """It is cut off, and neither it nor its neighbours differ for the company."""
    kind, encoder = teacher
    long = "river stone " * 8_400
    assert len(long) > 100_000
    # A dummy gives every text, whole, a little of its own.
    cut = long if kind.startswith("dummy") else long[:20_000]
    for encode in ways(encoder):
        found = encode(["a", long, "b c"])
        assert np.isfinite(found).all()
        for place, text in enumerate(("a", cut, "b c")):
            np.testing.assert_allclose(found[place], encode([text])[0], rtol=0, atol=2e-5)


def test_an_empty_text(teacher: tuple[str, Encoder]) -> None:
    kind, encoder = teacher
    for encode in ways(encoder):
        if kind in NO_EMPTY_TEXTS:
            with pytest.raises(PipeError, match="text 1 of 3 has no tokens"):
                encode(["a", "", "b c"])
        else:
            found = encode(["a", "", "b c"])
            np.testing.assert_allclose(found[1], encode([""])[0], rtol=0, atol=1e-5)
            assert np.isfinite(found).all()
            assert len({row.tobytes() for row in found}) == 3


@pytest.mark.parametrize("half", ["\ud83d", "\udcff"])
def test_a_lone_surrogate(teacher: tuple[str, Encoder], half: str) -> None:
    _, encoder = teacher
    for encode in ways(encoder):
        with pytest.raises(PipeError, match=r"text 1 of 2 holds the lone surrogate U\+D.* 2, exp"):
            encode(["a", f"b {half} c"])
