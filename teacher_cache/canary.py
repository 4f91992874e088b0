"""The canary: a few fixed texts that a teacher encodes before it is let near a corpus.

Wrong attention, leaking padding, a half-loaded model: they all give finite unit vectors. What gives
them away is that vectors change with their company, or are not what others got.
"""

import itertools
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.canary_record import CanaryRecord, keep_or_read
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import Adaptable, Encoder, ShowsAttention
from teacher_cache.golden import GOLDEN, GoldenScores

_LONG = (
    "A canary was once carried into mines because it notices what people do not. The bird is "
    "small, breathes fast and falls silent long before the air becomes dangerous, so that the "
    "miners can leave in time. This text plays the same part: it is long enough to be padded "
    "against and to push shorter ones into other batches, and its vector is known from every run "
    "before this one. "
)

TEXTS: tuple[tuple[str, str], ...] = (
    (_LONG, "passage"),
    ("River.", "passage"),
    ("The stock market closed lower on Thursday, led by banks and carmakers.", "passage"),
    ("naïve café — 東京 🚀 and a tail of plain words", "passage"),
    ("How do plants turn sunlight into sugar?", "question"),
    ("Leaves turn sunlight into sugar, for which they need water and air.", "passage"),
)
"""The texts with their roles; never change them without a new version of the record."""

LAST_WORD_DIFFERS = ("It is a cat", "It is a dog")

# Distances of unit vectors: what rounding does to them under other batch shapes and on other
# machines. A causal run of a bidirectional model or leaking padding is ten times as far off.
_NEAR = {"float32": 2e-3, "float16": 2e-2, "bfloat16": 7e-2}
# Cosine similarities to published ones, which were computed in half precision.
_GOLDEN_NEAR = {"float32": 3e-3, "float16": 5e-3, "bfloat16": 1e-2}
# What the last word does to the first token's state in a batch of two texts of one length.
_SEEN = 1e-5
_UNSEEN = {"float32": 1e-4, "float16": 2e-3, "bfloat16": 1e-2}

_Vectors = npt.NDArray[np.float32]


def check_canary(directory: Path, teacher: TeacherConfig, encoder: Encoder) -> None:
    """Check a loaded teacher, before a corpus is encoded and at every resume.

    Args:
        directory: The store's directory; the vectors are kept there, and compared with those that
            earlier workers have left.
        teacher: Its settings.
        encoder: The teacher.

    Raises:
        PipeError: Its vectors are not finite, not of its dimension, change with their batch, do not
            tell texts apart, come from the wrong attention, miss the published scores, or are not
            those of earlier workers.
    """
    vectors = check_batching(teacher, encoder)
    if isinstance(encoder, ShowsAttention):
        check_attention(teacher, encoder)
    if teacher.golden != "none":
        check_golden(teacher, encoder)
    check_earlier(directory, teacher, vectors)


def check_batching(teacher: TeacherConfig, encoder: Encoder) -> _Vectors:
    """Check that vectors are sound, do not depend on their company, and tell texts apart.

    Args:
        teacher: The teacher's settings.
        encoder: The teacher.

    Returns:
        The canary's vectors, (6, dim) float32.

    Raises:
        PipeError: They are not, they do, or they do not.
    """
    every = list(range(len(TEXTS)))
    together = _encode(teacher, encoder, every)
    moved = 0.0
    # Alone there is no padding; beside the long text there is the most.
    for company in ([[place] for place in every], [every[::-1]], [[1, 0], [3, 4, 2]]):
        for places in company:
            distances = _distances(_encode(teacher, encoder, places), together[places])
            worst = int(np.argmax(distances))
            moved = max(moved, float(distances[worst]))
            if distances[worst] > _NEAR[teacher.dtype]:
                raise PipeError(
                    f"the vector of canary text {places[worst]} from {teacher.name} moved by "
                    f"{distances[worst]:.2g} when it was encoded in a batch of {len(places)} "
                    f"instead of {len(every)}, expected at most {_NEAR[teacher.dtype]:g} in "
                    f"{teacher.dtype}; batching or padding leaks into the vectors, so do not use "
                    "this model with this engine."
                )
    for one, other in itertools.combinations(every, 2):
        distance = float(_distances(together[one], together[other]))
        if distance <= max(moved, 1e-6):
            raise PipeError(
                f"canary texts {one} and {other} have the same vector from {teacher.name} (their "
                f"distance is {distance:.2g}), expected different ones; check that the model was "
                "copied whole."
            )
    return together


def check_attention(teacher: TeacherConfig, encoder: ShowsAttention) -> None:
    """Check which way tokens look: the last word moves the first token's state, or must not.

    Args:
        teacher: The teacher's settings.
        encoder: The teacher.

    Raises:
        PipeError: They look the wrong way.
    """
    cat, dog = encoder.first_states(LAST_WORD_DIFFERS)
    moved = float(_distances(cat, dog))
    bidirectional = encoder.attention == "bidirectional"
    if moved <= _SEEN if bidirectional else moved > _UNSEEN[teacher.dtype]:
        raise PipeError(
            f"changing the last word of a text moved its first token's state by {moved:.2g} in "
            f"{teacher.name}, expected {'more' if bidirectional else 'nothing'}, because its "
            f"attention should be {encoder.attention}; this version of transformers does not do "
            "what it is told, use another."
        )


def check_golden(teacher: TeacherConfig, encoder: Encoder) -> None:
    """Check a model against its published scores.

    Args:
        teacher: The teacher's settings, with the name of the scores.
        encoder: The teacher.

    Raises:
        PipeError: It does not reproduce them; if it does with other settings, they are named.
    """
    golden = GOLDEN[teacher.golden]
    if not isinstance(encoder, Adaptable):
        raise PipeError(
            f"found the golden scores {teacher.golden!r} for teacher {teacher.name}, expected "
            f"none, because the kind {teacher.kind} cannot run under their settings; remove them."
        )
    try:
        found = _scores(golden, encoder.under(golden.settings(teacher)))
    except PipeError as error:
        raise PipeError(
            f"the scores in {golden.source} cannot be checked, expected {teacher.name} to "
            f'reproduce them: {error} With golden = "none" they are left out.'
        ) from None
    if _agree(found, golden, teacher):
        return
    remedy = "check that these are the model's own weights"
    for attention, eos in itertools.product(("bidirectional", "causal"), ("none", "append")):
        if teacher.attention is None or (attention, eos) == (teacher.attention, teacher.eos):
            continue
        other = teacher.model_copy(update={"attention": attention, "eos": eos})
        with suppress(PipeError):  # an engine may not be able to turn its attention round
            if _agree(_scores(golden, encoder.under(golden.settings(other))), golden, teacher):
                remedy = (
                    f'they agree with attention = "{attention}" and eos = "{eos}": put these into '
                    "the teacher's settings"
                )
                break
    else:
        if teacher.attention is not None:
            remedy = f"no other attention or eos rule does, so {remedy}"
    raise PipeError(
        f"found the scores {_show(found)} from {teacher.name} on the questions and passages of "
        f"{golden.source}, expected {_show(np.array(golden.scores))}; {remedy}, or set golden = "
        '"none" for a model that is meant to be another.'
    )


def check_earlier(directory: Path, teacher: TeacherConfig, vectors: _Vectors) -> None:
    """Keep the canary's vectors in the store, or compare them with those that stand there.

    Args:
        directory: The store's directory.
        teacher: The teacher's settings.
        vectors: The canary's vectors, (6, dim) float32.

    Raises:
        PipeError: Earlier workers got others, or the record is damaged.
    """
    path = directory / "canary" / f"{teacher.name}.json"
    earlier = keep_or_read(directory, path, CanaryRecord.of(teacher, TEXTS, vectors))
    if earlier is None:
        return
    distances = _distances(vectors, earlier.array())
    worst = int(np.argmax(distances))
    if distances[worst] > _NEAR[teacher.dtype]:
        raise PipeError(
            f"the vector of canary text {worst} from {teacher.name} is {distances[worst]:.2g} away "
            f"from the one that {earlier.written_by.host} got with version "
            f"{earlier.written_by.version}, expected at most {_NEAR[teacher.dtype]:g} in "
            f"{teacher.dtype}; use the same weights and libraries as there, or remove the "
            f"teacher's vectors, its commits and {path} to encode it again."
        )


def _encode(teacher: TeacherConfig, encoder: Encoder, places: list[int]) -> _Vectors:
    """Sound vectors of some of the texts, (len(places), dim)."""
    texts, roles = zip(*(TEXTS[place] for place in places), strict=True)
    vectors = encoder.encode(texts, roles)
    wanted = (len(places), teacher.dim)
    if vectors.shape != wanted:
        raise PipeError(
            f"found vectors of shape {vectors.shape} for {len(places)} canary texts from "
            f"{teacher.name}, expected {wanted}; mend the teacher's `dim` or its adapter."
        )
    if not np.isfinite(vectors).all():
        raise PipeError(
            f"found a number that is not finite in the vectors of the canary texts from "
            f"{teacher.name}, expected finite ones; check that the model was copied whole, or "
            "use another `dtype`."
        )
    return vectors


def _distances(one: _Vectors, other: _Vectors) -> npt.NDArray[np.float64]:
    difference = one.astype(np.float64) - other.astype(np.float64)
    distances: npt.NDArray[np.float64] = np.linalg.norm(difference, axis=-1)
    return distances


def _scores(golden: GoldenScores, encoder: Encoder) -> npt.NDArray[np.float64]:
    """Cosine similarities of the questions and passages, (q, p)."""
    roles = ["question"] * len(golden.questions) + ["passage"] * len(golden.passages)
    vectors = encoder.encode([*golden.questions, *golden.passages], roles).astype(np.float64)
    questions, passages = np.split(vectors, [len(golden.questions)])
    return questions @ passages.T


def _agree(found: npt.NDArray[np.float64], golden: GoldenScores, teacher: TeacherConfig) -> bool:
    return bool(np.abs(found - np.array(golden.scores)).max() <= _GOLDEN_NEAR[teacher.dtype])


def _show(scores: npt.NDArray[np.float64]) -> str:
    return str([[round(float(score), 4) for score in row] for row in scores])
