"""A small sound store with one teacher of every storage, and ways to fill it and to copy it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.config import CorpusConfig
from data_prep.corpus import Corpus
from data_prep.prepare import prepare
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.dummy import FactoredDummyEncoder
from teacher_cache.fill import fill
from teacher_cache.store import TeacherStore
from tests.teacher_cache.small import LoggingEncoder, dummy, make_corpus

ROWS = 234
TEACHERS = {
    "bytes": dummy("bytes", 16, storage="int8"),
    "halves": dummy("halves", 16),
    "states": dummy("states", 24, kind="dummy-factored", storage="factored"),
}
SHARDS = 4


class LoggingFactored(FactoredDummyEncoder):
    """Notes, in a file, every shard that it encodes."""

    def __init__(self, teacher: TeacherConfig, corpus: Corpus, log: Path) -> None:
        super().__init__(teacher)
        self._noted = LoggingEncoder(teacher, corpus, log)

    def encode_states(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        self._noted.encode(texts, roles)
        return super().encode_states(texts, roles)


def teach(store: TeacherStore, corpus: Corpus, log: Path) -> None:
    """Do what is missing; note every shard that is encoded, as `teacher shard`."""
    for name, config in TEACHERS.items():
        own = log.with_name(f"{log.name}-{name}")
        kind = LoggingFactored if config.storage == "factored" else LoggingEncoder
        fill(store, corpus, config, kind(config, corpus, own), say_nothing)
        if own.exists():
            with log.open("a") as file:
                file.writelines(f"{name} {shard}\n" for shard in own.read_text().split())
            own.unlink()


def encoded(log: Path) -> list[tuple[str, int]]:
    """What `teach` has noted."""
    if not log.exists():
        return []
    pairs = (line.split() for line in log.read_text().splitlines())
    return sorted((name, int(shard)) for name, shard in pairs)


@dataclass(frozen=True)
class Sound:
    """A store as it should be, beside its corpus.

    Attributes:
        root: Holds `corpus` and `store`.
        vectors: What reading gives, by teacher.
        digests: Of every shard, by teacher.
    """

    root: Path
    vectors: dict[str, np.ndarray]
    digests: dict[str, list[str]]

    def copy(self, place: Path) -> tuple[Path, Corpus]:
        """Copy store and corpus; the store's directory and the corpus."""
        shutil.copytree(self.root / "store", place / "store")
        shutil.copytree(self.root / "corpus", place / "corpus")
        return place / "store", Corpus.open(place / "corpus")


def make_sound(root: Path) -> Sound:
    """Make one."""
    corpus = make_corpus(root, ROWS)
    store = TeacherStore.create(root / "store", corpus)
    teach(store, corpus, root / "log")
    vectors = {name: store.read_teacher(name, np.arange(ROWS)) for name in TEACHERS}
    return Sound(root, vectors, digests(store))


def digests(store: TeacherStore) -> dict[str, list[str]]:
    """The digests in the commits."""
    found = {}
    for name in TEACHERS:
        commits = [store.commit(name, shard) for shard in range(SHARDS)]
        found[name] = [commit.vectors_digest for commit in commits if commit is not None]
    return found


def prepare_again(corpus: Corpus) -> None:
    """What `pipe prep` does."""
    prepare(CorpusConfig.model_validate(corpus.manifest.config), corpus.directory, say_nothing)


def say_nothing(line: str) -> None:
    """Drop a line of progress."""


def flip(path: Path, byte: int, bit: int) -> None:
    """Turn one bit of a file over."""
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)
