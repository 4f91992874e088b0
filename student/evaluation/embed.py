"""The one thing evaluation knows about a model: texts and roles in, unit rows out."""

from collections.abc import Callable, Sequence

import numpy as np

Embed = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""``embed(texts, roles) -> (n, D)`` float32 unit rows; a role is "passage" or "question"."""


def embed_distinct(embed: Embed, texts: Sequence[str], role: str) -> np.ndarray:
    """Embed every different text once; evaluation sets repeat their texts.

    Args:
        embed: The model.
        texts: n texts, repeated or not.
        role: The role of all of them.

    Returns:
        (n, D) float32 unit rows, in the order of ``texts``.
    """
    distinct = {text: index for index, text in enumerate(dict.fromkeys(texts))}
    vectors = embed(list(distinct), [role] * len(distinct))
    return vectors[[distinct[text] for text in texts]]
