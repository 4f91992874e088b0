"""Finding images by caption and captions by image; choosing among captions (zero-shot).

Shapes: N pairs, D head dim, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CUTOFFS = (1, 5, 10)
"""The first so many results among which the right one is looked for."""

_BLOCK = 1024
"""Queries compared with everything at once, which bounds the memory of a large set."""

_Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recall:
    """How often the right one of N is among the first k found, 0 to 1.

    Attributes:
        pairs: N.
        images: Recall at each k of images searched by caption.
        captions: Recall at each k of captions searched by image.
    """

    pairs: int
    images: Mapping[int, float]
    captions: Mapping[int, float]

    @property
    def chance(self) -> dict[int, float]:
        """Recall at each k of someone who guesses."""
        return {k: min(k / self.pairs, 1.0) for k in self.images}


def recall(images_ND: _Vectors, captions_ND: _Vectors, cutoffs: Sequence[int] = CUTOFFS) -> Recall:
    """Measure retrieval in both directions among pairs; row n of each is the other's only match.

    Of results with equal similarity the right one counts as the last, so vectors that are all
    alike find nothing.

    Args:
        images_ND: The images' vectors, unit rows.
        captions_ND: The captions' vectors, unit rows.
        cutoffs: The k.

    Returns:
        Recall at each k.

    Raises:
        ValueError: There are not as many images as captions, or none.

    >>> found = recall(np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)[[0, 1, 3, 2]])
    >>> found.images[1], found.chance[1]
    (0.5, 0.25)
    """
    if len(images_ND) != len(captions_ND) or not len(images_ND):
        raise ValueError(f"found {len(images_ND)} images and {len(captions_ND)} captions")
    return Recall(
        pairs=len(images_ND),
        images=_at(captions_ND, images_ND, cutoffs),
        captions=_at(images_ND, captions_ND, cutoffs),
    )


def _at(queries_ND: _Vectors, found_ND: _Vectors, cutoffs: Sequence[int]) -> dict[int, float]:
    """Recall at each k; row n of one is searched by row n of the other."""
    blocks = range(0, len(queries_ND), _BLOCK)
    ahead_N = np.concatenate([_ahead(queries_ND, found_ND, first) for first in blocks])
    return {k: float((ahead_N < k).mean()) for k in cutoffs}


def _ahead(queries_ND: _Vectors, found_ND: _Vectors, first: int) -> npt.NDArray[np.int64]:
    """How many others come before the right one, for each of B queries from ``first`` on."""
    scores_BN = queries_ND[first : first + _BLOCK] @ found_ND.T
    own_B = np.diagonal(scores_BN, offset=first)
    # NaN is above nothing, so it is told apart.
    ahead_B: npt.NDArray[np.int64] = (scores_BN >= own_B[:, None]).sum(axis=1) - 1
    ahead_B[np.isnan(own_B)] = len(found_ND)
    return ahead_B


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """How often an image is nearest to its own class's captions.

    Attributes:
        images: N.
        classes: C.
        accuracy: 0 to 1.
        largest: The share of the most frequent class, which always answering it would reach.
    """

    images: int
    classes: int
    accuracy: float
    largest: float

    @property
    def chance(self) -> float:
        """Accuracy of someone who guesses."""
        return 1 / self.classes


def zero_shot(
    images_ND: _Vectors, labels: Sequence[str], classes: Mapping[str, _Vectors]
) -> ZeroShot:
    """Classify images by the caption that is nearest.

    Args:
        images_ND: The images' vectors, unit rows.
        labels: The class of each.
        classes: For every class the vectors of one or more captions of it, (captions, D) unit rows,
            whose mean stands for the class.

    Returns:
        The accuracy, and what it is to be compared with.

    Raises:
        ValueError: There are fewer than two classes, no image, or a label is no class.
    """
    names = list(classes)
    if len(names) < 2 or not labels or set(labels) - set(names):
        raise ValueError(f"found the classes {names} for {len(labels)} labels of {set(labels)}")
    means_CD = np.stack([classes[name].mean(axis=0) for name in names])
    means_CD /= np.linalg.norm(means_CD, axis=1, keepdims=True)
    found = np.argmax(images_ND @ means_CD.T, axis=1)
    counts = [list(labels).count(name) for name in names]
    right = [names[place] == label for place, label in zip(found, labels, strict=True)]
    return ZeroShot(
        images=len(labels),
        classes=len(names),
        accuracy=float(np.mean(right)),
        largest=max(counts) / len(labels),
    )
