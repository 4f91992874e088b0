"""A teacher of your own: copy to ``teacher_cache/encoders/``, and add a row to ``KINDS``.

This one knows a word by its letters. Replace what is marked; the rest is what every adapter has.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import prompted


class LetterEncoder:
    """How often each letter occurs, normalised.

    Attributes:
        dim: Numbers in a vector.
        parameters: How many numbers the model is made of.
    """

    def __init__(self, teacher: TeacherConfig, device: str = "auto") -> None:
        """Load the model.

        Args:
            teacher: The teacher's settings.
            device: ``auto``, or a name that torch knows.

        Raises:
            PipeError: The model is not there or is another one.
        """
        self._teacher = teacher
        # Replace: `model_directory(teacher.model, teacher.revision, teacher.sha256)` finds a
        # directory, package or hub name; `Checkpoint` checks its tensors by name and shape.
        self.dim = 27
        self.parameters = 0

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts, an empty one too.

        Args:
            texts: n texts.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, dim) float32, unit rows.

        Raises:
            PipeError: A text holds a lone surrogate.
        """
        # Prompts by role, and a sentence for text that is none.
        whole = prompted(self._teacher, texts, roles)
        # Replace: tokens cut off at `max_tokens`, and vectors in the teacher's `dtype`. A
        # transformer hands `TokenLoop.run` two functions, as `encoders/stella.py` does: from the
        # places of texts to their tokens, and from a padded batch to vectors.
        vectors = np.zeros((len(whole), self.dim), np.float32)
        for vector, text in zip(vectors, whole, strict=True):
            vector[-1] = 1.0  # no text is without a direction
            for word in text.lower().split()[: self._teacher.max_tokens]:
                for letter in word:
                    if "a" <= letter <= "z":
                        vector[ord(letter) - ord("a")] += 1
        norms: npt.NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / norms
