"""Measuring a run's student on the held-out image-caption pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data_prep.errors import PipeError
from data_prep.pairs.corpus import PairCorpus
from pipelines.found_images import contact_sheet
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from student.encode import StudentEncoder, head_vectors
from student.encode_images import image_states
from student.evaluation.recall import CUTOFFS, Recall, ZeroShot, recall, zero_shot
from student.identity import recorded_identity
from student.model import Student

_PERCENT = 100
_SHOWN_CAPTIONS = 6
_SHOWN_IMAGES = 5

_Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeadOnImages:
    """What was measured of one head.

    Attributes:
        head: Its name.
        dim: Numbers in a vector.
        recall: Retrieval among the held-out pairs, both ways.
        zero_shot: Choosing among the captions of the classes; None where the pairs have none.
    """

    head: str
    dim: int
    recall: Recall
    zero_shot: ZeroShot | None


@dataclass(frozen=True)
class ImageResults:
    """What a student makes of held-out images.

    Attributes:
        heads: Each head, the default first.
        picture: What some captions found, a file; None where none was drawn.
    """

    heads: tuple[HeadOnImages, ...]
    picture: str | None

    def as_dict(self) -> dict[str, Any]:
        """The same for programs; shares are from 0 to 1."""
        first = self.heads[0]
        return {
            "pairs": first.recall.pairs,
            "chance": first.recall.chance,
            "heads": [asdict(head) for head in self.heads],
            "picture": self.picture,
        }

    def as_text(self) -> str:
        """The table for people, in percent."""
        first = self.heads[0]
        columns = [f"@{k}" for k in CUTOFFS]
        rows = [["", "dim", *columns, *columns], *map(_row, self.heads)]
        chance = [_share(first.recall.chance[k]) for k in CUTOFFS]
        rows.append(["chance", "", *chance, *chance])
        if first.zero_shot is not None:
            rows[0].append("zero-shot")
            for row, head in zip(rows[1:-1], self.heads, strict=True):
                row.append("" if head.zero_shot is None else _share(head.zero_shot.accuracy))
            rows[-1].append(_share(first.zero_shot.chance))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        said = [
            f"images: recall among {first.recall.pairs:,} held-out pairs, of images by caption and "
            "then of captions by image, in %"
        ]
        if first.zero_shot is not None:
            said.append(
                f"zero-shot: {first.zero_shot.images:,} images, {first.zero_shot.classes} classes, "
                f"the largest {_share(first.zero_shot.largest)}%"
            )
        if self.picture is not None:
            said.append(f"what some captions found: {self.picture}")
        return "\n".join([*lines, "", *said])


def evaluate_images(run: Run, number: int, beside: Path | None = None) -> ImageResults | None:
    """Measure every head of a stage's student on the held-out pairs.

    Args:
        run: The run.
        number: The stage, which is finished.
        beside: The directory for the picture; None takes that of the run's evaluation.

    Returns:
        The figures; None where the student has no vision encoder, the recipe no pairs or the run
        none, or fewer than two are held out. A picture of what some captions found is kept in the
        run.

    Raises:
        PipeError: The pairs are damaged, or others than those that the student was trained on.
    """
    if run.recipe.pairs is None:
        return None
    quiet_libraries()
    student = Student.load(run.students.final(number))
    if student.vision is None:
        return None
    if not (run.pairs / "manifest.json").exists():
        say(
            f"there are no image-caption pairs in {run.pairs}, so images are not measured; copy "
            "them there or run `pipe prep`"
        )
        return None
    pairs = PairCorpus.open(run.pairs)
    if not trained_on(run, number, pairs):
        raise PipeError(
            f"the image-caption pairs in {run.pairs} are not those that stage {number} was trained "
            "on, and those held out among them may have been trained on; put the right ones there, "
            "or remove them to measure texts alone."
        )
    student.to("cuda" if torch.cuda.is_available() else "cpu")
    rows = np.arange(pairs.held_out_rows)
    if len(rows) < 2:
        say("fewer than 2 image-caption pairs are held out, so images are not measured")
        return None
    files = pairs.images(rows)
    captions, roles = pairs.captions.take(rows)
    states_NH = image_states(student, files)
    encoder = StudentEncoder(student, head=None, normalize=False)
    captions_NH = encoder.encode(captions, roles)
    classes = _classes(encoder, pairs.labels(rows), run.recipe.evaluation.class_captions)

    heads = sorted(student.named_heads(), key=lambda head: head[0] != student.default_head)
    measured, found_SN = [], None
    for name, layer in heads:
        images_ND = head_vectors(student, states_NH, name)
        captions_ND = head_vectors(student, captions_NH, name)
        if found_SN is None:
            found_SN = captions_ND[:_SHOWN_CAPTIONS] @ images_ND.T
        by_class = {label: head_vectors(student, h, name) for label, h in classes.items()}
        measured.append(
            HeadOnImages(
                head=name,
                dim=layer.out_features,
                recall=recall(images_ND, captions_ND),
                zero_shot=_zero_shot(images_ND, pairs.labels(rows), by_class),
            )
        )
    picture = None
    if found_SN is not None:
        path = (beside or run.results.parent) / "found-images.png"
        order = np.argsort(-found_SN, axis=1)[:, :_SHOWN_IMAGES]
        contact_sheet(path, captions[:_SHOWN_CAPTIONS], order, files)
        picture = str(path)
    return ImageResults(tuple(measured), picture)


def trained_on(run: Run, number: int, pairs: PairCorpus) -> bool:
    """Whether a stage was trained on some pairs.

    Args:
        run: The run.
        number: The stage, on images and finished.
        pairs: The pairs.

    Returns:
        True as well where the run lacks the stage's record.

    Raises:
        PipeError: The record is broken.
    """
    if not run.students.identity(number).exists():
        return True
    recorded = recorded_identity(run.students, number)
    return recorded is None or recorded.corpus == pairs.fingerprint


def _classes(
    encoder: StudentEncoder, labels: Sequence[str | None], templates: Sequence[str]
) -> dict[str, _Vectors]:
    """For every class the pooled states of its captions; empty where there are not two classes."""
    names = sorted({label for label in labels if label})
    if len(names) < 2:
        return {}
    return {
        name: encoder.encode(
            [template.replace("{}", name) for template in templates], ["passage"] * len(templates)
        )
        for name in names
    }


def _zero_shot(
    images_ND: _Vectors, labels: Sequence[str | None], classes: Mapping[str, _Vectors]
) -> ZeroShot | None:
    if not classes:
        return None
    known = [place for place, label in enumerate(labels) if label]
    return zero_shot(images_ND[known], [label for label in labels if label], classes)


def _row(head: HeadOnImages) -> list[str]:
    found = head.recall
    shares = [found.images[k] for k in CUTOFFS] + [found.captions[k] for k in CUTOFFS]
    return [f"student {head.head}", f"{head.dim:,}", *map(_share, shares)]


def _share(value: float) -> str:
    return f"{_PERCENT * value:.1f}"
