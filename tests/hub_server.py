"""A small server of the Hugging Face Hub's kind on loopback: what huggingface_hub calls to publish and to download.

It keeps repositories in memory, stores large files as Git LFS does, and fails on request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = r"(?P<id>[^/]+/[^/]+)"
LARGE = (".safetensors", ".onnx", ".png")


class Refusal(Exception):  # noqa: N818
    """An answer of the server with an error code of the Hub."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


@dataclass
class Repo:
    """A repository: its branches, and its commits as files by name. Only `readers` see it if there are any."""

    private: bool = False
    gated: bool = False
    readers: tuple[str, ...] = ()
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], *, branch: str = "main", message: str = "") -> str:
        """Replaces the files of a branch."""
        self.messages.append(message)
        sha = hashlib.sha1(repr((len(self.commits), sorted(files), message)).encode()).hexdigest()
        self.commits[sha], self.refs[branch] = files, sha
        return sha

    @property
    def files(self) -> dict[str, bytes]:
        """The files of the main branch, which tests may change to damage them."""
        return self.commits[self.refs["main"]]


@dataclass
class Hub:
    """The state of a server. `cuts` has, by file, how many transfers end early; `requests` what was asked."""

    url: str = ""
    users: dict[str, str] = field(default_factory=lambda: {"hf_anna": "anna", "hf_bob": "bob"})
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    refuse_uploads: bool = False
    requests: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")

    @property
    def user(self) -> str:
        return self.hub.users.get(self.headers.get("Authorization", "").removeprefix("Bearer "), "")

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        try:
            for method, pattern, function in _ROUTES:
                match = re.fullmatch(pattern, address.path)
                if match and self.command in method:
                    parts = {name: unquote(value) for name, value in match.groupdict().items()}
                    query = {name: values[0] for name, values in parse_qs(address.query).items()}
                    function(self, body=body, query=query, **parts)
                    return
            raise Refusal(404, "EntryNotFound", f"no route {self.command} {self.path}")
        except Refusal as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self.send(json.dumps({"error": refusal.message}).encode(), status=refusal.status, headers=headers)

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

    def send(
        self, content: bytes, *, status: int = 200, headers: dict[str, str] | None = None, most: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:most])
        if most is not None:
            self.close_connection = True

    def send_json(self, value: Any, *, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status=status, headers={"Content-Type": "application/json"})

    def repo(self, name: str, *, write: bool = False) -> Repo:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and self.user != name.partition("/")[0]):
            raise Refusal(404 if self.user else 401, "RepoNotFound", "Repository not found")
        if repo.gated and self.user not in (*repo.readers, name.partition("/")[0]):
            raise Refusal(403, "GatedRepo", "Access to this model is restricted")
        if write and self.user != name.partition("/")[0]:
            raise Refusal(403, "", "You don't have the required permissions")
        return repo


def _root(request: _Handler, **_: Any) -> None:
    request.send(b"hub")


def _whoami(request: _Handler, **_: Any) -> None:
    if not request.user:
        raise Refusal(401, "", "Invalid credentials in Authorization header")
    request.send_json({"type": "user", "name": request.user, "orgs": []})


def _create(request: _Handler, body: bytes, **_: Any) -> None:
    wanted = json.loads(body)
    owner = wanted["organization"] or request.user
    name = f"{owner}/{wanted['name']}"
    if not request.user:
        raise Refusal(401, "", "Invalid credentials in Authorization header")
    if name in request.hub.repos:
        request.send_json(
            {"error": "You already created this model repo", "url": f"{request.hub.url}/{name}"}, status=409
        )
        return
    if owner != request.user:
        raise Refusal(403, "", "You don't have the rights to create a model under this namespace")
    request.hub.repos[name] = Repo(private=wanted.get("visibility") == "private")
    request.hub.repos[name].commit({".gitattributes": b""}, message="initial commit")
    request.send_json({"url": f"{request.hub.url}/{name}", "name": name})


def _info(request: _Handler, id: str, revision: str = "main", **_: Any) -> None:
    repo = request.repo(id)
    sha = _find_commit(repo, revision)
    files = [{"rfilename": name} for name in repo.commits[sha]]
    request.send_json(
        {"id": id, "sha": sha, "private": repo.private, "tags": [], "downloads": 0, "likes": 0, "siblings": files}
    )


def _tree(request: _Handler, id: str, revision: str, **_: Any) -> None:
    repo = request.repo(id)
    files = repo.commits[_find_commit(repo, revision)]
    request.send_json([_describe(name, content) for name, content in files.items()])


def _describe(name: str, content: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": name, "size": len(content), "oid": _git_hash(content)}
    if name.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 100}
    return entry


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _branch(request: _Handler, id: str, branch: str, **_: Any) -> None:
    repo = request.repo(id, write=True)
    if branch in repo.refs:
        raise Refusal(409, "", "Reference already exists")
    repo.refs[branch] = repo.refs["main"]
    request.send(b"")


def _validate(request: _Handler, body: bytes, **_: Any) -> None:
    text = json.loads(body)["content"]
    valid = text.startswith("---\n") and "\n---\n" in text
    request.send_json(
        {"errors": [] if valid else [{"message": "no metadata"}], "warnings": []}, status=200 if valid else 400
    )


def _preupload(request: _Handler, id: str, body: bytes, **_: Any) -> None:
    request.repo(id, write=True)
    files = [
        {
            "path": file["path"],
            "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
            "shouldIgnore": False,
        }
        for file in json.loads(body)["files"]
    ]
    request.send_json({"files": files})


def _batch(request: _Handler, id: str, body: bytes, **_: Any) -> None:
    request.repo(id, write=True)
    objects = [
        {
            "oid": each["oid"],
            "size": each["size"],
            **(
                {}
                if each["oid"] in request.hub.large
                else {"actions": {"upload": {"href": f"{request.hub.url}/large/{each['oid']}"}}}
            ),
        }
        for each in json.loads(body)["objects"]
    ]
    request.send_json({"transfer": "basic", "objects": objects})


def _upload(request: _Handler, oid: str, body: bytes, **_: Any) -> None:
    if request.hub.refuse_uploads:  # as if the connection were cut
        request.close_connection = True
        request.connection.close()
        return
    assert hashlib.sha256(body).hexdigest() == oid
    request.hub.large[oid] = body
    request.send(b"")


def _commit(request: _Handler, id: str, revision: str, body: bytes, query: dict[str, str], **_: Any) -> None:
    repo, lines = request.repo(id, write=True), [json.loads(line) for line in body.splitlines()]
    files = dict(repo.commits[_find_commit(repo, revision)])
    for line in lines[1:]:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = request.hub.large[value["oid"]]
        else:
            assert line["key"] == "deletedFile"
            del files[value["path"]]
    pull_request = query.get("create_pr") == "1"
    sha = repo.commit(files, branch="refs/pr/1" if pull_request else revision, message=lines[0]["value"]["summary"])
    url = f"{request.hub.url}/{id}"
    request.send_json(
        {
            "commitUrl": f"{url}/commit/{sha}",
            "commitOid": sha,
            "pullRequestUrl": f"{url}/discussions/1" if pull_request else None,
        }
    )


def _resolve(request: _Handler, id: str, revision: str, path: str, **_: Any) -> None:
    repo = request.repo(id)
    sha = _find_commit(repo, revision)
    content = repo.commits[sha].get(path)
    headers = {"X-Repo-Commit": sha}
    if content is None:
        request.send(b"", status=404, headers={**headers, "X-Error-Code": "EntryNotFound"})
    elif path.endswith(LARGE):
        oid = hashlib.sha256(content).hexdigest()
        request.hub.large[oid] = content
        # Another host: the token must not be sent there.
        address = f"{request.hub.url.replace('127.0.0.1', 'localhost')}/large/{oid}?{path}"
        headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content)), "Location": address}
        request.send(b"", status=302, headers=headers)
    else:
        _send_file(request, path, content, {**headers, "ETag": f'"{_git_hash(content)}"'})


def _download(request: _Handler, oid: str, **_: Any) -> None:
    assert "Authorization" not in request.headers
    content = request.hub.large[oid]
    _send_file(request, urlsplit(request.path).query, content, {"ETag": f'"{oid}"'})


def _send_file(request: _Handler, name: str, content: bytes, headers: dict[str, str]) -> None:
    match, status = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", "")), 200
    if match:
        start, status = int(match[1]), 206
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        content = content[start:]
    most = None
    if request.command == "GET" and request.hub.cuts.get(name, 0) > 0:
        request.hub.cuts[name] -= 1
        most = len(content) // 2
    request.send(content, status=status, headers=headers, most=most)


def _find_commit(repo: Repo, revision: str) -> str:
    sha = repo.refs.get(revision, revision)
    if sha not in repo.commits:
        raise Refusal(404, "RevisionNotFound", "Invalid rev id")
    return sha


_ROUTES = (
    ("GET HEAD", "/", _root),
    ("GET", "/api/whoami-v2", _whoami),
    ("POST", "/api/repos/create", _create),
    ("POST", "/api/validate-yaml", _validate),
    ("GET", f"/api/models/{ID}", _info),
    ("GET", f"/api/models/{ID}/revision/(?P<revision>[^/]+)", _info),
    ("GET", f"/api/models/{ID}/tree/(?P<revision>[^/]+)", _tree),
    ("POST", f"/api/models/{ID}/branch/(?P<branch>[^/]+)", _branch),
    ("POST", f"/api/models/{ID}/preupload/(?P<revision>[^/]+)", _preupload),
    ("POST", f"/api/models/{ID}/commit/(?P<revision>[^/]+)", _commit),
    ("POST", f"/{ID}.git/info/lfs/objects/batch", _batch),
    ("PUT", "/large/(?P<oid>[0-9a-f]{64})", _upload),
    ("GET HEAD", "/large/(?P<oid>[0-9a-f]{64})", _download),
    ("GET HEAD", f"/{ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _resolve),
)


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Runs a server until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
