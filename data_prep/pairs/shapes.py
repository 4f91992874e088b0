"""A small world of coloured shapes: pictures and captions without a file to read.

A picture shows one to four equal shapes. Its combination is their number, size, colour, kind and
place, and the caption names all five, so that one caption fits one combination. Position, shade,
tilt and background vary. Every choice is drawn from the seed and the pair's name.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache
from itertools import product
from math import ceil

from data_prep.draws import below, draw
from data_prep.errors import PipeError
from data_prep.pairs.config import PairsConfig, PairSourceConfig
from data_prep.pairs.drawing import COLOURS, KINDS, PLACES, SIZES, Scene, draw_png
from data_prep.pairs.records import Found

NUMBERS = ("one", "two", "three", "four")

_SIZE_WORDS = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium-sized", "mid-sized"),
    "large": ("large", "big"),
}
_PLACE_WORDS = {
    "top-left": ("at the top left", "in the top left corner", "in the upper left"),
    "top-right": ("at the top right", "in the top right corner", "in the upper right"),
    "bottom-left": ("at the bottom left", "in the bottom left corner", "in the lower left"),
    "bottom-right": ("at the bottom right", "in the bottom right corner", "in the lower right"),
    "centre": ("in the centre", "in the middle", "right in the centre"),
}
_TEMPLATES = (
    "{many} {size} {colour} {kind} {place}",
    "a picture of {many} {size} {colour} {kind} {place}",
    "{many} {colour} {kind}, {size}, {place}",
    "{place} there {is_are} {many} {size} {colour} {kind}",
    "there {is_are} {many} {size} {colour} {kind} {place}",
    "the picture shows {many} {size} {colour} {kind} {place}",
    "{many} {size} {kind} in {colour}, {place}",
    "an image with {many} {size} {colour} {kind} {place} and nothing else",
)


@dataclass(frozen=True, slots=True)
class Combination:
    """What a caption names.

    Attributes:
        number: How many shapes there are.
        size: Their size.
        colour: Their colour.
        kind: What they are.
        place: Where they stand.
    """

    number: str
    size: str
    colour: str
    kind: str
    place: str

    @property
    def name(self) -> str:
        """For example ``two-small-red-star-top-left``."""
        return "-".join(astuple(self))


def combinations() -> list[Combination]:
    """All combinations of the world, in a fixed order."""
    return [Combination(*values) for values in product(NUMBERS, SIZES, COLOURS, KINDS, PLACES)]


def split_combinations(held_out: int, seed: int) -> tuple[list[Combination], list[Combination]]:
    """Set combinations aside that training never sees.

    Args:
        held_out: How many.
        seed: Decides which.

    Returns:
        Those set aside and the others, each shuffled. Of the combinations with any one value of
        any one attribute, at most a quarter more than the fair share is set aside (and never
        more than half), so that training sees every value often.

    Raises:
        PipeError: There are too few combinations to set so many aside.
    """
    everything = combinations()
    shuffled = sorted(everything, key=lambda one: draw(seed, "shapes-combination", one.name))
    totals = Counter(value for one in everything for value in _values(one))
    most = {
        value: min(total // 2, ceil(1.25 * held_out * total / len(everything)) + 1)
        for value, total in totals.items()
    }
    taken: Counter[tuple[int, str]] = Counter()
    parts: tuple[list[Combination], list[Combination]] = ([], [])
    for one in shuffled:
        values = _values(one)
        aside = len(parts[0]) < held_out and all(taken[value] < most[value] for value in values)
        if aside:
            taken.update(values)
        parts[not aside].append(one)
    if len(parts[0]) < held_out:
        raise PipeError(
            f"held_out is {held_out:,} and of the {len(everything):,} combinations of the shapes "
            f"only {len(parts[0]):,} can be held out; lower it."
        )
    return parts


def read_shapes(source: PairSourceConfig, config: PairsConfig) -> Iterator[Found]:
    """Draw pictures and tell what they show.

    Args:
        source: ``max_pairs`` and ``image_size``.
        config: ``pairs`` is the number if the source has no ``max_pairs``; ``held_out`` says how
            many combinations are set aside.

    Yields:
        The combinations set aside, each once, and then the others in turn, again and again.

    Raises:
        PipeError: No number is given, or more pairs are held out than there are combinations.
    """
    wanted = source.max_pairs or config.pairs
    if wanted is None:
        raise PipeError(
            f"source {source.name!r} draws as many pictures as are asked for, and no number is "
            "given; set its max_pairs, or pairs."
        )
    aside, others = split_combinations(config.held_out, config.seed)
    for one in aside[:wanted]:
        yield _found(one, 0, source, config.seed, held_out=True)
    for number in range(max(0, wanted - len(aside))):
        variation, place = divmod(number, len(others))
        yield _found(others[place], variation, source, config.seed, held_out=False)


def caption_of(one: Combination, seed: int, doc_id: str) -> str:
    """Say in one of many ways what a picture shows.

    Args:
        one: What it shows.
        seed: Decides the wording.
        doc_id: Decides the wording.

    Returns:
        A caption that names all five attributes.
    """

    def choose(options: tuple[str, ...], what: str) -> str:
        return options[below(len(options), draw(seed, "shapes-caption", doc_id, what))]

    several = one.number != "one"
    size = choose(_SIZE_WORDS[one.size], "size")
    plural = {"cross": "crosses"}.get(one.kind, one.kind + "s")
    return choose(_TEMPLATES, "template").format(
        many=one.number if several else choose(("one", "a single"), "number"),
        size=size,
        colour=one.colour,
        kind=plural if several else one.kind,
        place=choose(_PLACE_WORDS[one.place], "place"),
        is_are="are" if several else "is",
    )


def _found(
    one: Combination, variation: int, source: PairSourceConfig, seed: int, *, held_out: bool
) -> Found:
    doc_id = f"{one.name}/{variation:05d}"
    scene = Scene(NUMBERS.index(one.number) + 1, one.size, one.colour, one.kind, one.place)
    return Found(
        doc_id=doc_id,
        name=f"{doc_id}.png",
        where=f"source {source.name!r}, {doc_id}",
        captions=(caption_of(one, seed, doc_id),),
        data=draw_png(scene, source.image_size, seed, doc_id),
        label=one.kind,
        held_out=held_out,
    )


@lru_cache(maxsize=8192)
def _values(one: Combination) -> tuple[tuple[int, str], ...]:
    return tuple(enumerate(astuple(one)))
