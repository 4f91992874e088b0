"""One adapter per kind of teacher; each is imported when it is asked for."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.config import Attention, Prompts, TeacherConfig
from teacher_cache.encoders.tower_options import AS_USUAL, TowerOptions
from teacher_cache.linear_head import LinearHead


class Encoder(Protocol):
    """A teacher that is loaded.

    An adapter is a class with this interface whose constructor takes a ``TeacherConfig`` and the
    name of a device, and a row in ``KINDS``.

    Attributes:
        dim: Numbers in a vector.
    """

    dim: int

    @property
    def parameters(self) -> int:
        """How many numbers the model is made of."""
        ...

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts; the same call on the same machine gives the same bytes.

        Args:
            texts: n texts.
            roles: ``passage`` or ``question`` for each; it decides the prompt.

        Returns:
            (n, dim) float32, unit rows.
        """
        ...


@runtime_checkable
class Factored(Protocol):
    """An encoder whose last step is a linear layer on a pooled state.

    A store may keep the state: ``head.apply(encode_states(texts, roles))`` is
    ``encode(texts, roles)`` up to rounding. ``as_factored`` asks for it.

    Attributes:
        state_dim: Numbers in a pooled state.
        head: The layer, from ``state_dim`` numbers to the vector's.
    """

    state_dim: int
    head: LinearHead

    def encode_states(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts up to the linear layer; the same call on one machine gives the same bytes.

        Args:
            texts: n texts.
            roles: ``passage`` or ``question`` for each; it decides the prompt.

        Returns:
            (n, state_dim) float32, not normalised.
        """
        ...


@runtime_checkable
class Adaptable(Protocol):
    """An encoder whose loaded weights can run under other settings, for published scores.

    What a text tower's settings decide beyond its weights: prompts, maximum length, and whatever
    the adapter says in its own ``under``.
    """

    def under(self, teacher: TeacherConfig) -> Encoder:
        """Use the loaded weights with other settings.

        Args:
            teacher: The other settings.

        Returns:
            Another encoder on the same weights.

        Raises:
            PipeError: The weights cannot run so.
        """
        ...


@runtime_checkable
class Promptable(Protocol):
    """An encoder whose loaded weights can run under other prompts, for a task's instruction."""

    def with_prompts(self, prompts: Prompts) -> Encoder:
        """Use the loaded weights with other prompts.

        Args:
            prompts: Text in front of each text, by role.

        Returns:
            Another encoder on the same weights.
        """
        ...


@runtime_checkable
class ShowsAttention(Protocol):
    """An encoder that can show which way its tokens look.

    Attributes:
        attention: Which way they should.
    """

    attention: Attention

    def first_states(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Give the first token's state of each text.

        Args:
            texts: n passages.

        Returns:
            (n, H) float32, unit rows.
        """
        ...


KINDS: Mapping[str, str] = {
    "sentence-transformers": (
        "teacher_cache.encoders.sentence_transformers:SentenceTransformersEncoder"
    ),
    "nv-embed": "teacher_cache.encoders.nv_embed:NvEmbedEncoder",
    "stella": "teacher_cache.encoders.stella:StellaEncoder",
    "wordllama": "teacher_cache.encoders.wordllama:WordLlamaEncoder",
    "dummy": "teacher_cache.encoders.dummy:DummyEncoder",
    "dummy-factored": "teacher_cache.encoders.dummy:FactoredDummyEncoder",
}
"""The adapters by kind of teacher, as ``module:Class``."""


def load_encoder(
    teacher: TeacherConfig,
    device: str = "auto",
    adapters: Mapping[str, str] | None = None,
    options: TowerOptions = AS_USUAL,
) -> Encoder:
    """Load a teacher.

    Args:
        teacher: Its settings.
        device: ``auto``, or a name that torch knows, such as ``cpu`` or ``cuda:1``.
        adapters: An engine's, as in ``teacher_cache.engines``; ``KINDS`` by default.
        options: How its transformer is computed.

    Returns:
        The loaded teacher.

    Raises:
        UsageError: It cannot be computed so.
        PipeError: There is no adapter of its kind, the model is not there or is another one, or its
            vectors have another dimension.
    """
    adapters = KINDS if adapters is None else adapters
    place = adapters.get(teacher.kind)
    if place is None:
        raise PipeError(
            f"found the kind {teacher.kind!r} for teacher {teacher.name}, expected one that has an "
            f"adapter in this version ({', '.join(adapters)}); choose such a teacher, or write an "
            "adapter and add it to teacher_cache.encoders.KINDS."
        )
    options.check(teacher)
    # Only kinds with a transformer take options.
    more = {} if options == AS_USUAL else {"options": options}
    module, _, name = place.partition(":")
    make = getattr(importlib.import_module(module), name)
    encoder = cast(Encoder, make(teacher, device, **more))
    if encoder.dim != teacher.dim:
        raise PipeError(
            f"found {encoder.dim} numbers in a vector of {teacher.model}, expected {teacher.dim} "
            f"for teacher {teacher.name}; mend the teacher's `dim`."
        )
    return encoder


def as_factored(encoder: Encoder, teacher: TeacherConfig) -> Factored:
    """Take a loaded teacher apart into pooled states and a linear layer.

    Args:
        encoder: The loaded teacher.
        teacher: Its settings.

    Returns:
        The same teacher.

    Raises:
        PipeError: Its last step is no linear layer on a pooled state.
    """
    # A class may have the layer in some of its models only: `head` is None in the others.
    if getattr(encoder, "head", None) is None or not isinstance(encoder, Factored):
        raise PipeError(
            f"found no linear layer at the end of teacher {teacher.name} (kind {teacher.kind}), "
            "expected one whose input could be stored instead of its vectors; store the vectors "
            "themselves."
        )
    return encoder


def under_prompts(encoder: Encoder, teacher: TeacherConfig, prompts: Prompts) -> Encoder:
    """Use a loaded teacher with other prompts.

    Args:
        encoder: The loaded teacher.
        teacher: Its settings.
        prompts: Text in front of each text, by role.

    Returns:
        Another encoder on the same weights.

    Raises:
        PipeError: Its adapter cannot do that, or a prompt leaves no room for text.
    """
    if isinstance(encoder, Promptable):
        return encoder.with_prompts(prompts)
    if isinstance(encoder, Adaptable):
        return encoder.under(teacher.model_copy(update={"prompts": prompts}))
    raise PipeError(
        f"teacher {teacher.name} (kind {teacher.kind}) cannot run under other prompts, expected "
        "an adapter with `with_prompts`; write it, or leave the instructions out."
    )


def prompted(teacher: TeacherConfig, texts: Sequence[str], roles: Sequence[str]) -> list[str]:
    """Put the prompt of its role in front of every text.

    Args:
        teacher: The teacher's settings.
        texts: n texts.
        roles: ``passage`` or ``question`` for each.

    Returns:
        n texts.

    Raises:
        PipeError: A role that has no prompt, or a text that holds a lone surrogate.
    """
    check_texts(texts)
    return teacher.prompts.in_front_of(texts, roles)


def check_texts(texts: Sequence[str]) -> None:
    """Check that texts can be tokenised.

    Args:
        texts: n texts.

    Raises:
        PipeError: One holds half of a surrogate pair, which is no character.
    """
    for number, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise PipeError(
                f"text {number} of {len(texts)} holds the lone surrogate "
                f"U+{ord(text[error.start]):04X} at character {error.start}, expected Unicode "
                "text; mend the source that it comes from."
            ) from None
