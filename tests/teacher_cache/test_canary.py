"""The canary: what it lets through, what it stops, and what it says then."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache import canary
from teacher_cache.canary import LAST_WORD_DIFFERS, TEXTS, check_canary
from teacher_cache.config import Prompts, TeacherConfig
from teacher_cache.encoders import load_encoder
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.encoders.nv_embed import NvEmbedEncoder
from teacher_cache.encoders.stella import StellaEncoder
from teacher_cache.fill import fill
from teacher_cache.golden import GOLDEN, GoldenScores
from teacher_cache.store import TeacherStore
from teacher_cache.teachers import TEACHERS
from tests.teacher_cache.small import dummy, rewrite
from tests.teacher_cache.tiny_models import NV_SIZES, make_nv_embed, make_stella

Spoil = Callable[[npt.NDArray[np.float32]], object]


class Spoilt(DummyEncoder):
    """A dummy whose vectors something happens to."""

    def __init__(self, teacher: TeacherConfig, spoil: Spoil) -> None:
        super().__init__(teacher)
        self._spoil = spoil

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = super().encode(texts, roles)
        self._spoil(vectors)
        return vectors


def leak(vectors: npt.NDArray[np.float32]) -> None:
    """A little of the batch's mean gets into every vector."""
    vectors += 0.02 * vectors.mean(axis=0)


FAULTS: dict[str, tuple[Spoil, str]] = {
    "not finite": (lambda vectors: vectors.fill(np.nan), "a number that is not finite"),
    "all the same": (lambda vectors: vectors.fill(0.25), "texts 0 and 1 have the same vector"),
    "moved by its batch": (leak, r"moved by 0\.0\d+ when .* batch of 1 instead of 6"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unsound_vectors_stop_before_the_corpus(fault: str, corpus: Corpus, tmp_path: Path) -> None:
    spoil, message = FAULTS[fault]
    store = TeacherStore.create(tmp_path / "fresh", corpus)
    with pytest.raises(PipeError, match=message):
        fill(store, corpus, dummy(), Spoilt(dummy(), spoil), lambda line: None)
    assert store.committed("dummy") == frozenset()
    assert not (store.directory / "canary").exists()


def test_a_wrong_dimension_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match=r"shape \(6, 16\) .* expected \(6, 17\)"):
        check_canary(tmp_path, dummy(dim=17), DummyEncoder(dummy(dim=16)))


@pytest.mark.parametrize("name", ["dummy", "wordllama-256", "all-minilm-l6-v2"])
def test_the_small_teachers_pass_and_their_vectors_are_kept(name: str, tmp_path: Path) -> None:
    teacher = TEACHERS[name]
    encoder = load_encoder(teacher, "cpu")
    check_canary(tmp_path, teacher, encoder)
    path = tmp_path / "canary" / f"{name}.json"
    first = path.read_bytes()
    assert json.loads(first)["shape"] == [len(TEXTS), teacher.dim]
    check_canary(tmp_path, teacher, encoder)  # a later worker, a resume
    assert path.read_bytes() == first


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_tiny_natives_pass(dtype: str, tmp_path: Path) -> None:
    nv = make_nv_embed(tmp_path / "nv")
    settings: dict[str, Any] = {"dtype": dtype, "max_tokens": 300, "prompts": {"question": "q: "}}
    teacher = dummy("nv", NV_SIZES["width"], kind="nv-embed", model=str(nv), **settings)
    check_canary(tmp_path, teacher, NvEmbedEncoder(teacher, "cpu"))
    stella = make_stella(tmp_path / "stella")
    for attention in ("bidirectional", "causal"):
        name = f"stella-{attention}"
        changes = {**settings, "attention": attention}
        teacher = dummy(name, 24, kind="stella", model=str(stella), **changes)
        check_canary(tmp_path, teacher, StellaEncoder(teacher, "cpu"))


@pytest.mark.parametrize(
    ("told", "shown"), [("causal", "bidirectional"), ("bidirectional", "causal")]
)
def test_the_wrong_attention_is_seen(told: str, shown: str, tmp_path: Path) -> None:
    stella = make_stella(tmp_path / "stella")
    teacher = dummy("stella", 24, kind="stella", model=str(stella), attention=told)
    states = StellaEncoder(teacher, "cpu").first_states

    class Pretender:
        attention = shown

        def first_states(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            return states(texts)

    with pytest.raises(PipeError, match=f"attention should be {shown}"):
        canary.check_attention(teacher, Pretender())  # type: ignore[arg-type]
    assert len({len(text) for text in LAST_WORD_DIFFERS}) == 1


def test_other_vectors_than_earlier_workers_got_stop_the_resume(
    corpus: Corpus, tmp_path: Path
) -> None:
    store = TeacherStore.create(tmp_path / "fresh", corpus)
    fill(store, corpus, dummy(), DummyEncoder(dummy()), lambda line: None)
    (store.directory / "commits" / "dummy" / "00002.json").unlink()
    other = DummyEncoder(dummy(model="other weights"))
    with pytest.raises(PipeError, match=r"vector of canary text \d from dummy is .* away from"):
        fill(store, corpus, dummy(), other, lambda line: None)
    assert store.committed("dummy") == {0, 1}
    fill(store, corpus, dummy(), DummyEncoder(dummy()), lambda line: None)
    assert store.committed("dummy") == {0, 1, 2}


def test_a_damaged_record_is_a_sentence_and_an_old_one_is_replaced(tmp_path: Path) -> None:
    check_canary(tmp_path, dummy(), DummyEncoder(dummy()))
    path = tmp_path / "canary" / "dummy.json"
    sound = path.read_bytes()
    record = json.loads(sound)
    rewrite(path, vectors=record["vectors"][:-8])
    with pytest.raises(PipeError, match="expected a whole CanaryRecord"):
        check_canary(tmp_path, dummy(), DummyEncoder(dummy()))
    path.write_bytes(sound)
    changed = dummy(model="another seed")
    check_canary(tmp_path, changed, DummyEncoder(changed))
    assert json.loads(path.read_text())["teacher_fingerprint"] != record["teacher_fingerprint"]


def stella_scores(directory: Path, **settings: Any) -> GoldenScores:
    """Scores that the tiny model itself gives under some settings, as if they were published."""
    texts = (("what?", "who is it?"), ("a text", "one more"))
    unknown = GoldenScores("a card", *texts, (), 24, Prompts())
    teacher = dummy("g", 24, kind="stella", model=str(directory), **settings)
    encoder = StellaEncoder(teacher, "cpu").under(unknown.settings(teacher))
    scores = canary._scores(unknown, encoder)
    found = tuple(tuple(float(score) for score in row) for row in scores)
    return GoldenScores("a card", *texts, found, 24, Prompts())


def test_golden_scores_are_of_their_own_head_and_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stella = make_stella(tmp_path / "stella")
    scores = stella_scores(stella)
    monkeypatch.setattr(canary, "GOLDEN", {"stella-en-1.5b-v5": scores})
    settings: dict[str, Any] = {
        "kind": "stella",
        "model": str(stella),
        "prompts": {"question": "x"},
    }
    teacher = dummy("stella", 40, golden="stella-en-1.5b-v5", **settings)
    check_canary(tmp_path, teacher, StellaEncoder(teacher, "cpu"))
    unfaithful = teacher.model_copy(update={"attention": "causal", "eos": "append"})
    with pytest.raises(PipeError, match='agree with attention = "bidirectional" and eos = "none"'):
        check_canary(tmp_path, unfaithful, StellaEncoder(unfaithful, "cpu"))
    published = {"stella-en-1.5b-v5": stella_scores(make_stella(tmp_path / "b", (24,), seed=9))}
    monkeypatch.setattr(canary, "GOLDEN", published)
    with pytest.raises(PipeError, match=r"questions and passages of a card.*no other attention or"):
        check_canary(tmp_path, teacher, StellaEncoder(teacher, "cpu"))


def test_golden_scores_that_are_missed_or_cannot_be_checked(tmp_path: Path) -> None:
    nv = make_nv_embed(tmp_path / "nv")
    settings: dict[str, Any] = {"kind": "nv-embed", "model": str(nv), "max_tokens": 512}
    teacher = dummy("nv", NV_SIZES["width"], golden="nv-embed-v2", **settings)
    with pytest.raises(PipeError, match=r"expected \[\[0\.8743.*own weights, or set golden"):
        check_canary(tmp_path, teacher, NvEmbedEncoder(teacher, "cpu"))
    stella = make_stella(tmp_path / "stella")
    teacher = dummy("s", 24, kind="stella", model=str(stella), golden="stella-en-1.5b-v5")
    with pytest.raises(PipeError, match=r"cannot be checked, .* found no head 2_Dense_1024"):
        check_canary(tmp_path, teacher, StellaEncoder(teacher, "cpu"))
    with pytest.raises(PipeError, match="kind dummy cannot run under their settings"):
        canary.check_golden(dummy(golden="nv-embed-v2"), DummyEncoder(dummy()))


def test_the_published_scores_belong_to_the_teachers_in_the_table() -> None:
    for name, golden in GOLDEN.items():
        teacher = TEACHERS[name]
        assert teacher.golden == name
        assert teacher.prompts == golden.prompts
        assert np.array(golden.scores).shape == (len(golden.questions), len(golden.passages))
