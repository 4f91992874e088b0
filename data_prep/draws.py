"""Random numbers that depend on an identity and on nothing else.

A draw is a hash of the seed, of what it is for, and of what it is about. So it is the same in any
order of reading and with any number of workers, machines and versions of Python, and draws for
different purposes are independent of one another.
"""

from hashlib import blake2b

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
    # NUL cannot stand in a text or in an id that a source yields, so the parts stay apart.
    key = "\0".join(map(str, (seed, purpose, *identity)))
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def below(limit: int, number: int) -> int:
    """Bring a draw into a range.

    Args:
        limit: How many values there are; far fewer than ``2**64``.
        number: A draw.

    Returns:
        An integer in ``[0, limit)``, uniform up to ``limit / 2**64``.
    """
    return (number * limit) >> BITS


def happens(fraction: float, number: int) -> bool:
    """Decide something that happens to a fraction of all draws.

    Args:
        fraction: From 0 (never) to 1 (always).
        number: A draw.

    Returns:
        Whether it happens for this draw.
    """
    return number < fraction * _RANGE
