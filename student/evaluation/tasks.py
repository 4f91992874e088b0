"""Scores of a model on an evaluation set, as MTEB computes them, times 100."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression

from student.evaluation.embed import Embed, embed_distinct
from student.evaluation.sets import ClassificationSet, EvaluationSet, RetrievalSet, StsSet

NDCG_DEPTH = 10
QUERIES_AT_ONCE = 256

SAMPLES_PER_LABEL = 8
DRAWS = 10
MAX_ITERATIONS = 100
SEED = 42


def score_sts(embed: Embed, data: StsSet) -> float:
    """Spearman correlation of the pairs' cosines with the human scores, over the whole set.

    Args:
        embed: The model.
        data: The set.

    Returns:
        -100 to 100.
    """
    vectors = embed_distinct(embed, data.first + data.second, "passage").astype(np.float64)
    cosines = np.einsum("nd,nd->n", vectors[: len(data.first)], vectors[len(data.first) :])
    return 100 * float(stats.spearmanr(data.scores, cosines).statistic)


def score_retrieval(embed: Embed, data: RetrievalSet) -> float:
    """Mean nDCG@10 over the judged queries, with trec_eval's gains, discounts and tie-breaking.

    Args:
        embed: The model; documents are passages and queries are questions.
        data: The set.

    Returns:
        0 to 100.
    """
    documents_ND = embed_distinct(embed, data.documents, "passage")
    queries_QD = embed_distinct(embed, data.queries, "question")
    # trec_eval puts the larger id first among equal scores, comparing bytes.
    tie_rank_N = np.empty(len(data.document_ids), dtype=np.int64)
    order = sorted(range(len(data.document_ids)), key=lambda i: data.document_ids[i].encode())
    tie_rank_N[order] = np.arange(len(order))
    values = []
    for start in range(0, len(data.queries), QUERIES_AT_ONCE):
        scores_QN = queries_QD[start : start + QUERIES_AT_ONCE] @ documents_ND.T
        for query_id, scores_N in zip(data.query_ids[start:], scores_QN, strict=False):
            top = top_documents(scores_N, tie_rank_N, NDCG_DEPTH)
            ranked = [data.document_ids[index] for index in top]
            values.append(ndcg(ranked, data.qrels[query_id], NDCG_DEPTH))
    return 100 * float(np.mean(values))


def top_documents(scores_N: np.ndarray, tie_rank_N: np.ndarray, depth: int) -> np.ndarray:
    """Rank the best documents, equal scores by falling ``tie_rank_N``.

    Args:
        scores_N: (N,) scores of the documents.
        tie_rank_N: (N,) different integers.
        depth: How many to rank; all, if there are fewer.

    Returns:
        (min(depth, N),) indices, best first.
    """
    depth = min(depth, len(scores_N))
    # Every document that ties with the last place competes for it.
    threshold = np.partition(scores_N, len(scores_N) - depth)[len(scores_N) - depth]
    candidates = np.flatnonzero(scores_N >= threshold)
    order = np.lexsort((-tie_rank_N[candidates], -scores_N[candidates]))
    top: np.ndarray = candidates[order[:depth]]
    return top


def ndcg(ranked: Sequence[str], gains: Mapping[str, int], depth: int) -> float:
    """Normalised discounted cumulative gain: linear gains, discount log2(rank + 1).

    The ideal ranking holds every judged document, in the corpus or not, as in trec_eval.

    Args:
        ranked: Document ids, best first.
        gains: The gain of each judged document; others, and negative ones, gain nothing.
        depth: Ranks that count.

    Returns:
        0 to 1; 0 if no document has a gain.

    >>> round(ndcg(["b", "a"], {"a": 1}, depth=10), 4)  # 1 / log2(3)
    0.6309
    """
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    ideal = sorted((gain for gain in gains.values() if gain > 0), reverse=True)[:depth]
    found = [max(gains.get(document, 0), 0) for document in ranked[:depth]]
    best = float(np.dot(ideal, discounts[: len(ideal)]))
    return float(np.dot(found, discounts[: len(found)])) / best if best > 0 else 0.0


def score_classification(embed: Embed, data: ClassificationSet) -> float:
    """Mean test accuracy of logistic regressions, each trained on 8 texts of every label.

    Ten draws with a fixed seed, the same for every model, so that models compare; MTEB draws in
    the same way, but not the same texts.

    Args:
        embed: The model; all texts are passages.
        data: The set.

    Returns:
        0 to 100.
    """
    draws = _draws(data.train_labels)
    used = np.unique(np.concatenate(draws))
    train_UD = embed_distinct(embed, [data.train_texts[index] for index in used], "passage")
    test_ND = embed_distinct(embed, data.test_texts, "passage")
    train_labels, test_labels = np.array(data.train_labels), np.array(data.test_labels)
    accuracies = []
    for draw in draws:
        classifier = LogisticRegression(random_state=SEED, max_iter=MAX_ITERATIONS)
        classifier.fit(train_UD[np.searchsorted(used, draw)], train_labels[draw])
        accuracies.append(classifier.score(test_ND, test_labels))
    return 100 * float(np.mean(accuracies))


def _draws(labels: Sequence[str]) -> list[np.ndarray]:
    """Indices of up to 8 texts of every label, ten times."""
    generator = np.random.default_rng(SEED)
    label_of = np.array(labels)
    draws = []
    for _ in range(DRAWS):
        order = generator.permutation(len(labels))
        picked = [
            order[label_of[order] == label][:SAMPLES_PER_LABEL] for label in np.unique(label_of)
        ]
        draws.append(np.concatenate(picked))
    return draws


SCORERS: dict[type[EvaluationSet], Callable[[Embed, Any], float]] = {
    StsSet: score_sts,
    RetrievalSet: score_retrieval,
    ClassificationSet: score_classification,
}
"""Which measure a kind of set is scored by."""


def score(embed: Embed, data: EvaluationSet) -> float:
    """Score a model on an evaluation set by the measure of its kind.

    Args:
        embed: The model.
        data: A set of any kind.

    Returns:
        STS: Spearman x 100. Retrieval: nDCG@10 x 100. Classification: accuracy x 100.
    """
    return SCORERS[type(data)](embed, data)
