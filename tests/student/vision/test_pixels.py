"""Images become pixel values one at a time, with the numbers of all of them together."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data_prep.pairs.corpus import PairCorpus
from data_prep.pairs.images import decode_rgb
from data_prep.pairs.prepare import prepare_pairs
from student.crops import Crops
from student.encode_images import image_states
from student.pair_rows import PairReader, PairRows, image_groups
from student.vision import ImagePixels
from tests.data_prep.pairs.helpers import encoded, shapes
from tests.student.registered.exports import seeing_student
from tests.student.vision.alive import Alive
from tests.student.vision.towers import pictures


def test_one_at_a_time_gives_what_all_at_once_do() -> None:
    pixels = ImagePixels.new(32)
    given = [*pictures(5), pictures(1)[0].convert("L")]
    rgb = [image.convert("RGB") for image in given]
    expected = pixels.processor(rgb, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels(given), expected)
    assert torch.equal(pixels(iter(given)), expected)
    assert pixels([]).shape == (0, 3, 32, 32)


def test_groups_take_one_image_at_a_time() -> None:
    pixels, made = ImagePixels.new(32), Alive(lambda image: image.copy())
    given = pictures(5)
    groups = list(image_groups(map(made, given), (7, 8, 9), pixels, 2))
    assert [group["input_ids"].tolist() for group in groups] == [
        [[7, 8, 9]] * number for number in (2, 2, 1)
    ]
    assert [group["attention_mask"].shape for group in groups] == [(2, 3), (2, 3), (1, 3)]
    assert torch.equal(torch.cat([group["pixel_values"] for group in groups]), pixels(given))
    assert made.held == [0] * 5


def test_encoding_holds_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    student = seeing_student()
    made = Alive(decode_rgb)
    monkeypatch.setattr("student.pair_rows.decode_rgb", made)
    files = [encoded(image) for image in pictures(5)]
    found = image_states(student, files)
    assert made.held == [0] * 5
    alone = np.concatenate([image_states(student, [data]) for data in files])
    np.testing.assert_allclose(found, alone, atol=1e-6)


def test_a_batch_of_pairs_holds_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Store:
        def read_states(self, _name: str, rows: np.ndarray) -> np.ndarray:
            return np.zeros((len(rows), 4), np.float32)

    made = Alive(decode_rgb)
    monkeypatch.setattr("student.pair_rows.decode_rgb", made)
    prepare_pairs(shapes(), tmp_path, lambda _: None)
    rows = PairRows(tmp_path, tmp_path, (7, 8), ImagePixels.new(32), 3, Crops(0.5, 0))
    reader = PairReader(rows, PairCorpus.open(tmp_path), Store())
    batch = reader.read(np.arange(8), 0)
    assert [len(group["pixel_values"]) for group in batch["groups"]] == [3, 3, 2]
    assert made.held == [0] * 8
