"""Which library finds sentence boundaries best, and how fast?

Errors are boundaries that are missing or too many in a list of texts with their sentences, read by
hand (`benchmarks/sentence_cases.py`). Speed is over texts of `$JASPER_SHARED/data/corpus` where
that is set, else over the list itself, repeated. One thread; a library that is not installed is
left out. `regex` is the rule that everybody writes first.
"""

import os
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.harness import alternate, finish, options, show
from benchmarks.sentence_cases import CASES
from data_prep.sentences import sentences

Splitter = Callable[[str, str], list[str]]
_AFTER_A_STOP = re.compile(r"(?<=[.!?。！？।])\s+|(?<=[。！？])")


def _regex(text: str, _language: str) -> list[str]:
    return _AFTER_A_STOP.split(text)


def _blingfire() -> Splitter:
    library = import_module("blingfire")
    return lambda text, _language: library.text_to_sentences(text).split("\n")


def _pysbd() -> Splitter:
    library = import_module("pysbd")
    made: dict[str, Any] = {}

    def split(text: str, language: str) -> list[str]:
        if language not in made:
            try:
                made[language] = library.Segmenter(language=language, clean=False)
            except ValueError:
                made[language] = library.Segmenter(language="en", clean=False)
        return list(made[language].segment(text))

    return split


_LIBRARIES: dict[str, Callable[[], Splitter]] = {
    "sentencex": lambda: sentences,
    "blingfire": _blingfire,
    "pysbd": _pysbd,
    "regex": lambda: _regex,
}


def starts(pieces: list[str]) -> set[int]:
    """Say where sentences start, by letters alone, so that it does not matter who keeps blanks.

    Args:
        pieces: Sentences.

    Returns:
        How many characters other than whitespace come before each but the first.
    """
    found, before = set(), 0
    for piece in pieces:
        found.add(before)
        before += len("".join(piece.split()))
    return found - {0, before}


def errors(split: Splitter, language: str | None = None) -> tuple[int, int, int]:
    """Count a splitter's errors in the list.

    Args:
        split: Takes a text and a language.
        language: Only the texts of this one; None takes all.

    Returns:
        Boundaries that are missing, boundaries too many, and texts that are not as they should be.
    """
    missing = extra = wrong = 0
    for code, expected in CASES:
        if language is None or code == language:
            true, found = starts(expected), starts(split("".join(expected), code))
            missing += len(true - found)
            extra += len(found - true)
            wrong += true != found
    return missing, extra, wrong


def _loses(split: Splitter) -> int:
    """How many texts of the list do not come back when the sentences are joined."""
    return sum(
        "".join(split("".join(expected), code)) != "".join(expected) for code, expected in CASES
    )


def _corpus(characters: int) -> list[str]:
    shared = os.environ.get("JASPER_SHARED")
    if shared is None:
        texts = ["".join(expected) for _, expected in CASES]
        return texts * max(1, characters // sum(map(len, texts)))
    path = Path(shared) / "data" / "corpus" / "articles.parquet"
    taken: list[str] = []
    for text in pq.read_table(path, columns=["text"])["text"].to_pylist():
        if characters <= 0:
            break
        taken.append(text)
        characters -= len(text)
    return taken


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__)
    splitters: dict[str, Splitter] = {}
    for name, make in _LIBRARIES.items():
        try:
            splitters[name] = make()
        except ImportError:
            print(f"{name} is not installed and is left out")
    texts = _corpus(20_000 if chosen.quick else 1_000_000)
    size = sum(len(text.encode()) for text in texts) / 1e6
    seconds = alternate(
        {
            name: lambda split=split: [split(text, "en") for text in texts]
            for name, split in splitters.items()
        },
        1 if chosen.quick else 3,
    )
    figures: dict[str, object] = {"megabytes": round(size, 3), "cases": len(CASES)}
    rows = []
    for name, split in splitters.items():
        missing, extra, wrong = errors(split)
        rate = size / seconds[name]
        rows.append([name, rate, missing, extra, wrong, _loses(split)])
        figures[f"mb_per_s_{name}"] = round(rate, 2)
        figures[f"boundary_errors_{name}"] = missing + extra
        figures[f"wrong_cases_{name}"] = wrong
        if name != "sentencex":
            figures[f"vs_{name}"] = round(seconds[name] / seconds["sentencex"], 2)
    show(["library", "MB/s", "missing", "too many", "texts wrong", "not lossless"], rows)
    languages = list(dict.fromkeys(code for code, _ in CASES))
    show(
        ["texts wrong", *languages],
        [
            [name, *(errors(split, code)[2] for code in languages)]
            for name, split in splitters.items()
        ],
    )
    finish(figures, chosen.json)


if __name__ == "__main__":
    main()
