"""Whether the states that a store is to keep give the vectors that the teacher gives."""

from typing import Final

import numpy as np

from data_prep.errors import PipeError
from teacher_cache.canary import TEXTS
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import Encoder, Factored

LEAST_COSINE: Final = 0.9999
"""What is left after rounding the states to float16; a wrong layer is nowhere near."""


def check_factored(teacher: TeacherConfig, encoder: Encoder, factored: Factored) -> None:
    """Compare a factored teacher's two ways on the canary's texts.

    Args:
        teacher: Its settings.
        encoder: The loaded teacher.
        factored: The same, taken apart.

    Raises:
        PipeError: The states, rounded as the store rounds them, do not give the vectors.
    """
    texts, roles = ([*column] for column in zip(*TEXTS, strict=True))
    states = factored.encode_states(texts, roles)
    with np.errstate(over="ignore", invalid="ignore"):
        restored = factored.head.apply(states.astype(np.float16))
    cosines = np.einsum("nd,nd->n", restored, encoder.encode(texts, roles))
    if not (cosines >= LEAST_COSINE).all():  # NaN compares false
        raise PipeError(
            f"the pooled states of {teacher.name} and its last layer give vectors with a cosine of "
            f"{float(cosines.min()):.6f} to those that it gives, expected at least {LEAST_COSINE}; "
            'set its storage to "float16" and report this.'
        )
