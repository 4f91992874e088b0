"""A small server on this machine that takes uploads as the Hugging Face hub does."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tests.local_server import JsonHandler, serving

TOKEN = "hf_of_the_tests"
REPO = "owner/student"
_LARGE = (".safetensors", ".png", ".onnx")


@dataclass
class UploadHub:
    """One repository, which need not be there yet.

    Attributes:
        private: Whether it is private; None while it is not there.
        files: What the last commit has left there.
        messages: Of the commits.
        large: Contents that came before a commit, by SHA-256.
        refused: Status by a part of the path of requests that are refused.
        requests: Method and path of every request.
    """

    private: bool | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def serve(self) -> Iterator["UploadHub"]:
        hub = self

        class Handler(_Handler):
            state = hub

        with serving(Handler) as self.url:
            yield self

    @property
    def revision(self) -> str:
        """Of what lies there now."""
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


class _Handler(JsonHandler):
    state: UploadHub

    def _answer(self) -> None:
        hub, path = self.state, unquote(urlsplit(self.path).path)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.requests.append(f"{self.command} {path}")
        for part, status in hub.refused.items():
            if part in path:
                return self.send_json({"error": "refused by the test"}, status)
        if path.startswith("/large/"):  # as on the hub, the address alone opens it
            hub.large[path.removeprefix("/large/")] = data
            return self.send_json({})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.send_json({"error": "Invalid username or password."}, 401)
        return self._known(path, data)

    do_GET = do_POST = do_PUT = _answer

    def _known(self, path: str, data: bytes) -> None:  # noqa: PLR0911
        hub = self.state
        if path == "/api/repos/create":
            there = hub.private is not None
            if not there:
                hub.private = json.loads(data).get("visibility") == "private"
            return self.send_json({"url": f"{hub.url}/{REPO}"}, 409 if there else 200)
        if path == "/api/validate-yaml":
            return self.send_json({"errors": [], "warnings": []})
        if path == f"/{REPO}.git/info/lfs/objects/batch":
            return self.send_json({"transfer": "basic", "objects": self._places(data)})
        found = re.fullmatch(rf"/api/models/{REPO}(?:/(\w+)/main)?", path)
        if found is None or hub.private is None:
            return self.send_json({"error": "Repository not found"}, 404)
        if found[1] == "tree":
            files = [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in hub.files.items()
            ]
            return self.send_json(files)
        if found[1] == "preupload":
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(_LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(data)["files"]
            ]
            return self.send_json({"files": files})
        if found[1] == "commit":
            self._commit(data)
            return self.send_json(
                {"commitUrl": f"{hub.url}/{REPO}/commit/1", "commitOid": hub.revision}
            )
        return self.send_json({"id": REPO, "sha": hub.revision, "private": hub.private})

    def _places(self, data: bytes) -> list[dict[str, object]]:
        hub = self.state
        return [
            {"oid": file["oid"], "size": file["size"]}
            | (
                {}
                if file["oid"] in hub.large
                else {"actions": {"upload": {"href": f"{hub.url}/large/{file['oid']}"}}}
            )
            for file in json.loads(data)["objects"]
        ]

    def _commit(self, data: bytes) -> None:
        for line in map(json.loads, data.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.state.messages.append(value["summary"])
            elif line["key"] == "file":
                self.state.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del self.state.files[value["path"]]
            else:
                assert line["key"] == "lfsFile"
                content = self.state.large[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                self.state.files[value["path"]] = content
