"""An S3 server of this machine, which can be told to fail or to be slow."""

import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        pass


class S3Server:
    """moto's server on a free port.

    Attributes:
        failing: The part of the requests that are answered by 503.
        pause: Seconds before every answer.
        failed: Requests that were.
        asked: Every request: its method and its path.
    """

    def __init__(self) -> None:
        self.failing = 0.0
        self.pause = 0.0
        self.failed = 0
        self.asked: list[tuple[str, str]] = []
        self._chances = random.Random(5)
        self._lock = threading.Lock()
        self._application = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet
        )
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        time.sleep(self.pause)
        with self._lock:
            fails = self._chances.random() < self.failing
            self.failed += fails
            self.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if fails:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        return self._application(environ, start_response)

    @contextmanager
    def misbehaving(self, failing: float = 0.0, pause: float = 0.0) -> Iterator[None]:
        """Fail and be slow while the block runs."""
        self.failing, self.pause, self.failed = failing, pause, 0
        try:
            yield
        finally:
            self.failing = self.pause = 0.0

    @contextmanager
    def running(self) -> Iterator["S3Server"]:
        """Serve while the block runs, with the variables that lead clients here."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", self.endpoint)
            patch.setenv("AWS_ACCESS_KEY_ID", "test")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            yield self
        self._server.shutdown()
        thread.join()
