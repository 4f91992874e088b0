"""What a server says in passing, and trying again while it does."""

import errno
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

T = TypeVar("T")

_ATTEMPTS: Final = 7
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 20.0

_PASSING: Final = {
    None,
    *(errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.EPIPE, errno.ETIMEDOUT),
    *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH),
    *(errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, getattr(errno, "EREMOTEIO", errno.EIO)),
}
"""What s3fs and the system say of a busy server or a broken connection."""

_LASTING: Final = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
_BROKEN_CONNECTION: Final = {
    *("ClientConnectionError", "ClientPayloadError"),  # aiohttp
    *("HTTPClientError", "IncompleteReadError"),  # botocore
    *("TransportError", "ProtocolError"),  # httpx and google; urllib3
}
"""Names of classes, so that no library needs to be there to be asked."""
_BUSY: Final = {408, 409, 425, 429, 500, 502, 503, 504}


def patiently(call: Callable[[], T]) -> T:
    """Call something again, with growing pauses, as long as its error may pass.

    Args:
        call: What to do; it may be done more than once.

    Returns:
        What it returned.

    Raises:
        Exception: What it raised last: the first error that will not pass, or the seventh.
    """
    patience = Retrying(
        retry=retry_if_exception(is_passing),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential_jitter(_FIRST_PAUSE, _LONGEST_PAUSE, jitter=_FIRST_PAUSE),
        reraise=True,
    )
    return patience(call)


def is_passing(error: BaseException) -> bool:
    """Whether an error may be gone at the next attempt.

    Args:
        error: What a file system raised.

    Returns:
        True for broken connections, time-outs, throttling and a server's own faults; False for
        missing files, refused access and a full disk.
    """
    if isinstance(error, _LASTING):
        return False
    status = getattr(error, "status", None) or getattr(error, "code", None)
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", status)
    if isinstance(status, str) and status.isdigit():
        status = int(status)
    if isinstance(status, int):
        return status in _BUSY
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if {kind.__name__ for kind in type(error).__mro__} & _BROKEN_CONNECTION:
        return True
    return isinstance(error, OSError) and (
        not isinstance(error, PermissionError) and error.errno in _PASSING
    )
