"""A model whose vectors are kept, so that no text is embedded twice behind the same prompt."""

from collections.abc import Sequence

import numpy as np

from student.evaluation.embed import Embed
from student.evaluation.mteb_model import Prompted
from teacher_cache.config import Prompts


class SharedVectors:
    """Keeps a model's vectors by prompt and text; documents, say, are the same under each query's.

    An instance is a ``Prompted``.
    """

    def __init__(self, prompted: Prompted, most: int) -> None:
        """Wrap a model.

        Args:
            prompted: Gives it under given prompts.
            most: How many numbers are kept; further vectors are computed each time.
        """
        self._prompted = prompted
        self._most = most
        self._numbers = 0
        self._known: dict[tuple[str, str], np.ndarray] = {}

    def forget(self) -> None:
        """Drop what is kept."""
        self._known.clear()
        self._numbers = 0

    def __call__(self, prompts: Prompts) -> Embed:
        """Give the model under prompts.

        Args:
            prompts: Text in front of each text, by role.

        Returns:
            Texts and roles to unit rows.
        """
        inner = self._prompted(prompts)

        def embed(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
            fronts = prompts.in_front_of([""] * len(texts), roles)
            keys = list(zip(fronts, texts, strict=True))
            role_of = dict(zip(keys, roles, strict=True))
            new = {key: role for key, role in role_of.items() if key not in self._known}
            vectors = inner([text for _, text in new], list(new.values())) if new else ()
            found = dict(zip(new, vectors, strict=True))
            rows = [found[key] if key in found else self._known[key] for key in keys]
            numbers = sum(row.size for row in found.values())
            if self._numbers + numbers <= self._most:
                self._known |= found
                self._numbers += numbers
            return np.stack(rows)

        return embed
