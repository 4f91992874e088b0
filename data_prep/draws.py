"""Random numbers that depend on an identity and on nothing else.

A draw is a hash of the seed, of what it is for, and of what it is about. So it is the same in any
order of reading and with any number of workers, machines and versions of Python, and draws for
different purposes are independent of one another.
"""

from functools import lru_cache
from hashlib import blake2b
from math import ceil

BITS = 64
_RANGE = 2**64


def draw(seed: int, purpose: str, *identity: str | int) -> int:
    """Draw a uniform 64-bit integer.

    Args:
        seed: The corpus's seed.
        purpose: What the number decides, for example ``"cut"``.
        identity: What it is about, for example a source and a document.

    Returns:
        An integer in ``[0, 2**64)``.

    >>> draw(0, "cut", "web", "doc-1") == draw(0, "cut", "web", "doc-1")
    True
    >>> draw(0, "cut", "web", "doc-1") == draw(0, "held-out", "web", "doc-1")
    False
    """
    return draws(seed, purpose).number(key_of(*identity))


def key_of(*identity: str | int) -> bytes:
    """Write an identity in one way.

    Args:
        identity: Its parts, for example a source and a document.

    Returns:
        A key, for ``Draws``. That of further parts begins with it, a NUL, and goes on with theirs.
    """
    # NUL cannot stand in a text or in an id that a source yields, so the parts stay apart.
    return "\0".join([str(part) for part in identity]).encode("utf-8", "surrogatepass")


class Draws:
    """The draws for one purpose; what ``draw`` gives, in less time where there are millions.

    Args:
        seed: The corpus's seed.
        purposes: What the numbers decide; for several, one hash gives a number for each.
    """

    __slots__ = ("_prefix", "_size")

    def __init__(self, seed: int, *purposes: str) -> None:
        self._prefix = key_of(seed, *purposes, "")
        self._size = 8 * len(purposes)

    def digest(self, key: bytes) -> bytes:
        """Draw eight bytes for each purpose.

        Args:
            key: From ``key_of``.

        Returns:
            The numbers, one after the other, the highest byte of each first.
        """
        return blake2b(self._prefix + key, digest_size=self._size).digest()

    def number(self, key: bytes) -> int:
        """Draw a uniform 64-bit integer for the only purpose.

        Args:
            key: From ``key_of``.

        Returns:
            An integer in ``[0, 2**64)``.
        """
        return int.from_bytes(self.digest(key))


@lru_cache(maxsize=64)
def draws(seed: int, *purposes: str) -> Draws:
    """Give the draws for one purpose, or for several together.

    Args:
        seed: The corpus's seed.
        purposes: What they decide.

    Returns:
        Always the same object.
    """
    return Draws(seed, *purposes)


def below(limit: int, number: int) -> int:
    """Bring a draw into a range.

    Args:
        limit: How many values there are; far fewer than ``2**64``.
        number: A draw.

    Returns:
        An integer in ``[0, limit)``, uniform up to ``limit / 2**64``.
    """
    return (number * limit) >> BITS


def bound(fraction: float) -> bytes:
    """Say which draws something happens to that happens to a fraction of all.

    Args:
        fraction: From 0 (never) to 1 (always).

    Returns:
        It happens to the draws whose eight bytes are less. Bytes are compared as they are, which
        takes less than making a number of them.

    >>> draws(0, "cut").digest(b"doc-1") < bound(1.0)
    True
    """
    first = ceil(fraction * _RANGE)
    # Longer than eight bytes, it is above all of them.
    return first.to_bytes(8) if first < _RANGE else b"\xff" * 9
