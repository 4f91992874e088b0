"""The template of the guide is a teacher that works: it fills a store after passing the canary."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache import encoders
from teacher_cache.fill import fill
from teacher_cache.store import TeacherStore
from tests.teacher_cache.small import dummy

TEMPLATE = Path(__file__).parents[2] / "docs" / "encoder_template.py"


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The template as a kind, in a package of its own."""
    (tmp_path / "letter_teacher.py").write_text(TEMPLATE.read_text())
    monkeypatch.syspath_prepend(tmp_path)
    row = {"letters": "letter_teacher:LetterEncoder"}
    monkeypatch.setattr(encoders, "KINDS", {**encoders.KINDS, **row})


@pytest.mark.usefixtures("letters")
def test_it_fills_a_store(tmp_path: Path, corpus: Corpus) -> None:
    teacher = dummy("letters", 27, kind="letters")
    store = TeacherStore.create(tmp_path / "store", corpus)
    encoder = encoders.load_encoder(teacher, "cpu")
    summary = fill(store, corpus, teacher, encoder, lambda line: None)
    assert summary.rows_written == corpus.rows
    vectors = store.read_teacher("letters", np.arange(corpus.rows)).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)


@pytest.mark.usefixtures("letters")
def test_it_keeps_an_adapters_promises() -> None:
    encoder = encoders.load_encoder(dummy("letters", 27, kind="letters"), "cpu")
    assert encoder.encode([], []).shape == (0, 27)
    assert np.isfinite(encoder.encode(["", "a" * 100_000], ["passage", "question"])).all()
    with pytest.raises(PipeError, match="lone surrogate"):
        encoder.encode(["\ud83d"], ["passage"])
    with pytest.raises(PipeError, match="found 27 numbers"):
        encoders.load_encoder(dummy("letters", 26, kind="letters"), "cpu")


def test_the_guide_names_the_template() -> None:
    assert importlib.util.spec_from_file_location("template", TEMPLATE)
    assert f"]({TEMPLATE.name})" in (TEMPLATE.parent / "teachers.md").read_text()
