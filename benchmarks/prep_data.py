"""Documents for the benchmark of prep: real sentences put together anew, as many as wanted."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.config import CorpusConfig, SourceConfig
from data_prep.sentences import sentences
from data_prep.sources import read_documents

_ROWS = 10_000
_MOST_SENTENCES = 200_000
_QUESTIONS = 0.2


def real_sentences(shared: str | None) -> list[str]:
    """Collect sentences.

    Args:
        shared: Holds ``data/corpus/articles.parquet``; may be None.

    Returns:
        Sentences of the articles, or else of the prose that every Python installation carries.
    """
    articles = Path(shared or "") / "data" / "corpus" / "articles.parquet"
    if shared and articles.is_file():
        source = SourceConfig(name="articles", path=str(articles))
    else:
        source = SourceConfig(name="prose", format="python-prose", max_documents=10_000)
    found: list[str] = []
    for document in read_documents(source):
        found += [one.strip() for one in sentences(document.text)]
        if len(found) >= _MOST_SENTENCES:
            break
    return [one for one in found if one]


def write_documents(directory: Path, shared: str | None, documents: int, files: int) -> int:
    """Write passages of a lognormal number of sentences, and questions of one, as parquet files.

    Args:
        directory: Where they go: ``passages`` and ``questions``.
        shared: As for ``real_sentences``.
        documents: How many; a fifth are questions.
        files: Files of each.

    Returns:
        Bytes of all texts.
    """
    known = real_sentences(shared)
    rng = np.random.default_rng(0)
    total = 0
    for name, share in (("passages", 1 - _QUESTIONS), ("questions", _QUESTIONS)):
        (directory / name).mkdir(parents=True)
        bounds = np.linspace(0, round(documents * share), files + 1).astype(int)
        for number in range(files):
            first, stop = int(bounds[number]), int(bounds[number + 1])
            path = directory / name / f"{number:03d}.parquet"
            schema = pa.schema([("id", pa.string()), ("text", pa.string())])
            with pq.ParquetWriter(path, schema) as writer:
                for begin in range(first, stop, _ROWS):
                    rows = range(begin, min(begin + _ROWS, stop))
                    lengths = np.ones(len(rows), int)
                    if name == "passages":
                        lengths = rng.lognormal(1.6, 0.7, len(rows)).clip(1, 60).astype(int)
                    chosen = iter(rng.integers(0, len(known), lengths.sum()).tolist())
                    texts = [
                        f"{row} " + " ".join(known[next(chosen)] for _ in range(length))
                        for row, length in zip(rows, lengths.tolist(), strict=True)
                    ]
                    total += sum(len(text.encode()) for text in texts)
                    ids = [f"{name}-{row}" for row in rows]
                    writer.write_table(pa.table({"id": ids, "text": texts}, schema))
    return total


def paper_like(directory: Path) -> CorpusConfig:
    """Make the configuration for such documents: the paper's numbers, and every span taken.

    Args:
        directory: Where the documents are.

    Returns:
        The configuration.
    """
    return CorpusConfig(
        sources=tuple(
            SourceConfig(
                name=name, path=str(directory / name), id_field="id", role=role, weight=weight
            )
            for name, role, weight in (
                ("passages", "passage", 1 - _QUESTIONS),
                ("questions", "question", _QUESTIONS),
            )
        ),
        rows_per_shard=65_536,
        cut_fraction=0.3,
        min_sentences=1,
        max_sentences=10,
        word_shuffle_fraction=0.0008,
        held_out_fraction=0.001,
    )
