"""Which pairs the corpus holds, which of them are held out, and which row each is."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from data_prep.draws import draw
from data_prep.errors import PipeError
from data_prep.pairs.config import PairsConfig
from data_prep.pairs.records import Pair


@dataclass(frozen=True, slots=True)
class PairSelection:
    """The rows of a corpus of pairs.

    Attributes:
        rows: One pair per row, in row order.
        held_out_rows: The first so many are held out.
        dropped: How many usable pairs are not in the corpus, by reason: ``duplicate`` (the same
            image with the same caption), ``held_out_repeated`` (an image or a caption that a
            held-out row has already), ``held_out_unused`` (set aside, and more than asked for),
            ``held_out_image`` (for training, with the image of a held-out row), ``not_wanted``
            (more than ``pairs``).
    """

    rows: list[Pair]
    held_out_rows: int
    dropped: Counter[str]


def select(pairs: Iterable[Pair], config: PairsConfig) -> PairSelection:
    """Decide every row.

    Args:
        pairs: Every usable pair of every source.
        config: The corpus wanted.

    Returns:
        The rows; they do not depend on the order of the pairs. Held-out rows have distinct images
        and distinct captions, since a search among them has one right answer, and none of their
        images is trained on.

    Raises:
        PipeError: There are too few pairs, or too few that can be held out.
    """
    dropped: Counter[str] = Counter()
    # Of equal pairs, the one that is set aside stays.
    candidates = sorted(
        pairs, key=lambda pair: (pair.held_out is not True, _key(pair, config.seed, "take"))
    )
    distinct = list({(pair.digest, pair.caption): pair for pair in reversed(candidates)}.values())
    distinct.reverse()
    dropped["duplicate"] = len(candidates) - len(distinct)
    held_out, rest = _hold_out(distinct, config, dropped)
    images = {pair.digest for pair in held_out}
    training = [pair for pair in rest if pair.digest not in images]
    dropped["held_out_image"] = len(rest) - len(training)
    wanted = len(training) if config.pairs is None else config.pairs - len(held_out)
    if not training or wanted > len(training):
        raise PipeError(
            f"the sources have {len(training):,} pairs to train on beside {len(held_out):,} held "
            f"out, expected {max(1, wanted):,}; lower pairs or held_out, or add sources."
        )
    dropped["not_wanted"] = len(training) - wanted
    rows = [
        pair
        for part in (held_out, training[:wanted])
        for pair in sorted(part, key=lambda pair: _key(pair, config.seed, "row"))
    ]
    return PairSelection(rows, len(held_out), +dropped)


def _hold_out(
    pairs: list[Pair], config: PairsConfig, dropped: Counter[str]
) -> tuple[list[Pair], list[Pair]]:
    """Hold out what sources set aside, then whole groups of sources that set nothing aside."""
    held_out: list[Pair] = []
    images: set[bytes] = set()
    captions: set[str] = set()
    left = [pair for pair in pairs if pair.held_out is False]
    for aside, group in _in_turn(pairs, config.seed):
        if len(held_out) == config.held_out and not aside:
            left.extend(group)
            continue
        for pair in group:
            caption = " ".join(pair.caption.casefold().split())
            if pair.digest in images or caption in captions:
                dropped["held_out_repeated"] += 1
            elif len(held_out) == config.held_out:
                dropped["held_out_unused"] += 1
            else:
                held_out.append(pair)
                images.add(pair.digest)
                captions.add(caption)
    if len(held_out) < config.held_out:
        raise PipeError(
            f"held_out is {config.held_out:,} and the sources have {len(held_out):,} pairs with "
            "distinct images and captions that can be held out; lower held_out."
        )
    # As they were given, so that the first are those to take.
    kept = set(map(id, left))
    return held_out, [pair for pair in pairs if id(pair) in kept]


def _in_turn(pairs: list[Pair], seed: int) -> Iterator[tuple[bool, list[Pair]]]:
    """Yield what may be held out: whether a source set it aside, and pairs that stay together."""
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.held_out is True:
            yield True, [pair]
        elif pair.held_out is None:
            together = ("", pair.digest.hex()) if pair.group is None else (pair.source, pair.group)
            groups[together].append(pair)
    for together in sorted(groups, key=lambda one: (draw(seed, "held-out", *one), one)):
        yield False, groups[together]


def _key(pair: Pair, seed: int, purpose: str) -> tuple[int, str, str, str, bytes]:
    """Order by a draw; captions of one image are drawn each for itself."""
    identity = (pair.source, pair.doc_id, pair.caption)
    return (draw(seed, purpose, *identity), *identity, pair.digest)
