"""All heads of a student at the price of one: its pooled states are computed once."""

from collections.abc import Sequence

import numpy as np

from student.encode import StudentEncoder, head_vectors
from student.evaluation.embed import Embed
from student.model import Student


class PooledOnce:
    """A student whose pooled states are computed once and projected by every head.

    Attributes:
        encoder: Gives the pooled states.
    """

    def __init__(self, student: Student) -> None:
        """Wrap a student.

        Args:
            student: The model.
        """
        self.encoder = StudentEncoder(student, head=None, normalize=False)
        self._pooled: dict[tuple[str, str], np.ndarray] = {}

    def forget(self) -> None:
        """Drop the kept states; between evaluation sets there is nothing to share."""
        self._pooled.clear()

    def head(self, name: str) -> Embed:
        """An embedding function for one head.

        Args:
            name: The head's name.

        Returns:
            Texts and roles to unit rows.
        """

        def embed(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
            keys = list(zip(texts, roles, strict=True))
            new = [key for key in dict.fromkeys(keys) if key not in self._pooled]
            states = self.encoder.encode([text for text, _ in new], [role for _, role in new])
            self._pooled.update(zip(new, states, strict=True))
            pooled_BH = np.stack([self._pooled[key] for key in keys])
            return head_vectors(self.encoder.student, pooled_BH, name)

        return embed
