"""Files from the network: over http alone, no larger and no slower than allowed."""

import http.client
import queue
import threading
import urllib.request
from time import monotonic
from typing import Final

from data_prep.errors import PipeError, first_line

_SECONDS: Final = 60.0
"""For an address in all, redirects included."""
_WAIT_SECONDS: Final = 30.0
"""For an answer to begin, or to go on."""
_CHUNK_BYTES: Final = 1 << 16


def fetch(address: str, most_bytes: int) -> bytes:
    """Fetch a file.

    Args:
        address: Of ``http`` or ``https``; it may redirect to such ones.
        most_bytes: Bytes that it may have.

    Returns:
        Its content.

    Raises:
        PipeError: It cannot be fetched, takes too long, is too large, or redirects elsewhere.
    """
    answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    # A thread, as neither looking up a host nor headers that trickle in know a time limit.
    worker = threading.Thread(target=_work, args=(address, most_bytes, answers), daemon=True)
    worker.start()
    try:
        answer = answers.get(timeout=_SECONDS)
    except queue.Empty:
        answer = _too_slow()
    if isinstance(answer, OSError | ValueError | http.client.HTTPException):
        raise PipeError(
            f"the image {address} cannot be fetched ({first_line(answer)}); fetch it yourself and "
            "give its bytes."
        )
    if isinstance(answer, Exception):
        raise answer
    if len(answer) > most_bytes:
        raise PipeError(
            f"the image {address} has more than {most_bytes:,} bytes; fetch it yourself and "
            "scale it down."
        )
    return answer


def _work(address: str, most_bytes: int, answers: "queue.SimpleQueue[bytes | Exception]") -> None:
    try:
        answers.put(_read(address, most_bytes, monotonic() + _SECONDS))
    except Exception as error:
        answers.put(error)


def _read(address: str, most_bytes: int, deadline: float) -> bytes:
    content = bytearray()
    with _opener().open(address, timeout=_WAIT_SECONDS) as answer:
        while len(content) <= most_bytes and (chunk := answer.read1(_CHUNK_BYTES)):
            content += chunk
            if monotonic() > deadline:
                raise _too_slow()
    return bytes(content)


def _too_slow() -> TimeoutError:
    return TimeoutError(f"it took more than {_SECONDS:g} seconds")


def _opener() -> urllib.request.OpenerDirector:
    """One that knows http and https, and refuses a redirect to anything else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
