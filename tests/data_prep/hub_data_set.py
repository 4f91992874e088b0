"""A server on this machine that speaks as much of the hub's protocol as a data set's files need."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "owner/pairs"


@contextmanager
def served(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve files as the data set ``owner/pairs`` while the block runs; gives the endpoint."""

    class Handler(_Handler):
        contents = files

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    contents: Mapping[str, bytes]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        named = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        self._send([self._entry(path) for path in named if path in self.contents])

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if re.fullmatch(rf"/api/datasets/{REPO}/tree/[^/]+", path):
            self._send([self._entry(name) for name in sorted(self.contents)])
        elif re.fullmatch(rf"/api/datasets/{REPO}(/revision/[^/]+)?", path):
            self._send({"id": REPO, "sha": COMMIT, "siblings": [], "private": False})
        elif (found := re.fullmatch(rf"/datasets/{REPO}/resolve/[^/]+/(.*)", path)) and (
            found[1] in self.contents
        ):
            self._file(self.contents[found[1]])
        else:
            self._send({"error": f"no {path}"}, 404)

    def _entry(self, name: str) -> dict[str, object]:
        return {"type": "file", "path": name, "size": len(self.contents[name]), "oid": "0" * 40}

    def _file(self, content: bytes) -> None:
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, stop = 0, len(content)
        if span:
            first = int(span[1])
            stop = min(stop, int(span[2]) + 1) if span[2] else stop
        self.send_response(206 if span else 200)
        self.send_header("ETag", '"x"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(stop - first))
        if span:
            self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[first:stop])

    def _send(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
