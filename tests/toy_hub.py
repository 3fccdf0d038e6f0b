"""A stand-in for the hub's HTTP interface: repositories in memory, one token that may write, every request noted."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

TOKEN = "hf_" + "standin" * 4
LFS = (".safetensors", ".bin")
"""What the hub keeps as large files here."""


@dataclass
class Repository:
    """files: path -> bytes, as the last commit left them."""

    kind: str
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


class ToyHub(ThreadingHTTPServer):
    """owner: whose space the token may write to. refuse_commits: 403 for every commit."""

    def __init__(self, owner: str = "ann"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner, self.refuse_commits = owner, False
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.seen: list[tuple[str, str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running(hub: ToyHub):
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class Refused(Exception):
    def __init__(self, status: int, error: str, **more):
        super().__init__(error)
        self.status, self.body = status, {"error": error, **more}


class _Handler(BaseHTTPRequestHandler):
    server: ToyHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer({r"/api/(model|dataset)s/([\w.-]+/[\w.-]+)(?:/revision/main)?": self._info})

    def do_PUT(self):
        self._answer({r"/storage/([0-9a-f]{64})": self._store})

    def do_POST(self):
        self._answer(
            {
                r"/api/repos/create": self._create,
                r"/api/validate-yaml": self._validate,
                r"/api/(model|dataset)s/([\w.-]+/[\w.-]+)/preupload/main": self._modes,
                r"/(datasets/)?([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch": self._batch,
                r"/storage/verify": self._verify,
                r"/api/(model|dataset)s/([\w.-]+/[\w.-]+)/commit/main": self._commit,
            }
        )

    def _answer(self, routes):
        body = self._body()
        path = self.path.partition("?")[0]
        self.server.seen.append((self.command, path, self.headers.get("Authorization", "")))
        try:
            found = [(m, act) for route, act in routes.items() if (m := re.fullmatch(route, path))]
            if not found:
                raise Refused(404, f"no such address: {self.command} {path}")
            if not path.startswith("/storage") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, "Invalid username or password.")
            match, act = found[0]
            status, answer = 200, act(body, *match.groups())
        except Refused as refused:
            status, answer = refused.status, refused.body
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _repository(self, name: str) -> Repository:
        if name not in self.server.repositories:
            raise Refused(404, "Repository not found")
        return self.server.repositories[name]

    def _info(self, body, kind, name):
        found = self._repository(name)
        return {"id": name, "private": found.private, "sha": found.commits[-1] if found.commits else "0" * 40}

    def _create(self, body):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != self.server.owner:
            raise Refused(403, "You don't have the rights to create a repo under this namespace")
        url = f"{self.server.address}/{name}"
        if name in self.server.repositories:
            raise Refused(409, "You already created this repo", url=url)
        kind, private = asked.get("type") or "model", asked.get("visibility") == "private"
        self.server.repositories[name] = Repository(kind, private)
        return {"url": url, "name": name}

    def _validate(self, body):
        block = json.loads(body)["content"].split("---\n")[1]
        found = yaml.safe_load(block)
        if not isinstance(found, dict) or not isinstance(found.get("license"), str):
            raise Refused(400, "invalid", errors=[{"message": '"license" is required'}])
        return {"warnings": [], "errors": []}

    def _modes(self, body, kind, name):
        self._repository(name)
        paths = [file["path"] for file in json.loads(body)["files"]]
        modes = {path: "lfs" if path.endswith(LFS) else "regular" for path in paths}
        return {"files": [{"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes.items()]}

    def _batch(self, body, kind, name):
        self._repository(name)
        objects = []
        for one in json.loads(body)["objects"]:
            upload = {"href": f"{self.server.address}/storage/{one['oid']}"}
            verify = {"href": f"{self.server.address}/storage/verify"}
            new = {"actions": {"upload": upload, "verify": verify}} if one["oid"] not in self.server.large else {}
            objects.append({"oid": one["oid"], "size": one["size"], **new})
        return {"transfer": "basic", "objects": objects}

    def _store(self, body, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refused(400, "the bytes are not those of the digest")
        self.server.large[oid] = body
        return {}

    def _verify(self, body):
        asked = json.loads(body)
        if len(self.server.large[asked["oid"]]) != asked["size"]:
            raise Refused(400, "the size is another one")
        return {}

    def _commit(self, body, kind, name):
        if self.server.refuse_commits:
            raise Refused(403, "Commits are closed today")
        found = self._repository(name)
        if found.kind != kind:
            raise Refused(404, "Repository not found")
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                found.files[value["path"]] = self.server.large[value["oid"]]
        found.commits.append(hashlib.sha1(body).hexdigest())
        return {"commitUrl": f"{self.server.address}/{name}/commit/{found.commits[-1]}", "commitOid": found.commits[-1]}
