"""At size: the paper's fractions within the bounds of chance, and memory that does not grow."""

import os
from collections import Counter
from math import sqrt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.prep import alone
from benchmarks.prep_data import paper_like, write_documents
from data_prep.config import SourceConfig
from data_prep.corpus import Corpus
from data_prep.executors.processes import Processes
from data_prep.prepare import prepare
from tests.data_prep.helpers import corpus_config, silent

SENTENCES = 24
SIGMAS = 5


def write_sources(directory: Path, passages: int) -> list[SourceConfig]:
    """Passages of so many sentences, and questions enough that every passage is taken."""
    text = " ".join(f"Sentence {{0}}, {number} of many." for number in range(SENTENCES))
    sources = []
    for name, count, pattern, weight in (
        ("passages", passages, text, 0.8),
        ("questions", passages, "Where is {0}?", 0.2),
    ):
        path = directory / f"{name}.parquet"
        with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
            for first in range(0, count, 5000):
                rows = range(first, min(first + 5000, count))
                writer.write_table(pa.table({"text": [pattern.format(row) for row in rows]}))
        role = "question" if name == "questions" else "passage"
        sources.append(SourceConfig(name=name, path=str(path), role=role, weight=weight))
    return sources


def near(found: int, trials: int, chance: float) -> bool:
    return abs(found - trials * chance) <= SIGMAS * sqrt(trials * chance * (1 - chance))


@pytest.mark.parametrize("documents", [8_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_the_fractions_of_the_paper(documents: int, tmp_path: Path) -> None:
    config = corpus_config(
        write_sources(tmp_path, documents),
        rows_per_shard=8192,
        cut_fraction=0.3,
        word_shuffle_fraction=0.0008,
        held_out_fraction=0.001,
    )
    manifest = prepare(config, tmp_path / "out", silent, Processes())
    passages, questions = manifest.sources
    assert passages.available - passages.spans <= 4
    assert abs(passages.spans - 4 * questions.spans) < 5
    assert near(manifest.counts["words_shuffled"], manifest.rows, 0.0008)
    assert manifest.counts["words_shuffled"] > 0
    assert manifest.held_out_rows >= manifest.rows * 0.001

    uncut = 0
    lengths: Counter[int] = Counter()
    corpus = Corpus.open(tmp_path / "out")
    for shard in range(corpus.num_shards):
        rows = corpus.read_shard(shard).select(["role", "first_sentence", "num_sentences"])
        for role, first, length in zip(*rows.to_pydict().values(), strict=True):
            if role == "passage":
                uncut += length == SENTENCES
                # A run that could not be longer than what is left says nothing of the choice.
                lengths[length] += length < SENTENCES and first <= SENTENCES - 10
    assert near(uncut, documents, 0.7)
    assert set(lengths) - {SENTENCES} == set(range(1, 11))
    del lengths[SENTENCES]
    runs = sum(lengths.values())
    assert all(near(count, runs, 0.1) for count in lengths.values())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    peaks = []
    for documents in (150_000, 600_000):
        directory = tmp_path / str(documents)
        write_documents(directory / "data", os.environ.get("JASPER_SHARED"), documents, files=4)
        made = alone(paper_like(directory / "data"), directory, workers=2)
        peaks.append(made["peak_rss_mb"])
    assert peaks[1] < 1024
    assert peaks[1] < peaks[0] + 200
