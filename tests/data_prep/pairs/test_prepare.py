"""Pairs follow from their configuration and sources; nothing held out is trained on."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.errors import PipeError
from data_prep.files import exclusive
from data_prep.manifest import CorpusManifest
from data_prep.pairs.config import PairsConfig, PairSourceConfig
from data_prep.pairs.corpus import PairCorpus
from data_prep.pairs.prepare import prepare_pairs, standing_pairs
from tests.data_prep.helpers import file_bytes, silent
from tests.data_prep.pairs.helpers import (
    config,
    folder,
    png,
    shapes,
    source,
    write_jsonl,
    write_parquet,
    write_tar,
)


def rows_of(directory: Path) -> list[tuple[str, bytes]]:
    corpus = PairCorpus.open(directory)
    rows = range(corpus.rows)
    return list(zip(corpus.captions.take(rows)[0], corpus.images(rows), strict=True))


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    assert prepare_pairs(shapes(), tmp_path / "a", silent) == prepare_pairs(
        shapes(), tmp_path / "b", silent
    )
    assert file_bytes(tmp_path / "a") == file_bytes(tmp_path / "b")
    assert sorted(file_bytes(tmp_path / "a")) == [
        *(f"images-0000{shard}.parquet" for shard in range(4)),
        "images.json",
        "manifest.json",
        *(f"spans-0000{shard}.parquet" for shard in range(4)),
    ]


def test_rows_do_not_depend_on_the_order_of_the_records(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", 40)
    wanted = config(source(path), pairs=30, held_out=10)
    prepare_pairs(wanted, tmp_path / "a", silent)
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    prepare_pairs(wanted, tmp_path / "b", silent)
    assert file_bytes(tmp_path / "a") == file_bytes(tmp_path / "b")


def test_every_byte_of_every_image_comes_out_as_it_went_in(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", 150)
    manifest = prepare_pairs(config(source(path), held_out=10), tmp_path / "out", silent)
    expected = [(f"Picture {i}. Noise.", png(i)) for i in range(150)]
    rows = rows_of(tmp_path / "out")
    assert sorted(rows) == sorted(expected)
    assert rows != expected
    assert manifest.rows == 150
    assert manifest.counts == {"images": 150, "labelled": 0, "sentences": 300}
    assert json.loads((tmp_path / "out/images.json").read_text())["image_bytes"] == sum(
        len(image) for _, image in expected
    )


def test_the_manifest_tells_what_was_left_out(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", 40)
    (path.parent / "000.png").write_bytes(b"")
    (path.parent / "001.png").unlink()
    record = {"image": "002.png", "caption": ""}
    again = {"image": "003.png", "caption": "Picture 3. Noise."}
    path.write_text(path.read_text() + json.dumps(record) + "\n" + json.dumps(again) + "\n")
    lines: list[str] = []
    one = source(path, license="CC0")
    manifest = prepare_pairs(config(one, pairs=20, held_out=5), tmp_path / "out", lines.append)
    assert manifest.dropped == {"empty": 1, "duplicate": 1}
    skipped = {"skipped_empty_file": 1, "skipped_missing_image": 1, "left_out_not_wanted": 18}
    assert manifest.counts == {"images": 20, "labelled": 0, "sentences": 40} | skipped
    (record_of,) = manifest.sources
    assert (record_of.documents, record_of.available, record_of.spans) == (42, 39, 20)
    assert (record_of.license, record_of.role) == ("CC0", "passage")
    assert any("1 skipped as missing_image; the first: " in line for line in lines)
    assert PairsConfig.model_validate(manifest.config).sources == (one,)


def held_out_and_training(
    one: PairSourceConfig, directory: Path, **changes: Any
) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]], CorpusManifest]:
    manifest = prepare_pairs(config(one, **changes), directory, silent)
    rows = rows_of(directory)
    return rows[: manifest.held_out_rows], rows[manifest.held_out_rows :], manifest


def test_held_out_images_are_never_trained_on(tmp_path: Path) -> None:
    # Three captions for each of 20 images, under three names.
    records = []
    for i in range(60):
        (tmp_path / f"{i}.png").write_bytes(png(i % 20))
        records.append({"image": f"{i}.png", "caption": f"Noise {i}."})
    held, rest, manifest = held_out_and_training(
        source(write_jsonl(tmp_path, records)), tmp_path / "out", held_out=6
    )
    assert len(held) == len({image for _, image in held}) == 6
    assert not {image for _, image in held} & {image for _, image in rest}
    assert len(rest) == 3 * 14
    assert manifest.counts["left_out_held_out_repeated"] == 2 * 6


def test_held_out_captions_are_distinct(tmp_path: Path) -> None:
    columns = {"image": [png(i) for i in range(40)], "caption": ["Noise.", " noise. "] * 20}
    path = write_parquet(tmp_path / "a.parquet", columns)
    held, rest, _ = held_out_and_training(source(path), tmp_path / "out", held_out=1)
    assert len(held) == 1
    assert len(rest) == 39
    with pytest.raises(PipeError, match="held_out is 2 and the sources have 1 pairs with distinct"):
        prepare_pairs(config(source(path), held_out=2), tmp_path / "no", silent)


def test_a_split_that_the_source_names(tmp_path: Path) -> None:
    # Of the test split, two images are in the training split as well, and six whole pairs.
    images = [png(i) for i in [*range(30), 0, 1, *range(2, 8)]]
    captions = [f"Noise {i}." for i in [*range(30), 30, 31, *range(2, 8)]]
    split = ["test"] * 10 + ["train"] * 28
    columns = {"image": images, "caption": captions, "split": split}
    one = source(write_parquet(tmp_path / "a.parquet", columns), split_field="split")
    held, rest, manifest = held_out_and_training(one, tmp_path / "out", held_out=10)
    assert sorted(held) == sorted(zip(captions[:10], images[:10], strict=True))
    assert sorted(rest) == sorted(zip(captions[10:30], images[10:30], strict=True))
    assert manifest.counts["left_out_held_out_image"] == 2
    assert manifest.dropped["duplicate"] == 6
    # Fewer held out: those of the split that are not needed are still not trained on.
    held, rest, manifest = held_out_and_training(one, tmp_path / "fewer", held_out=4)
    assert set(held) < set(zip(captions[:10], images[:10], strict=True))
    assert not {image for _, image in rest} & {image for _, image in held}
    assert {caption for caption, _ in rest} <= set(captions[10:])
    assert manifest.counts["left_out_held_out_unused"] == 6
    with pytest.raises(PipeError, match="held_out is 11 and the sources have 10 pairs"):
        prepare_pairs(config(one, held_out=11), tmp_path / "more", silent)


def test_groups_are_held_out_whole(tmp_path: Path) -> None:
    columns = {
        "image": [png(i) for i in range(40)],
        "caption": [f"Chapter {i // 4}, figure {i}." for i in range(40)],
        "chapter": [i // 4 for i in range(40)],
    }
    one = source(write_parquet(tmp_path / "a.parquet", columns), group_field="chapter")
    held, rest, manifest = held_out_and_training(one, tmp_path / "out", held_out=6)

    def chapters(rows: list[tuple[str, bytes]]) -> set[str]:
        return {caption.split(",")[0] for caption, _ in rows}

    assert len(chapters(held)) == 2
    assert not chapters(held) & chapters(rest)
    assert (len(held), len(rest)) == (6, 32)
    assert manifest.counts["left_out_held_out_unused"] == 2


def test_several_sources(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", 50)
    both = PairsConfig(
        sources=(source(path, name="a"), source(format="shapes", name="b", max_pairs=60)),
        held_out=20,
        rows_per_shard=64,
    )
    manifest = prepare_pairs(both, tmp_path / "out", silent)
    assert [one.spans for one in manifest.sources] == [50, 60]
    labels = PairCorpus.open(tmp_path / "out").labels(range(110))
    # What a source sets aside is held out first.
    assert None not in labels[:20]
    assert Counter(label is None for label in labels[20:]) == {True: 50, False: 40}


def test_too_few_pairs_are_told(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", 20)
    with pytest.raises(PipeError, match="16 pairs to train on beside 4 held out, expected 26"):
        prepare_pairs(config(source(path), pairs=30, held_out=4), tmp_path / "a", silent)
    with pytest.raises(PipeError, match="0 pairs to train on beside 20 held out, expected 1;"):
        prepare_pairs(config(source(path), held_out=20), tmp_path / "b", silent)
    assert not list((tmp_path / "b").iterdir())
    with pytest.raises(ValueError, match="held_out is 8 and pairs 8; expected fewer held out"):
        shapes(pairs=8, held_out=8)


def test_standing_pairs_are_left_alone(tmp_path: Path) -> None:
    path = folder(tmp_path / "data")
    wanted = config(source(path))
    made = prepare_pairs(wanted, tmp_path / "out", silent)
    shutil.rmtree(path.parent)  # not needed any more
    lines: list[str] = []
    assert prepare_pairs(wanted, tmp_path / "out", lines.append) == made
    assert lines == ["the pairs stand: 20 rows in 1 shards (pairs 20), 0 held out"]


def test_a_changed_configuration_is_refused(tmp_path: Path) -> None:
    prepare_pairs(shapes(), tmp_path / "out", silent)
    with pytest.raises(PipeError, match="another configuration: held_out changed from 48 to 40"):
        prepare_pairs(shapes(held_out=40), tmp_path / "out", silent)
    # A setting that came later had its default then.
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    del manifest["config"]["on_error"]
    (tmp_path / "out/manifest.json").write_text(json.dumps(manifest))
    prepare_pairs(shapes(), tmp_path / "out", silent)


@pytest.mark.parametrize("gone", [None, "spans-00000.parquet", "images-00000.parquet"])
def test_what_decides_no_byte_may_change(gone: str | None, tmp_path: Path) -> None:
    path = folder(tmp_path / "data")
    settled = config(source(path, license="MIT"), on_error="stop")
    prepare_pairs(settled, tmp_path / "expected", silent)
    prepare_pairs(config(source(path)), tmp_path / "out", silent)
    if gone is not None:
        (tmp_path / "out" / gone).unlink()
    assert standing_pairs(settled, tmp_path / "out") is not None
    manifest = prepare_pairs(settled, tmp_path / "out", silent)
    assert manifest.sources[0].license == "MIT"  # which the student's card repeats
    assert file_bytes(tmp_path / "out") == file_bytes(tmp_path / "expected")


@pytest.mark.parametrize("name", ["images-00001.parquet", "spans-00002.parquet", "images.json"])
def test_a_missing_file_is_made_again(name: str, tmp_path: Path) -> None:
    prepare_pairs(shapes(), tmp_path, silent)
    expected = file_bytes(tmp_path)
    (tmp_path / name).unlink()
    prepare_pairs(shapes(), tmp_path, silent)
    assert file_bytes(tmp_path) == expected


@pytest.mark.parametrize("change", ["caption", "image"])
def test_other_sources_do_not_mend_a_corpus(change: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "data")
    prepare_pairs(config(source(path)), tmp_path / "out", silent)
    (tmp_path / "out/images-00000.parquet").unlink()
    if change == "caption":
        path.write_text(path.read_text().replace("Picture 3", "Image 3"))
    else:
        (path.parent / "003.png").write_bytes(png(99))
    with pytest.raises(PipeError, match=f"changed since the pairs were made .*other {change}s"):
        prepare_pairs(config(source(path)), tmp_path / "out", silent)


def test_one_at_a_time(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "out", "is preparing"),
        pytest.raises(PipeError, match="another process is preparing"),
    ):
        prepare_pairs(shapes(), tmp_path / "out", silent)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(PipeError, match=r"cannot be written .*No space left on device"):
        prepare_pairs(shapes(), tmp_path, silent)
    assert not list(tmp_path.iterdir())


def test_a_source_that_changes_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [(f"{i}{end}", content) for i in range(9) for end, content in
               ((".txt", b"Noise %d." % i), (".png", png(i)))]  # fmt: skip
    path = write_tar(tmp_path / "a.tar", members)

    def change(line: str) -> None:
        if "9 records" in line:
            path.write_bytes(path.read_bytes()[::-1])

    with pytest.raises(PipeError, match=r"a\.tar \(\d\.png\) has changed since it was read"):
        prepare_pairs(config(source(path)), tmp_path / "out", change)


@pytest.mark.shared
def test_the_figures_of_the_books(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    shared = Path(os.environ.get("JASPER_SHARED", root.parent / "shared"))
    path = shared / "data" / "images" / "captions.jsonl"
    if not path.is_file():
        pytest.skip("needs the data that JASPER_SHARED names")
    one = source(path, image_field="file", label_field="kind", group_field="module", max_pairs=500)
    manifest = prepare_pairs(config(one, held_out=50), tmp_path, silent)
    assert manifest.rows >= 490
    corpus = PairCorpus.open(tmp_path)
    assert {*corpus.labels(np.arange(corpus.rows))} == {"photo", "graphic_or_other"}
    by_caption = {
        record["caption"]: path.parent / record["file"]
        for record in map(json.loads, path.read_text().splitlines()[:500])
    }
    captions, images = corpus.captions.take(range(50))[0], corpus.images(range(50))
    assert all(
        by_caption[caption].read_bytes() == image
        for caption, image in zip(captions, images, strict=True)
    )
