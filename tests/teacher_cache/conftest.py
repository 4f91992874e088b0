"""A corpus of three shards, the last one short, and a filled store of it."""

import shutil
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pytest

from data_prep.corpus import Corpus
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.fill import fill
from teacher_cache.store import TeacherStore
from tests.teacher_cache.s3_server import S3Server
from tests.teacher_cache.small import dummy, make_corpus


@pytest.fixture(scope="session")
def finished_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), rows=170)


@pytest.fixture
def corpus(tmp_path: Path, finished_corpus: Corpus) -> Corpus:
    """A copy of its own, so that a test may change it."""
    copy = tmp_path / "corpus"
    shutil.copytree(finished_corpus.directory, copy)
    return Corpus.open(copy)


@pytest.fixture
def store(tmp_path: Path, corpus: Corpus) -> TeacherStore:
    """A store with two teachers, `narrow` (16) and `wide` (24), all of it committed."""
    made = TeacherStore.create(tmp_path / "store", corpus)
    for config in (dummy("narrow", 16), dummy("wide", 24)):
        fill(made, corpus, config, DummyEncoder(config), lambda line: None)
    return made


@pytest.fixture
def units() -> np.ndarray:
    """Unit rows for one shard of a 16-d teacher, (64, 16) float32."""
    vectors = np.random.default_rng(7).standard_normal((64, 16), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """The URL of a new bucket."""
    url = f"s3://{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(url)
    return url


@pytest.fixture
def memory() -> str:
    """A URL in this process's memory that nothing stands at."""
    return f"memory://{uuid.uuid4().hex}"
