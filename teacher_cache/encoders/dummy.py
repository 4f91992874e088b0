"""A teacher without a model: for tests, demonstrations and measuring the store by itself."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import prompted


class DummyEncoder:
    """A hashed bag of words: texts that share words are similar, and every text has its own vector.

    Each word is a vector of plus and minus ones drawn from its hash; a text is the normalised sum
    of its words' vectors and, faintly, of its own. ``model`` seeds the hash.

    Attributes:
        dim: Numbers in a vector.
        parameters: How many numbers the model is made of.
    """

    def __init__(self, teacher: TeacherConfig, device: str = "cpu") -> None:
        """Seed the hash.

        Args:
            teacher: The teacher's settings; its tokens are words.
            device: Not used.
        """
        self.dim = teacher.dim
        self.parameters = 0
        self._teacher = teacher
        self._signs = lru_cache(maxsize=100_000)(self._draw_signs)

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts, an empty one too.

        Args:
            texts: n texts.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, dim) float32, unit rows.
        """
        vectors = np.empty((len(texts), self.dim), np.float32)
        for vector, text in zip(vectors, prompted(self._teacher, texts, roles), strict=True):
            # A tenth of a plus or minus one keeps a sum that cancels out away from zero.
            vector[:] = 0.1 * self._draw_signs(text)
            for word in text.split()[: self._teacher.max_tokens]:
                np.add(vector, self._signs(word), out=vector)
        norms: npt.NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / norms

    def _draw_signs(self, text: str) -> npt.NDArray[np.float32]:
        """Signs from a text's hash, (dim,) float32."""
        seeded = f"{self._teacher.model}\0{text}".encode("utf-8", "surrogatepass")
        seed = hashlib.blake2b(seeded, digest_size=32).digest()
        drawn = hashlib.shake_128(seed).digest(-(-self.dim // 8))
        bits = np.unpackbits(np.frombuffer(drawn, np.uint8), count=self.dim)
        return bits.astype(np.float32) * 2 - 1
