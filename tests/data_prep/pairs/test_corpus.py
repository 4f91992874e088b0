"""Images and labels by row; every byte is vouched for."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.pairs.corpus import PairCorpus
from data_prep.pairs.prepare import prepare_pairs
from tests.data_prep.helpers import corpus_config, silent, two_sources
from tests.data_prep.pairs.helpers import config, folder, png, shapes, source


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pairs")
    prepare_pairs(shapes(), directory, silent)
    return directory


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_rows_in_any_order(made: Path) -> None:
    corpus = PairCorpus.open(made)
    images, labels = corpus.images(range(200)), corpus.labels(range(200))
    rows = np.random.default_rng(0).integers(0, 200, 300)
    assert corpus.images(rows) == [images[row] for row in rows]
    assert corpus.labels(rows) == [labels[row] for row in rows]
    assert corpus.images([]) == corpus.labels([]) == []
    for row in (-1, 200):
        with pytest.raises(IndexError):
            corpus.images([row])
        with pytest.raises(IndexError):
            corpus.labels([row])


def test_captions_are_an_ordinary_corpus(made: Path) -> None:
    corpus = PairCorpus.open(made)
    assert corpus.captions.manifest == Corpus.open(made).manifest
    assert corpus.held_out_rows == corpus.captions.held_out_rows == 48
    assert corpus.rows == 200
    captions, roles = corpus.captions.take(range(200))
    assert set(roles) == {"passage"}
    assert len(set(captions[:48])) == 48
    for caption, label in zip(captions, corpus.labels(range(200)), strict=True):
        assert label is not None
        assert label in caption
    combinations = [
        row["doc_id"].split("/")[0]
        for shard in range(corpus.captions.num_shards)
        for row in corpus.captions.read_shard(shard).to_pylist()
    ]
    assert len(set(combinations[:48])) == 48
    assert not set(combinations[:48]) & set(combinations[48:])


def test_a_worker_gets_the_same(made: Path) -> None:
    corpus = PairCorpus.open(made)
    corpus.images([3])
    other = pickle.loads(pickle.dumps(corpus))
    assert other.images(range(200)) == corpus.images(range(200))
    assert other.fingerprint == corpus.fingerprint


def test_the_fingerprint_covers_captions_and_images(tmp_path: Path) -> None:
    def fingerprint(name: str) -> tuple[str, str]:
        prepare_pairs(config(source(path)), tmp_path / name, silent)
        corpus = PairCorpus.open(tmp_path / name)
        return corpus.fingerprint, corpus.captions.fingerprint

    path = folder(tmp_path / "data")
    first = fingerprint("first")
    assert fingerprint("again") == first
    (path.parent / "003.png").write_bytes(png(99))
    other_image = fingerprint("other-image")
    assert other_image[0] != first[0]
    assert other_image[1] == first[1]
    path.write_text(path.read_text().replace("Picture 3", "Image 3"))
    assert fingerprint("other-caption")[0] not in {first[0], other_image[0]}


def test_a_flipped_bit_of_an_image_is_found(copy: Path) -> None:
    image = PairCorpus.open(copy).images([70])[0]
    path = copy / "images-00001.parquet"
    content = bytearray(path.read_bytes())
    content[content.index(image) + len(image) // 2] ^= 1
    path.write_bytes(content)
    corpus = PairCorpus.open(copy)
    with pytest.raises(PipeError, match=r"images-00001.parquet is damaged .*row 6 has changed"):
        corpus.images([70])
    corpus.images([5])  # another shard


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda path: path.unlink(), "is missing; run `pipe prep` again"),
        (lambda path: path.write_bytes(b"PAR1 no"), "is damaged .*remove it, and run `pipe prep`"),
        (
            lambda path: path.write_bytes((path.parent / "images-00002.parquet").read_bytes()),
            "does not describe the images that images.json records",
        ),
        (
            lambda path: path.write_bytes((path.parent / "spans-00001.parquet").read_bytes()),
            "is damaged",
        ),
    ],
)
def test_a_missing_or_foreign_shard_is_told(harm, sentence: str, copy: Path) -> None:
    harm(copy / "images-00001.parquet")
    corpus = PairCorpus.open(copy)
    for read in (corpus.images, corpus.labels):
        with pytest.raises(PipeError, match=f"images-00001.parquet {sentence}|{sentence}"):
            read([70])


def test_a_directory_without_images_is_told(copy: Path, tmp_path_factory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(PipeError, match="holds no finished corpus"):
        PairCorpus.open(empty)
    content = (copy / "images.json").read_text()
    (copy / "images.json").write_text(content.replace('"rows": 200', '"rows": "many"'))
    with pytest.raises(PipeError, match=r"images.json is damaged \(rows: "):
        PairCorpus.open(copy)
    (copy / "images.json").write_text(content.replace('"captions": "', '"captions": "0'))
    with pytest.raises(PipeError, match="does not belong to the captions"):
        PairCorpus.open(copy)
    (copy / "images.json").unlink()
    with pytest.raises(PipeError, match=r"holds captions without images \(.*images.json is miss"):
        PairCorpus.open(copy)


def test_a_text_corpus_is_not_taken_for_pairs(tmp_path: Path) -> None:
    from data_prep.prepare import prepare

    prepare(corpus_config(two_sources(tmp_path / "data")), tmp_path / "corpus", silent)
    with pytest.raises(PipeError, match="holds pairs of another configuration"):
        prepare_pairs(shapes(), tmp_path / "corpus", silent)
