"""Small sources and configurations for the tests of the room."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data_prep.config import CorpusConfig, SourceConfig


def corpus_config(sources: Sequence[SourceConfig], **changes: Any) -> CorpusConfig:
    """Make a configuration; whole documents, nothing held out or shuffled unless asked."""
    settings: dict[str, Any] = {
        "rows_per_shard": 64,
        "cut_fraction": 0.0,
        "min_sentences": 1,
        "max_sentences": 10,
        "word_shuffle_fraction": 0.0,
        "held_out_fraction": 0.0,
    }
    return CorpusConfig(sources=tuple(sources), **(settings | changes))


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def articles(number: int) -> list[dict[str, Any]]:
    """Make documents of one to twelve sentences, all of them different."""
    return [
        {
            "id": f"article-{index}",
            "text": " ".join(
                f"Article {index} says in sentence {sentence} that rivers run to the sea."
                for sentence in range(1 + index * 7 % 12)
            ),
        }
        for index in range(number)
    ]


def questions(number: int) -> list[dict[str, Any]]:
    return [{"text": f"Where does river {index} begin?  Does it end?"} for index in range(number)]


def two_sources(directory: Path, passages: int = 600, asked: int = 300) -> list[SourceConfig]:
    """Write a source of passages and one of questions, weighted 4 to 1."""
    directory.mkdir(parents=True, exist_ok=True)
    write_jsonl(directory / "articles.jsonl", articles(passages))
    write_jsonl(directory / "questions.jsonl", questions(asked))
    return [
        SourceConfig(
            name="articles", path=str(directory / "articles.jsonl"), id_field="id", weight=0.8
        ),
        SourceConfig(
            name="questions",
            path=str(directory / "questions.jsonl"),
            role="question",
            weight=0.2,
            license="CC0",
        ),
    ]


def file_bytes(directory: Path) -> dict[str, bytes]:
    """Read every file below a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def silent(_line: str) -> None:
    """Report to nobody."""
