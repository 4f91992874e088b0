"""The table of engines: how a teacher's encoder is made, and what is checked before it is used."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError, UsageError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import Encoder, load_encoder
from teacher_cache.encoders.tower_options import AS_USUAL, TowerOptions

if TYPE_CHECKING:
    from data_prep.corpus import Corpus

_SAMPLE = 32
_COSINE = 0.999


@dataclass(frozen=True, slots=True)
class Engine:
    """A way to run teachers.

    Attributes:
        adapters: By kind of teacher, as ``module:Class``; None for ``encoders.KINDS``.
        package: What must be installed besides the project; None for nothing.
        compared: Whether it is compared with ``transformers`` before it encodes a corpus.
    """

    adapters: Mapping[str, str] | None = None
    package: str | None = None
    compared: bool = False


ENGINES: Mapping[str, Engine] = {
    "transformers": Engine(),
    "vllm": Engine(
        {
            "sentence-transformers": (
                "teacher_cache.encoders.vllm.sentence_transformers:VllmSentenceTransformersEncoder"
            ),
            "nv-embed": "teacher_cache.encoders.vllm.nv_embed:VllmNvEmbedEncoder",
            "stella": "teacher_cache.encoders.vllm.stella:VllmStellaEncoder",
        },
        package="vllm",
        compared=True,
    ),
}
"""Engines by name. Which one made a vector is not part of the teacher's fingerprint: the canary
holds all of them to the same vectors."""


def check_engine(name: str, teacher: TeacherConfig, options: TowerOptions = AS_USUAL) -> None:
    """Check that an engine is there and has an adapter for a teacher, without loading either.

    Args:
        name: A row of ``ENGINES``.
        teacher: The teacher's settings.
        options: How its transformer is to be computed.

    Raises:
        UsageError: There is no such engine, or it does not run this kind of teacher, or not so.
        PipeError: A package is not installed.
    """
    engine = ENGINES.get(name)
    if engine is None:
        raise UsageError(
            f"found the engine {name!r}, expected one of {', '.join(ENGINES)}; mend `--engine`."
        )
    if engine.adapters is not None and teacher.kind not in engine.adapters:
        raise UsageError(
            f"found teacher {teacher.name} of kind {teacher.kind} for the engine {name}, expected "
            f"one of the kinds that it runs ({', '.join(engine.adapters)}); name the other "
            "teachers with `--teacher`, and run this one with `--engine transformers`."
        )
    if engine.package is not None and importlib.util.find_spec(engine.package) is None:
        raise PipeError(
            f"the package {engine.package!r} is not installed, expected it for `--engine {name}`; "
            f"install `jasper-distill[{name}]` into an environment of its own, as docs/teachers.md "
            "says."
        )
    if engine.adapters is None:
        options.check(teacher)
    elif options != AS_USUAL:
        raise UsageError(
            f"found {options} for the engine {name}, expected it for transformers alone; leave it "
            f"out, because {name} chooses by itself."
        )


def load_for_corpus(
    name: str,
    teacher: TeacherConfig,
    corpus: "Corpus",
    report: Callable[[str], None],
    device: str = "auto",
    options: TowerOptions = AS_USUAL,
) -> Encoder:
    """Load a teacher on an engine, compared with ``transformers`` on texts of the corpus.

    The two are never loaded at the same time.

    Args:
        name: A row of ``ENGINES``.
        teacher: The teacher's settings.
        corpus: Where the texts come from.
        report: Takes one line that says how near they are.
        device: ``auto``, or a name that the engine knows.
        options: How its transformer is computed.

    Returns:
        The loaded teacher.

    Raises:
        PipeError: As for ``check_engine`` and ``load_encoder``, or the engine's vectors are not
            those of ``transformers``.
    """
    check_engine(name, teacher, options)
    engine = ENGINES[name]
    if not engine.compared:
        return load_encoder(teacher, device, engine.adapters, options)
    texts, roles = corpus.texts(0)
    # Rows are shuffled, so the first ones are a random sample.
    texts, roles = texts[:_SAMPLE], roles[:_SAMPLE]
    expected = load_encoder(teacher, device).encode(texts, roles)
    encoder = load_encoder(teacher, device, engine.adapters)
    least = check_agreement(name, teacher, encoder.encode(texts, roles), expected)
    report(
        f"{teacher.name}: on the engine {name}; least cosine with transformers {least:.6f} on "
        f"{len(texts)} texts"
    )
    return encoder


def check_agreement(
    name: str,
    teacher: TeacherConfig,
    found: npt.NDArray[np.float32],
    expected: npt.NDArray[np.float32],
) -> float:
    """Compare an engine's vectors with those of ``transformers``, text by text.

    Args:
        name: The engine's.
        teacher: The teacher's settings.
        found: (n, dim) unit rows from the engine, for the corpus's rows from 0.
        expected: The same from ``transformers``.

    Returns:
        The least cosine.

    Raises:
        PipeError: One is less than 0.999, or not a number.
    """
    cosines = np.einsum("nd,nd->n", found, expected, dtype=np.float64)
    worst = int(np.argmin(np.nan_to_num(cosines, nan=-np.inf)))
    if not cosines[worst] >= _COSINE:
        raise PipeError(
            f"the vector of row {worst} from {teacher.name} on the engine {name} has the cosine "
            f"{cosines[worst]:.4f} with that of transformers, expected at least {_COSINE}; use "
            f"another version of {name}, or `--engine transformers`."
        )
    return float(cosines[worst])
