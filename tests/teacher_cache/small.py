"""Small corpora and teachers for these tests."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.config import CorpusConfig, SourceConfig
from data_prep.corpus import Corpus
from data_prep.files import write_json
from data_prep.fingerprint import digest
from data_prep.prepare import prepare
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.dummy import DummyEncoder

ROWS_PER_SHARD = 64
WORDS = ["river", "stone", "cloud", "lamp", "green", "quiet", "seven", "window", "north"]


def make_corpus(directory: Path, rows: int, seed: int = 0) -> Corpus:
    """Make a corpus of short texts in shards of 64 rows, a third of them questions."""
    rng = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    sources = []
    for role, weight in (("passage", 2), ("question", 1)):
        path = directory / f"{role}.jsonl"
        lines = [
            json.dumps({"text": f"{role} {n} " + " ".join(rng.choice(WORDS, rng.integers(1, 12)))})
            for n in range(rows)
        ]
        path.write_text("\n".join(lines))
        settings = {"name": role, "path": str(path), "role": role, "weight": weight}
        sources.append(SourceConfig.model_validate(settings))
    config = CorpusConfig(
        sources=tuple(sources),
        texts=rows,
        seed=seed,
        rows_per_shard=ROWS_PER_SHARD,
        cut_fraction=0,
        min_sentences=1,
        max_sentences=1,
        word_shuffle_fraction=0,
        held_out_fraction=0,
    )
    prepare(config, directory / "corpus", lambda line: None)
    return Corpus.open(directory / "corpus")


def change_text(corpus: Corpus, row: int) -> None:
    """Change the text of a row behind the manifest's back."""
    shard, place = divmod(row, ROWS_PER_SHARD)
    table = corpus.read_shard(shard)
    texts = table["text"].to_pylist()
    texts[place] += " changed"
    changed = table.set_column(0, table.schema.field(0), pa.array(texts))
    pq.write_table(changed, corpus.shard_path(shard))


def dummy(name: str = "dummy", dim: int = 16, **changes: object) -> TeacherConfig:
    """A dummy teacher's settings."""
    settings: dict[str, object] = {"kind": "dummy", "model": name, "max_tokens": 64, **changes}
    return TeacherConfig.model_validate({"name": name, "dim": dim, **settings})


class LoggingEncoder(DummyEncoder):
    """Notes, in a file, every shard that it encodes; may be noisy."""

    def __init__(
        self, teacher: TeacherConfig, corpus: Corpus, log: Path, noise: float = 0.0
    ) -> None:
        super().__init__(teacher)
        self._shards = {corpus.texts(n)[0][0]: n for n in range(corpus.num_shards)}
        self._log = log
        self._noise = noise

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        if texts[0] in self._shards:  # the canary's are not
            with self._log.open("a") as file:
                file.write(f"{self._shards[texts[0]]}\n")
        vectors = super().encode(texts, roles)
        rng = np.random.default_rng()
        vectors += self._noise * rng.standard_normal(vectors.shape, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def rewrite(path: Path, **changes: object) -> None:
    """Change a record on disk and make its checksum fit, as a wrong program would."""
    values = {**json.loads(path.read_text()), **changes}
    del values["checksum"]
    write_json(path, {**values, "checksum": digest(values)})


def vector_files(store: Path) -> dict[str, bytes]:
    """Every file of the store's Zarr group."""
    root = store / "vectors.zarr"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
