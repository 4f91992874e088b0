"""Out of core: the rows of the simple code in memory, however everything is divided."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import duplicates, order, runs, selection, units, writing
from data_prep.config import CorpusConfig, SourceConfig
from data_prep.corpus import Corpus
from data_prep.keys import ORDERED
from data_prep.pieces import Piece
from data_prep.prepare import prepare
from data_prep.readers import parquet
from data_prep.records import Span
from data_prep.runs import RunWriter
from data_prep.scratch import Scratch
from data_prep.selection import Threshold, distinct, nth_smallest, threshold
from data_prep.units import limited, plan_units
from tests.data_prep.helpers import corpus_config, file_bytes, silent
from tests.data_prep.oracle import rows_of

# What it has given out refers to it, so it lives as long as the process.
COUNTING = pa.proxy_memory_pool(pa.default_memory_pool())
MIXED = {
    "cut_fraction": 0.5,
    "max_sentences": 3,
    "word_shuffle_fraction": 0.1,
    "held_out_fraction": 0.1,
}


def odd_sources(directory: Path) -> list[SourceConfig]:
    """Write three sources with duplicates within and between them, blanks, and ids not unique."""
    directory.mkdir(parents=True, exist_ok=True)
    chance = random.Random(1)

    def text() -> str:
        sentences = chance.choice([0, 1, 1, 2, 5, 9])
        return " ".join(f"Number {chance.randrange(150)} é stays." for _ in range(sentences))

    for name in ("a", "b"):
        records = [{"id": f"{name}{chance.randrange(60)}", "text": text()} for _ in range(150)]
        pq.write_table(
            pa.Table.from_pylist(records), directory / f"{name}.parquet", row_group_size=32
        )
    for name in ("c", "d", "e"):
        lines = [json.dumps({"text": f"Where is {chance.randrange(400)}?"}) for _ in range(90)]
        (directory / f"{name}.jsonl").write_text("\n".join(lines))
    for number in range(40):
        (directory / f"{number}.txt").write_text(text())
    return [
        SourceConfig(name="web", path=str(directory / "*.parquet"), id_field="id", weight=3),
        SourceConfig(name="asked", path=str(directory / "*.jsonl"), role="question", weight=2),
        SourceConfig(name="notes", path=str(directory / "*.txt"), format="text", weight=0.7),
    ]


@pytest.fixture
def tiny_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is divided is divided into many."""
    monkeypatch.setattr(parquet, "PIECE_BYTES", 1)
    monkeypatch.setattr(units, "SMALLEST", 1000)
    monkeypatch.setattr(units, "_UNKNOWN_SIZE", 1)
    monkeypatch.setattr(runs, "RUN_SPANS", 40)
    monkeypatch.setattr(runs, "_BATCH_BYTES", 100)
    monkeypatch.setattr(duplicates, "PART_SPANS", 150)
    monkeypatch.setattr(order, "PARTITION_ROWS", 60)
    monkeypatch.setattr(selection, "_IN_MEMORY", 3)
    monkeypatch.setattr(writing, "SLAB_BYTES", 1)


def rows_in(directory: Path) -> list[dict[str, object]]:
    corpus = Corpus.open(directory)
    return [
        row for shard in range(corpus.num_shards) for row in corpus.read_shard(shard).to_pylist()
    ]


@pytest.mark.parametrize("texts", [None, 100])
@pytest.mark.parametrize("seed", range(3))
def test_the_rows_are_those_of_the_simple_code(
    texts: int | None, seed: int, tmp_path: Path, tiny_portions: None
) -> None:
    config = corpus_config(
        odd_sources(tmp_path / "data"), texts=texts, seed=seed, rows_per_shard=320, **MIXED
    )
    manifest = prepare(config, tmp_path / "out", silent)
    expected, held_out = rows_of(config)
    assert rows_in(tmp_path / "out") == [span._asdict() for span in expected]
    assert manifest.held_out_rows == held_out > 0
    documents = {(span.source, span.doc_id) for span in expected}
    assert manifest.counts["documents"] == len(documents)
    first = {(span.source, span.doc_id) for span in expected[:held_out]}
    assert manifest.counts["held_out_documents"] == len(first)
    assert manifest.dropped["duplicate"] > 100


def test_the_bytes_do_not_depend_on_how_things_are_divided(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = corpus_config(odd_sources(tmp_path / "data"), rows_per_shard=320, **MIXED)
    prepare(config, tmp_path / "whole", silent)
    request.getfixturevalue("tiny_portions")
    assert len(plan_units(config)) > 10
    prepare(config, tmp_path / "divided", silent)
    assert file_bytes(tmp_path / "whole") == file_bytes(tmp_path / "divided")


def test_documents_that_all_share_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a number, the digest of the text decides instead of the text: still one order."""
    path = tmp_path / "x.jsonl"
    texts = [f"Text {number}." for number in range(200)]
    corpora = []
    monkeypatch.setattr(order, "MOST_TIED", 50)
    for name, lines in (("forwards", texts), ("backwards", texts[::-1])):
        path.write_text("\n".join(json.dumps({"id": 1, "text": text}) for text in lines))
        source = SourceConfig(name="one", path=str(path), id_field="id")
        prepare(corpus_config([source], texts=120), tmp_path / name, silent)
        corpora.append([row["text"] for row in rows_in(tmp_path / name)])
    assert corpora[0] == corpora[1]
    assert len(set(corpora[0])) == 120
    assert corpora[0] != sorted(corpora[0])


@pytest.mark.parametrize("most", [1, 40, 100, 149, 150, 151, 299, 10_000])
def test_at_most_so_many_documents_of_several_pieces(
    most: int, tmp_path: Path, tiny_portions: None
) -> None:
    web, asked, _ = odd_sources(tmp_path / "data")
    sources = [one.model_copy(update={"max_documents": most}) for one in (web, asked)]
    config = corpus_config(sources, rows_per_shard=320)
    manifest = prepare(config, tmp_path / "out", silent)
    assert [source.documents for source in manifest.sources] == [min(most, 300), min(most, 270)]
    assert rows_in(tmp_path / "out") == [span._asdict() for span in rows_of(config)[0]]


def test_pieces_that_are_not_needed_are_not_read() -> None:
    pieces = [Piece(str(number), documents=10) for number in range(4)]
    assert [limit for _, limit in limited(pieces, 25)] == [10, 10, 5]
    assert [limit for _, limit in limited(pieces, None)] == [None] * 4
    assert [limit for _, limit in limited([Piece("a"), Piece("b")], 25)] == [None] * 2


NUMBERS = st.lists(
    st.lists(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 3)), max_size=20), min_size=1
)


@given(NUMBERS.filter(any), st.data())
def test_the_nth_smallest(lists: list[list[int]], data: st.DataObject) -> None:
    chunks = [np.array(one, np.uint64) for one in lists]
    ordered = sorted(number for one in lists for number in one)
    n = data.draw(st.integers(1, len(ordered)))
    limit = data.draw(st.sampled_from([0, 3, 2**22]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_IN_MEMORY", limit)
        assert nth_smallest(lambda: chunks, n) == ordered[n - 1]
        if limit:
            assert distinct(lambda: chunks, len(ordered)) == len(set(ordered))


def test_a_threshold_takes_exactly_so_many() -> None:
    from data_prep.keys import OFFERED

    offers = np.zeros(60, OFFERED)
    offers["take"] = np.arange(60) // 7
    offers["text"] = np.arange(60)

    def lowest(ties: np.ndarray, count: int) -> np.ndarray:
        return ties[:count]

    for count in range(61):
        found = threshold(lambda: iter([offers[:13], offers[13:]]), count, lowest)
        assert np.flatnonzero(found.chooses(offers)).tolist() == list(range(count))
    assert threshold(lambda: iter([offers]), 14, lowest) == Threshold(1)


def test_a_changed_setting_goes_on_from_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many texts are wanted is often found out from the error that says there are fewer."""
    from data_prep import making
    from data_prep.errors import PipeError

    sources = odd_sources(tmp_path / "data")
    read: list[int] = []
    original = making.ReadUnits.__call__

    def counted(self: making.ReadUnits) -> object:
        read.append(1)
        return original(self)

    monkeypatch.setattr(making.ReadUnits, "__call__", counted)
    with pytest.raises(PipeError, match="set texts to"):
        prepare(corpus_config(sources, texts=10_000), tmp_path / "out", silent)
    config: CorpusConfig = corpus_config(sources, texts=50)
    prepare(config, tmp_path / "out", silent)
    assert len(read) == 1
    prepare(config, tmp_path / "fresh", silent)
    assert file_bytes(tmp_path / "out") == file_bytes(tmp_path / "fresh")


def test_shards_that_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = corpus_config(odd_sources(tmp_path / "data"), **MIXED)
    manifest = prepare(config, tmp_path / "together", silent)
    maker = writing.WriteShards(tmp_path, manifest.rows, 64, 20.0)
    assert all(len(task) == 1 for task in maker.tasks())
    monkeypatch.setattr(writing, "_LEAST_TASKS", 2)
    assert next(len(task) for task in maker.tasks()) > 1
    assert [shard for task in maker.tasks() for shard in task] == list(
        range(len(manifest.text_digests))
    )
    prepare(config, tmp_path / "apart", silent)
    assert file_bytes(tmp_path / "together") == file_bytes(tmp_path / "apart")


def test_rows_scattered_over_the_runs_need_the_memory_of_one_run(tmp_path: Path) -> None:
    # Held-out rows are: each of them is in another batch of 64 KiB.
    scratch, spans_of_a_run, number_of_runs = Scratch(tmp_path), 2_000, 24
    for number in range(number_of_runs):
        writer = RunWriter(scratch, number, 0, "web")
        for span in range(spans_of_a_run):
            text = Span("x" * 1000, str(span), "web", "passage", 0, 1, False)
            writer.add(text, bytes(8), bytes(16))
        writer.flush()
        writer.written.put_in_place()
    places = np.zeros(number_of_runs * 20, ORDERED)
    places["unit"] = np.repeat(np.arange(number_of_runs), 20)
    places["index"] = np.tile(np.arange(0, spans_of_a_run, spans_of_a_run // 20), number_of_runs)

    default = pa.default_memory_pool()
    pa.set_memory_pool(COUNTING)
    try:
        table = runs.gather(scratch, places)
    finally:
        pa.set_memory_pool(default)

    assert table.num_rows == len(places)
    of_a_run = spans_of_a_run * 1000
    assert of_a_run / 2 < COUNTING.max_memory() < 3 * of_a_run
