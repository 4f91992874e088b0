"""Lines of metrics as curves; pure arithmetic."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_AGREEMENTS: Final = ("cosine", "spearman", "kendall")
ALL_HEADS: Final = "all heads"
MOST_POINTS: Final = 240
"""Points of a curve that a plot shows; more are finer than its line."""

Curves = Mapping[str, Mapping[str, "Curve"]]
"""For each measure the curve of each head."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A value over the steps of a stage.

    Attributes:
        steps: Ascending.
        values: As many.
    """

    steps: tuple[float, ...]
    values: tuple[float, ...]


def loss_curves(lines: Sequence[Mapping[str, float]], heads: Collection[str]) -> Curves:
    """The losses of a stage.

    Args:
        lines: Its metrics.
        heads: The heads that have losses.

    Returns:
        ``loss``, whose only curve is that of ``ALL_HEADS``, or of the only head; then each term
        by head.
    """
    whose = ALL_HEADS if len(heads) > 1 else next(iter(heads), ALL_HEADS)
    terms: dict[str, dict[str, str]] = {"loss": {whose: "loss"}}
    for name in _names(lines):
        head, slash, term = name.partition("/")
        if slash and head in heads:
            terms.setdefault(term, {})[head] = name
    return _curves(lines, terms)


def evaluation_curves(lines: Sequence[Mapping[str, float]], heads: Collection[str]) -> Curves:
    """What a stage was measured on while it trained.

    Args:
        lines: Its metrics.
        heads: The heads that are measured.

    Returns:
        By measure (``held-out spearman``, ``recall@1``) or evaluation set, each head's.
    """
    measures: dict[str, dict[str, str]] = {}
    for name in _names(lines):
        kind, _, rest = name.partition("/")
        head, _, measure = rest.partition("/")
        if kind != "eval":
            continue
        of_set, _, last = rest.rpartition("/")
        if head in heads and "/" not in measure:
            title = f"held-out {measure}" if measure in _AGREEMENTS else measure
            measures.setdefault(title, {})[head] = name
        elif last in heads and of_set:
            measures.setdefault(of_set, {})[last] = name
    return _curves(lines, measures)


def thinned(curve: Curve, most: int = MOST_POINTS) -> Curve:
    """A curve of not too many points, each the mean of some that lie side by side.

    Args:
        curve: A curve.
        most: How many points at most.

    >>> thinned(Curve((1, 2, 3, 4), (1.0, 3.0, 5.0, 7.0)), most=2)
    Curve(steps=(1.5, 3.5), values=(2.0, 6.0))
    """
    count = len(curve.steps)
    if count <= most:
        return curve
    bounds = [place * count // most for place in range(most + 1)]
    spans = [slice(*pair) for pair in pairwise(bounds)]
    return Curve(
        tuple(_mean(curve.steps[span]) for span in spans),
        tuple(_mean(curve.values[span]) for span in spans),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _names(lines: Sequence[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for line in lines for name in line))


def _curves(
    lines: Sequence[Mapping[str, float]], measures: Mapping[str, Mapping[str, str]]
) -> Curves:
    found = {
        measure: {head: _curve(lines, name) for head, name in names.items()}
        for measure, names in measures.items()
    }
    filled = {
        measure: {head: curve for head, curve in curves.items() if curve.steps}
        for measure, curves in found.items()
    }
    return {measure: curves for measure, curves in filled.items() if curves}


def _curve(lines: Sequence[Mapping[str, float]], name: str) -> Curve:
    points = sorted((line["step"], line[name]) for line in lines if name in line)
    return Curve(tuple(step for step, _ in points), tuple(value for _, value in points))
