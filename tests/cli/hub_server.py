"""A stand-in of the Hugging Face hub: repositories of models in memory, by the rules of the hub's HTTP API."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40
TOKEN = "hf_of_a_test"


class Hub:
    """The repositories: for each ``owner/name`` its files by name."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.address = ""


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.reply(401, {"error": "Invalid username or password."})
            parts = self.path.split("?")[0].strip("/").split("/")
            if self.path == "/api/repos/create":
                asked = json.loads(body)
                repository = f"{asked['organization']}/{asked['name']}"
                hub.repositories.setdefault(repository, {})
                return self.reply(200, {"url": f"{hub.address}/{repository}", "id": "1", "name": repository})
            if self.path == "/api/validate-yaml":
                return self.reply(200, {"errors": [], "warnings": []})
            repository, action = "/".join(parts[2:4]), parts[4]
            if action == "preupload":
                files = [{**each, "uploadMode": "regular", "shouldIgnore": False} for each in json.loads(body)["files"]]
                return self.reply(200, {"files": [{k: v for k, v in f.items() if k != "sample"} for f in files]})
            assert action == "commit"
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    hub.repositories[repository][value["path"]] = base64.b64decode(value["content"])
            address = f"{hub.address}/{repository}/commit/{COMMIT}"
            return self.reply(200, {"commitUrl": address, "commitOid": COMMIT, "pullRequestUrl": None})

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                repository = "/".join(parts[2:4])
                if repository not in hub.repositories:
                    return self.reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
                files = [{"rfilename": name} for name in hub.repositories[repository]]
                if len(parts) > 4 and parts[4] == "tree":
                    held = hub.repositories[repository]
                    tree = [
                        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                        for name, data in held.items()
                    ]
                    return self.reply(200, tree)
                return self.reply(200, {"id": repository, "sha": COMMIT, "siblings": files, "private": False})
            if len(parts) > 4 and parts[2] == "resolve":
                data = hub.repositories.get("/".join(parts[:2]), {}).get("/".join(parts[4:]))
                if data is not None:
                    return self.send(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"'})
                return self.reply(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return self.reply(404, {"error": f"no such place: {self.path}"})

        def reply(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
            self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"X-Repo-Commit": COMMIT, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that listens on this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
