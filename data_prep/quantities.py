"""Bytes and times for people."""


def size(count: float) -> str:
    """A number of bytes for people.

    Args:
        count: Bytes.

    Returns:
        Three or four figures and a unit.

    >>> size(196_608_000_000)
    '196.6 GB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """A time for people.

    Args:
        seconds: The time.

    Returns:
        It in seconds, minutes or hours.

    >>> duration(42), duration(5400), duration(200_000)
    ('42 s', '90 min', '55.6 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
