"""A small server on this machine that speaks the hub's file protocol."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.local_server import JsonHandler, serving


@dataclass
class Hub:
    """One repository with one commit.

    Attributes:
        files: Contents by path.
        break_off: Paths whose next download ends in the middle.
        refused: Paths that cannot be downloaded.
        requests: What was asked for: method, path, and the ``Range`` header or "".
    """

    repo: str
    commit: str
    files: Mapping[str, bytes]
    url: str = ""
    break_off: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, repo: str, commit: str, directory: Path) -> "Hub":
        paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
        files = {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
        return cls(repo, commit, files)

    def downloads(self) -> dict[str, list[str]]:
        """The ``Range`` of every download, by file."""
        found: dict[str, list[str]] = {}
        for method, path, span in self.requests:
            if method == "GET" and "/resolve/" in path:
                found.setdefault(path.split("/", 5)[-1], []).append(span)
        return found

    @contextmanager
    def serve(self) -> Iterator["Hub"]:
        hub = self

        class Handler(_Handler):
            state = hub

        with serving(Handler) as self.url:
            yield self


class _Handler(JsonHandler):
    state: Hub

    def _answer(self) -> None:
        hub, path = self.state, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path, self.headers.get("Range", "")))
        api = f"/api/models/{hub.repo}"
        if not re.match(rf"(/api/models)?/{re.escape(hub.repo)}(/|$)", path):
            return self._refuse(404, "RepoNotFound", "Repository not found")
        found = re.fullmatch(rf"{re.escape(api)}(?:/revision/(.+))?", path)
        if found:
            return self._revision(found[1] or "main")
        found = re.fullmatch(rf"{re.escape(api)}/tree/([^/]+)", path)
        if found:
            return self.send_json([_entry(name, data) for name, data in hub.files.items()])
        found = re.fullmatch(rf"/{re.escape(hub.repo)}/resolve/([^/]+)/(.+)", path)
        if found and found[2] in hub.refused and self.command == "GET":
            return self._refuse(403, "", "Refused")
        if found and found[2] in hub.files:
            return self._file(found[2], hub.files[found[2]])
        return self._refuse(404, "EntryNotFound", "Entry not found")

    do_GET = do_HEAD = _answer

    def _revision(self, revision: str) -> None:
        hub = self.state
        if revision not in ("main", "v1", hub.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        siblings = [{"rfilename": name} for name in hub.files]
        return self.send_json({"id": hub.repo, "sha": hub.commit, "siblings": siblings})

    def _file(self, name: str, data: bytes) -> None:
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(span[1]) if span else 0
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("ETag", f'"{_entry(name, data)["oid"]}"')
        self.send_header("X-Repo-Commit", self.state.commit)
        self.send_header("Accept-Ranges", "bytes")
        if span:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in self.state.break_off:
            self.state.break_off.discard(name)
            self.wfile.write(data[first : len(data) // 2])
            self.close_connection = True
            return
        self.wfile.write(data[first:])

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _entry(name: str, data: bytes) -> dict[str, object]:
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return {"type": "file", "path": name, "size": len(data), "oid": oid}
