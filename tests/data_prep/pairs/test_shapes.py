"""The world of shapes: deterministic, told apart by its captions, and held out by combination."""

from collections import Counter
from dataclasses import astuple

import numpy as np
import pytest

from data_prep.errors import PipeError
from data_prep.pairs.config import PairsConfig
from data_prep.pairs.drawing import COLOURS, KINDS, PLACES, Scene, draw_png
from data_prep.pairs.images import decode_rgb
from data_prep.pairs.records import Found
from data_prep.pairs.shapes import caption_of, combinations, read_shapes, split_combinations
from tests.data_prep.pairs.helpers import shapes


def drawn(config: PairsConfig) -> list[Found]:
    return list(read_shapes(config.sources[0], config))


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    once, again, other = drawn(shapes()), drawn(shapes()), drawn(shapes(seed=1))
    assert once == again
    assert not {one.data for one in once} & {one.data for one in other}
    # Fewer pictures are the first of more.
    assert [one for one in drawn(shapes(pairs=100)) if one.held_out is False] == [
        one for one in once if one.held_out is False
    ][:52]


def test_no_two_pictures_are_the_same() -> None:
    # Every combination several times.
    pictures = drawn(shapes(pairs=4000, held_out=2))
    assert len({one.data for one in pictures}) == len({one.doc_id for one in pictures}) == 4000


def test_held_out_combinations_are_never_trained_on() -> None:
    pictures = drawn(shapes(pairs=4000, held_out=300))
    aside = [one.doc_id.split("/")[0] for one in pictures if one.held_out]
    others = Counter(one.doc_id.split("/")[0] for one in pictures if one.held_out is False)
    assert len(aside) == len(set(aside)) == 300
    assert len(others) == len(combinations()) - 300
    assert not set(aside) & set(others)


@pytest.mark.parametrize("held_out", [1, 48, 300, 1000])
def test_every_value_of_every_attribute_is_trained_on_often(held_out: int) -> None:
    aside, others = split_combinations(held_out, seed=0)
    assert len(aside) == held_out
    assert sorted(map(astuple, aside + others)) == sorted(map(astuple, combinations()))
    for attribute in range(5):
        everywhere = Counter(astuple(one)[attribute] for one in combinations())
        trained = Counter(astuple(one)[attribute] for one in others)
        assert all(trained[value] >= total // 2 for value, total in everywhere.items())


def test_too_many_held_out_are_refused() -> None:
    with pytest.raises(PipeError, match=r"2,000 and of the 2,880 combinations .* lower it"):
        split_combinations(2000, seed=0)
    with pytest.raises(PipeError, match="set its max_pairs, or pairs"):
        drawn(shapes(pairs=None))


def test_a_caption_fits_one_combination() -> None:
    said: dict[str, str] = {}
    for one in combinations():
        for variation in range(12):
            caption = caption_of(one, 0, f"{one.name}/{variation}")
            assert said.setdefault(caption, one.name) == one.name
    assert len(said) > 10 * len(combinations())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_shows_its_colour_at_its_place(kind: str, place: str) -> None:
    for number, (colour, shade) in enumerate(COLOURS.items()):
        data = draw_png(Scene(1, "large", colour, kind, place), 64, 0, f"{kind}/{number}")
        pixels = np.asarray(decode_rgb(data, max_pixels=4096)).astype(int)
        assert pixels.shape == (64, 64, 3)
        painted = np.abs(pixels - shade).max(axis=2) <= 19
        down, across = (axis.mean() / 64 for axis in np.nonzero(painted))
        assert painted.sum() > 40
        assert abs(across - PLACES[place][0]) < 0.07
        assert abs(down - PLACES[place][1]) < 0.07
