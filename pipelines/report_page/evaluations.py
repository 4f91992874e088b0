"""What was measured of a run's student: one row of ``SOURCES`` for each kind of measurement."""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, Field, TypeAdapter

from data_prep.errors import PipeError
from pipelines.report_page.facts import EvaluationFacts, Found, Table
from pipelines.results import Results, current_results
from pipelines.run import Run
from student.evaluation.recall import CUTOFFS, Recall, ZeroShot
from student.evaluation.table import Comparison, Scores, gain, retention

_MOST_PICTURE_BYTES: Final = 600_000
_PICTURE_SIDE: Final = 1024
"""A picture that is larger is made smaller, so that the page can be sent by mail."""


class _HeadOnImages(BaseModel):
    """A head as ``pipelines.evaluate_images`` keeps it."""

    head: str
    dim: int
    recall: Recall
    zero_shot: ZeroShot | None


class _Images(BaseModel):
    """What a student makes of held-out images, as it is kept."""

    heads: tuple[_HeadOnImages, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class EvaluationSource:
    """A kind of measurement.

    Attributes:
        name: What it is called in notes.
        tables: Makes its tables from what is kept; none where it was not measured. Raises
            ``ValueError`` or ``PipeError`` where that is damaged.
    """

    name: str
    tables: Callable[[Run, Results | None], Sequence[Table]]


def gather_evaluation(run: Run) -> Found[EvaluationFacts]:
    """Read what was measured.

    Args:
        run: The run.

    Returns:
        It, and notes on what is missing, damaged or of other weights.
    """
    command = f"`pipe eval --run {run.directory}`"
    kept, notes = Results.read(run.results), []
    if kept is None and run.results.exists():
        notes.append(f"{run.results} is not a whole evaluation; {command} makes it anew.")
    elif kept is None:
        notes.append(f"The student is not measured yet; {command} measures it.")
    elif (stale := _stale(run, kept)) is not None:
        notes.append(f"{stale}; {command} measures anew.")
    tables: list[Table] = []
    for source in SOURCES:
        try:
            tables += source.tables(run, kept)
        except (PipeError, OSError, ValueError, LookupError, TypeError, AttributeError):
            notes.append(f"What is kept of {source.name} cannot be read; {command} makes it anew.")
    picture = _picture(run.results.parent / "found-images.png", kept)
    return Found(EvaluationFacts(_comparison(kept), tuple(tables), picture), tuple(notes))


def _stale(run: Run, kept: Results) -> str | None:
    last = len(run.recipe.stages)
    if kept.of.stage != last:
        return f"The evaluation is of stage {kept.of.stage}, and the last one is stage {last}"
    try:
        current = current_results(run)
    except PipeError as error:
        return f"Nobody can tell whether the evaluation is up to date ({error})"
    if current is None:
        return "The evaluation is of other weights, settings or data than stand in the run now"
    return None


def _comparison(kept: Results | None) -> Comparison | None:
    try:
        return None if kept is None else _read_comparison(kept)
    except ValueError:
        return None  # its table has said so


def _read_comparison(kept: Results) -> Comparison:
    found: Comparison = TypeAdapter(Comparison).validate_python(dict(kept.comparison))
    return found


def _compared(run: Run, kept: Results | None) -> Sequence[Table]:
    """Scores on the evaluation sets, and agreement on held-out spans."""
    if kept is None:
        return []
    compared = _read_comparison(kept)
    models, start = compared.models, compared.start
    teacher = compared.teachers[0] if compared.teachers else None
    sets = list(dict.fromkeys(task for model in models for task in model.tasks))
    rows = [[task, *(_cell(model.tasks.get(task), ".2f") for model in models)] for task in sets]
    if sets:
        rows.append(["mean", *(_cell(model.mean, ".2f") for model in models)])
    rows += [
        [f"held-out {name}", *(_cell(agreement(model, field), ".4f") for model in models)]
        for field, name in AGREEMENTS.items()
    ]
    rows += [
        [f"kept of {other.model}, %", *(_cell(_kept(m, other), ".1f") for m in models)]
        for other in compared.teachers
    ]
    if start is not None:
        form = "+.2f" if sets else "+.4f"
        gains = [_cell(_gained(model, start), form) for model in models]
        rows.append(["gained over the start", *gains])
    rows += [
        ["texts/s", *(_cell(model.texts_per_s, ",.0f") for model in models)],
        ["parameters", *(_cell(model.parameters, ",d") for model in models)],
        ["dimensions", *(_cell(model.dim, ",d") for model in models)],
    ]
    basis = "of the mean over the sets" if sets else "of held-out Spearman"
    note = f"Kept and gained are {basis}." if teacher or start else ""
    header = ("", *(model.model for model in models))
    title = "Evaluation sets and held-out spans" if sets else "Held-out spans"
    filled = tuple(tuple(row) for row in rows if any(row[1:]))
    return [Table(title, header, filled, note)] if filled else []


AGREEMENTS: Final = {"cosine": "cosine", "spearman": "Spearman", "kendall": "Kendall"}
"""Measures of held-out agreement, and what people call them."""


def agreement(model: Scores, measure: str) -> float | None:
    """One measure of a model's agreement with the target on held-out spans.

    Args:
        model: The model.
        measure: A key of ``AGREEMENTS``.
    """
    return None if model.held_out is None else getattr(model.held_out, measure)


def kept_share(model: Scores, teacher: Scores, measure: str) -> float | None:
    """The share of a teacher's score that a model keeps.

    Args:
        model: The model.
        teacher: The teacher.
        measure: ``mean`` over the evaluation sets, or a key of ``AGREEMENTS``.

    Returns:
        Percent; None where one of them has no such score, or the teacher's is not above 0.
    """
    if measure == "mean":
        return retention(model, teacher).get("mean")
    ours, theirs = agreement(model, measure), agreement(teacher, measure)
    return None if ours is None or not theirs or theirs < 0 else 100 * ours / theirs


def _kept(model: Scores, teacher: Scores) -> float | None:
    return kept_share(model, teacher, "mean" if model.tasks else "spearman")


def _gained(model: Scores, start: Scores) -> float | None:
    if model is start:
        return None
    if model.tasks:
        return gain(model, start).get("mean")
    ours, origin = agreement(model, "spearman"), agreement(start, "spearman")
    return None if ours is None or origin is None else ours - origin


def _on_images(run: Run, kept: Results | None) -> Sequence[Table]:
    """Retrieval among held-out image-caption pairs."""
    images: Mapping[str, Any] | None = kept.comparison.get("images") if kept else None
    if images is None:
        return []
    heads = _Images.model_validate(images).heads
    first = heads[0]
    header = ["", "dimensions"]
    header += [f"images @{k}" for k in CUTOFFS] + [f"captions @{k}" for k in CUTOFFS]
    rows = [[f"student {head.head}", f"{head.dim:,}", *_recalls(head.recall)] for head in heads]
    chance = [_cell(100 * first.recall.chance[k], ".1f") for k in CUTOFFS]
    rows.append(["chance", "", *chance, *chance])
    note = (
        f"Recall in % among {first.recall.pairs:,} held-out pairs: of images by caption, and of "
        "captions by image."
    )
    if first.zero_shot is not None:
        header.append("zero-shot")
        for row, head in zip(rows, heads, strict=False):
            row.append(_cell(100 * head.zero_shot.accuracy, ".1f") if head.zero_shot else "")
        rows[-1].append(_cell(100 * first.zero_shot.chance, ".1f"))
        note += (
            f" Zero-shot: {first.zero_shot.images:,} images, {first.zero_shot.classes} classes, "
            f"the largest {100 * first.zero_shot.largest:.1f}%."
        )
    return [Table("Images", tuple(header), tuple(tuple(row) for row in rows), note)]


def _recalls(found: Recall) -> list[str]:
    both = (found.images, found.captions)
    return [_cell(100 * by_cutoff[k], ".1f") for by_cutoff in both for k in CUTOFFS]


SOURCES: Final = (
    EvaluationSource("the comparison with teachers and start", _compared),
    EvaluationSource("the measurement on images", _on_images),
)
"""In the order in which the page shows them."""


def _picture(path: Path, kept: Results | None) -> str:
    """What some captions found, as a data URL that is not too long to send; empty for none."""
    if kept is None or "images" not in kept.comparison or not path.is_file():
        return ""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()
            if len(content) <= _MOST_PICTURE_BYTES:
                return _data_url("png", content)
            smaller = image.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError):
        return ""
    smaller.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=85)
    return _data_url("jpeg", buffer.getvalue())


def _data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _cell(value: float | None, form: str) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:{form}}"
