"""All heads of a student at the price of one: its pooled states are computed once."""

from collections.abc import Sequence

import numpy as np

from student.encode import StudentEncoder, head_vectors
from student.evaluation.embed import Embed
from student.model import Student
from teacher_cache.config import Prompts


class PooledOnce:
    """A student whose pooled states are computed once and projected by every head.

    Attributes:
        encoder: Gives the pooled states.
    """

    def __init__(self, student: Student, most: int | None = None) -> None:
        """Wrap a student.

        Args:
            student: The model.
            most: How many numbers of pooled states are kept; the states of further texts are
                computed for every head. None keeps all.
        """
        self._most = None if most is None else max(1, most // student.hidden)
        self.encoder = StudentEncoder(student, head=None, normalize=False)
        self._pooled: dict[tuple[str, str], np.ndarray] = {}

    def forget(self) -> None:
        """Drop the kept states; between evaluation sets there is nothing to share."""
        self._pooled.clear()

    def head(self, name: str, prompts: Prompts | None = None) -> Embed:
        """An embedding function for one head.

        Args:
            name: The head's name.
            prompts: Text in front of each text, by role; the student's own by default.

        Returns:
            Texts and roles to unit rows.
        """
        encoder = self.encoder if prompts is None else self.encoder.under(prompts)

        def embed(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
            keys = list(
                zip(texts, encoder.prompts.in_front_of([""] * len(texts), roles), strict=True)
            )
            new = {
                key: role for key, role in zip(keys, roles, strict=True) if key not in self._pooled
            }
            states = encoder.encode([text for text, _ in new], list(new.values()))
            found = dict(zip(new, states, strict=True))
            pooled_BH = np.stack(
                [found[key] if key in found else self._pooled[key] for key in keys]
            )
            if self._most is None or len(self._pooled) + len(found) <= self._most:
                self._pooled.update(found)
            return head_vectors(self.encoder.student, pooled_BH, name)

        return embed
