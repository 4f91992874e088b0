"""Decontamination: exactly the runs of words that are shared, in any file and any script."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import data_prep.decontaminate as module
from data_prep.decontaminate import EvaluationTexts, Overlap, words_of
from data_prep.errors import PipeError
from data_prep.evaluation_texts import texts_of

WORDS = st.lists(st.sampled_from("a b c d ab ba é 中".split()), max_size=12)


def naive(words: list[str], others: list[list[str]], count: int) -> bool:
    def runs(of: list[str]) -> set[tuple[str, ...]]:
        size = min(count, len(of))
        starts = range(len(of) - size + 1) if len(of) >= min(count, 3) else ()
        return {tuple(of[start : start + size]) for start in starts}

    return any(runs(words) & runs(other) for other in others)


@given(WORDS, st.lists(WORDS, max_size=3), st.integers(2, 5))
def test_what_sets_of_runs_say(words: list[str], others: list[list[str]], count: int) -> None:
    texts = EvaluationTexts((("x", " ".join(other)) for other in others), count)
    found = texts.overlap(" ".join(words))
    assert (found is not None) == naive(words_of(" ".join(words)), others, count)
    if found is not None:
        assert f" {found.ngram} " in f" {' '.join(words)} "


def test_long_texts_are_hashed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [str(number) for number in range(500)]
    whole = module._hashes(words, 13)
    monkeypatch.setattr(module, "_BLOCK", 50)
    assert (module._hashes(words, 13) == whole).all()
    assert len(whole) == 488


def test_short_texts_are_compared_as_a_whole() -> None:
    texts = EvaluationTexts([("trec", "Who wrote Hamlet?")], 13)
    assert texts.overlap("who wrote HAMLET") == Overlap("who wrote hamlet", "trec")
    assert texts.overlap("Who wrote Hamlet in English?") is None
    assert texts.overlap("?!") is None
    assert EvaluationTexts([("qrels", "12")], 13).overlap("12") is None
    assert EvaluationTexts([], 13).overlap("Who wrote Hamlet?") is None


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("It’s a “Straße”", "it's a strasse"),
        ("naïve ﬁne ＡＢＣ", "nai\u0308ve fine abc"),
        ("हिन्दी में लिखा", "हिन्दी, में. लिखा!"),
        ("東京タワー", "東京、タワー。"),
        ("snake_case", "snake case"),
    ],
)
def test_words_of_every_script(text: str, same: str) -> None:
    assert words_of(text) == words_of(same)
    assert words_of(text)


def test_words_in_scripts_with_and_without_spaces() -> None:
    assert len(words_of("हिन्दी में लिखा है।")) == 4
    assert len(words_of("東京へ行く")) == 5


def test_every_kind_of_file(tmp_path) -> None:
    (tmp_path / "sts").mkdir()
    rows = [{"sentence1": "first", "score": 3.5, "more": {"list": ["second"], "of": 1}}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "sts" / "a.jsonl").write_text(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.tsv").write_text("first\tsecond\r\n")
    (tmp_path / "d.csv").write_text('first,"sec\nond"\n')
    (tmp_path / "e.txt").write_bytes(b"\xef\xbb\xbffirst\nsecond\n")
    (tmp_path / "f.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "g.parquet")
    (tmp_path / ".hidden.txt").write_text("hidden")
    (tmp_path / "sts" / "a.instruction.txt").write_text("what to do")
    (tmp_path / "README.md").write_text("other")
    found = [(name, " ".join(words_of(text))) for name, text in texts_of(str(tmp_path))]
    names = ["b.jsonl.gz", "c.tsv", "d.csv", "e.txt", "f.json", "g.parquet", "sts/a.jsonl"]
    assert found == [
        (name, word)
        for name in names
        for word in ("first", "sec ond" if name == "d.csv" else "second")
    ]
    assert [name for name, _ in texts_of(str(tmp_path / "c.tsv"))] == ["c.tsv", "c.tsv"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b"{", r"x\.jsonl.* cannot be read"),
        ("x.jsonl.gz", b"no gzip", r"x\.jsonl\.gz.* cannot be read"),
        ("x.tsv", b"\xff\tb", r"x\.tsv.* cannot be read"),
        ("x.parquet", b"PAR1", r"x\.parquet.* cannot be read"),
        ("x.bin", b"", "found no such kind of file"),
        (None, b"", "found no such file"),
    ],
)
def test_mistakes(tmp_path, name: str | None, content: bytes, message: str) -> None:
    if name is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PipeError, match=message):
        EvaluationTexts.read([str(tmp_path if name else tmp_path / "nothing")], 13)
