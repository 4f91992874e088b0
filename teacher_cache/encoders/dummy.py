"""A teacher without a model: for tests, demonstrations and measuring the store by itself."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import prompted
from teacher_cache.encoders.prompt_setting import PromptSetting
from teacher_cache.linear_head import LinearHead


class DummyEncoder(PromptSetting):
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
        self._words = _HashedWords(teacher, teacher.dim)

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts, an empty one too.

        Args:
            texts: n texts.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, dim) float32, unit rows.
        """
        vectors = self._words.sums(prompted(self._teacher, texts, roles))
        norms: npt.NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / norms


class FactoredDummyEncoder(PromptSetting):
    """The same sums, a quarter as wide, under a random linear layer.

    Attributes:
        dim: Numbers in a vector.
        parameters: How many numbers the model is made of.
        state_dim: Numbers in a sum.
        head: The layer.
    """

    def __init__(self, teacher: TeacherConfig, device: str = "cpu") -> None:
        """Draw the layer.

        Args:
            teacher: The teacher's settings; its tokens are words.
            device: Not used.
        """
        self.dim = teacher.dim
        self.state_dim = max(1, teacher.dim // 4)
        self._teacher = teacher
        self._words = _HashedWords(teacher, self.state_dim)
        seed = hashlib.blake2b(teacher.model.encode(), digest_size=8).digest()
        rng = np.random.default_rng(int.from_bytes(seed))
        self.head = LinearHead(
            rng.standard_normal((self.dim, self.state_dim), np.float32),
            rng.standard_normal(self.dim, np.float32),
        )
        self.parameters = self.dim * (self.state_dim + 1)

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts, an empty one too.

        Args:
            texts: n texts.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, dim) float32, unit rows.
        """
        return self.head.apply(self.encode_states(texts, roles))

    def encode_states(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts up to the linear layer.

        Args:
            texts: n texts.
            roles: ``passage`` or ``question`` for each.

        Returns:
            (n, state_dim) float32, not normalised.
        """
        return self._words.sums(prompted(self._teacher, texts, roles))


class _HashedWords:
    """Sums of the signs that words hash to."""

    def __init__(self, teacher: TeacherConfig, width: int) -> None:
        self._model = teacher.model
        self._max_tokens = teacher.max_tokens
        self._width = width
        self._signs = lru_cache(maxsize=100_000)(self._draw_signs)

    def sums(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(n, width) float32, not normalised, none of them zero."""
        sums = np.empty((len(texts), self._width), np.float32)
        for total, text in zip(sums, texts, strict=True):
            # A tenth of a plus or minus one keeps a sum that cancels out away from zero.
            total[:] = 0.1 * self._draw_signs(text)
            for word in text.split()[: self._max_tokens]:
                np.add(total, self._signs(word), out=total)
        return sums

    def _draw_signs(self, text: str) -> npt.NDArray[np.float32]:
        """Signs from a text's hash, (width,) float32."""
        seeded = f"{self._model}\0{text}".encode("utf-8", "surrogatepass")
        seed = hashlib.blake2b(seeded, digest_size=32).digest()
        drawn = hashlib.shake_128(seed).digest(-(-self._width // 8))
        bits = np.unpackbits(np.frombuffer(drawn, np.uint8), count=self._width)
        return bits.astype(np.float32) * 2 - 1
