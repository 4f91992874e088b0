"""A server on this machine that speaks as much of the hub's protocol as a data set's files need."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

from tests.local_server import JsonHandler, serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "owner/pairs"


@contextmanager
def served(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve files as the data set ``owner/pairs`` while the block runs; gives the endpoint."""

    class Handler(_Handler):
        contents = files

    with serving(Handler) as url:
        yield url


class _Handler(JsonHandler):
    contents: Mapping[str, bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        named = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        self._send([self._entry(path) for path in named if path in self.contents])

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

    do_GET = do_HEAD = _answer

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
        self.send_json(value, status, X_Repo_Commit=COMMIT)
