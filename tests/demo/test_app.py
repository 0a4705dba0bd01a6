"""Tests of page and API as one application, over real HTTP, with hostile clients."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from gradio.utils import get_upload_folder
from redness import Redness, make_png

from zoo.plugins.registry import load_registry
from zoo_demo.app import Settings, make_app
from zoo_demo.models.model_pool import ModelPool
from zoo_demo.models.served_model import ServedModel
from zoo_demo.server.serve import bind, url_of
from zoo_demo.temp_files import temp_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = {"_type": "gradio.FileData"}
ACCOUNT = ("anna", "s3cret:ü")


@contextmanager
def serve_app(runs: Path, **settings: Any) -> Iterator[httpx.Client]:
    """Serves one fake model; yields a client."""
    models = {"redness": ServedModel("redness", Redness())}
    pool = ModelPool(models=models, runs=runs, device="cpu", registry=load_registry(), examples={"redness": []})
    sock = bind("127.0.0.1", 0)
    servers: list[uvicorn.Server] = []

    async def serve() -> None:  # creates the app in its event loop: gradio would otherwise leave another one open
        config = uvicorn.Config(make_app(pool, Settings(**settings)), log_level="warning", ws="none")
        servers.append(uvicorn.Server(config))
        await servers[0].serve(sockets=[sock])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    while not (servers and servers[0].started):
        assert thread.is_alive()
        time.sleep(0.01)
    with httpx.Client(base_url=url_of(sock), timeout=20) as client:
        yield client
    servers[0].should_exit = True
    thread.join(10)
    sock.close()
    models["redness"].batcher.close()
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serve_app(tmp_path_factory.mktemp("runs")) as client:
        yield client


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    """A URL that nobody should fetch, and the paths that were fetched."""
    fetched: list[str] = []

    class Trap(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Trap) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/x.png", fetched
        server.shutdown()
        thread.join()


def call(client: httpx.Client, name: str, *data: object) -> str:
    """Calls a function of the page, as gradio_client does, and returns the response."""
    event = client.post(f"/gradio_api/call/{name}", json={"data": data}).json()["event_id"]
    return client.get(f"/gradio_api/call/{name}/{event}").text


def upload(client: httpx.Client, name: str, content: bytes) -> str:
    path: str = client.post("/gradio_api/upload", files={"files": (name, content)}).json()[0]
    return path


def arguments_with(file: dict[str, Any]) -> dict[str, tuple[object, ...]]:
    """Returns, for each function of the page, arguments that contain a file."""
    file = {**file, "meta": FILE}
    return {
        "predict": (file, "redness"),
        "compare": (file, ["redness"]),
        "batch": ([file], "redness"),
    }


def test_an_uploaded_photo_is_classified(client: httpx.Client) -> None:
    file = {"path": upload(client, "red.png", make_png("red")), "meta": FILE}

    assert '"label": "red"' in call(client, "predict", file, "redness")
    assert "red, 100.0%" in call(client, "compare", file, ["redness"])
    assert "1 photo: **1** red." in call(client, "batch", [file], "redness")


def test_every_event_handles_fields_that_were_never_filled(
    client: httpx.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    config = client.get("/config").json()
    events = [each for each in config["dependencies"] if not each["queue"]]
    empty = {each["id"]: [] if each["type"] == "checkboxgroup" else None for each in config["components"]}
    assert len(events) > 20

    for each in events:
        event = {"fn_index": each["id"], "data": [empty[field] for field in each["inputs"]], "session_hash": "new"}
        client.post("/gradio_api/run/predict", json={**event, "event_data": {"index": 0, "value": None}})

    assert not capfd.readouterr().err


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/predict", 405), ("POST", "/api/v1/predictions", 404), ("PUT", "/metrics", 405)],
)
def test_the_page_answers_no_request_to_the_api(client: httpx.Client, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert (response.status_code, list(response.json())) == (status, ["error"])


@pytest.mark.parametrize("function", arguments_with({}))
def test_no_path_makes_the_server_read_its_files(
    client: httpx.Client, tmp_path: Path, function: str, capfd: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(make_png("red"))
    folder = Path(get_upload_folder()) / "strange"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / f"{function}.png"
    link.symlink_to(photo)
    paths = [photo, link, f"{folder}/../../../../../..{photo}", "/etc/passwd", "/proc/self/environ", "pyproject.toml"]

    for path in map(str, paths):
        answer = call(client, function, *arguments_with({"path": path})[function])
        assert "event: error" in answer, path
        assert "Files of the server are not accessible" in answer, path
    assert "Traceback" not in capfd.readouterr().err  # it is the client's error, not ours


def test_no_file_is_read_in_place_of_a_model_name(client: httpx.Client) -> None:
    foreign_file = {"path": "/etc/passwd", "meta": FILE}

    for answer in (call(client, "predict", None, foreign_file), call(client, "compare", None, [foreign_file])):
        assert "event: error" in answer
        assert "root:" not in answer


def test_files_of_the_server_are_not_served(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"secret")
    photo = upload(client, "red.png", make_png("red"))

    assert client.get(f"/gradio_api/file={photo}").content == make_png("red")
    for path in (tmp_path / "weights", "/etc/passwd", f"{photo}/../../../../../etc/passwd", "..%2f..%2fetc%2fpasswd"):
        answer = client.get(f"/gradio_api/file={path}")
        assert answer.status_code in (403, 404), path
        assert b"secret" not in answer.content
        assert b"root:" not in answer.content


@pytest.mark.parametrize("function", arguments_with({}))
def test_no_url_is_fetched(client: httpx.Client, trap: tuple[str, list[str]], function: str) -> None:
    url, fetched = trap
    for file in (
        {"path": url},
        {"url": url},
        {"path": url, "url": url},
        {"path": None, "url": url},
    ):
        assert re.search(r"\bred\b", call(client, function, *arguments_with(file)[function])) is None
    client.get(f"/gradio_api/file={url}")
    client.get(f"/gradio_api/proxy={url}")

    assert fetched == []


def test_an_uploaded_script_is_served_as_a_download(client: httpx.Client) -> None:
    answer = client.get(f"/gradio_api/file={upload(client, 'x.html', b'<script>alert(1)</script>')}")

    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_line_breaks_cannot_inject_headers(client: httpx.Client) -> None:
    evil = "a\r\nX-Evil: 1"
    answers = [
        client.get(f"/gradio_api/file={upload(client, f'{evil}.png', make_png())}"),
        client.post("/api/v1/predict", params={"model": evil}, content=make_png()),
        client.get("/gradio_api/file=%0d%0aX-Evil:%201"),
    ]

    for answer in answers:
        assert "x-evil" not in answer.headers
    assert answers[1].status_code == 404


def test_other_sites_can_neither_read_responses_nor_send_requests(client: httpx.Client) -> None:
    elsewhere = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    for path in ("/api/v1/models", "/config", "/gradio_api/info"):
        assert "access-control-allow-origin" not in client.get(path, headers=elsewhere).headers
    preflight = {**elsewhere, "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in client.options("/api/v1/predict", headers=preflight).headers
    for path in ("/api/v1/predict", "/gradio_api/upload", "/gradio_api/queue/join"):
        answer = client.post(path, headers={**elsewhere, "content-type": "text/plain"}, content=make_png())
        assert (answer.status_code, answer.json()["error"]["message"]) == (
            403,
            "Requests from pages of other sites are blocked.",
        )

    own = {"origin": str(client.base_url), "sec-fetch-site": "same-origin"}
    assert client.post("/api/v1/predict", headers=own, content=make_png()).status_code == 200


def test_without_the_password_only_the_health_is_public(tmp_path: Path) -> None:
    with serve_app(tmp_path, auth=ACCOUNT) as client:
        for method, path in [
            ("GET", "/"),
            ("GET", "/config"),
            ("GET", "/openapi.json"),
            ("GET", "/metrics"),
            ("GET", "/gradio_api/info"),
            ("GET", "/gradio_api/file=/etc/passwd"),
            ("POST", "/gradio_api/upload"),
            ("POST", "/gradio_api/component_server"),
            ("POST", "/api/v1/predict"),
        ]:
            answer = client.request(method, path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Basic"), path
            assert "redness" not in answer.text, path
        assert client.get("/healthz").json() == {"status": "ok"}

        for wrong in (("anna", "s3cret"), ("Anna", ACCOUNT[1]), ("", "")):
            assert client.get("/config", auth=wrong).status_code == 401
        assert client.get("/config", headers={"authorization": "Basic %%%"}).status_code == 401

        assert client.get("/config", auth=ACCOUNT).status_code == 200
        assert (
            client.post("/api/v1/predict", auth=ACCOUNT, content=make_png()).json()["predictions"][0]["label"] == "red"
        )
        assert client.get("/openapi.json", auth=ACCOUNT).status_code == 200


def test_uploads_that_nobody_uses_are_capped_in_all(tmp_path: Path) -> None:
    photo = make_png("red")
    with serve_app(tmp_path, max_upload=1 << 20) as client:  # unused uploads may take four times as much
        used = {"path": upload(client, "red.png", photo), "meta": FILE}
        assert "event: complete" in call(client, "predict", used, "redness")
        paths = [Path(upload(client, "red.png", photo + bytes([number]) * 900_000)) for number in range(8)]

        deadline = time.monotonic() + 10
        while paths[3].exists() and time.monotonic() < deadline:  # the sweep follows the response
            time.sleep(0.01)
        assert [path.exists() for path in paths] == [False] * 4 + [True] * 4
        assert client.get(f"/gradio_api/file={used['path']}").content == photo
        answer = call(client, "predict", {"path": str(paths[0]), "meta": FILE}, "redness")
        assert "The server no longer has this upload. Upload it again." in answer
        assert "event: error" in call(client, "batch", [{"path": str(paths[0]), "meta": FILE}], "redness")


def test_photos_go_to_uploads_and_other_requests_are_small(client: httpx.Client) -> None:
    url = "data:image/png;base64," + "A" * (5 << 20)
    photo = {"data": [{"url": url, "path": None, "meta": FILE}, "redness"]}
    for path in ("call/predict", "queue/join", "run/predict", "component_server"):
        answer = client.post(f"/gradio_api/{path}", json=photo)
        assert (answer.status_code, answer.json()["error"]["hint"]) == (413, "Send fewer or smaller photos."), path
    assert client.post("/gradio_api/process_recording", files={"video": b"x"}).status_code == 404


def test_no_request_passes_the_queue_and_its_limits_by(client: httpx.Client) -> None:
    for function, arguments in arguments_with({"path": "x"}).items():
        answer = client.post(f"/gradio_api/run/{function}", json={"data": arguments})
        assert (answer.status_code, "join the queue" in answer.text) == (404, True), function


def test_a_model_that_is_named_often_is_asked_once(client: httpx.Client) -> None:
    file = {"path": upload(client, "red.png", make_png("red")), "meta": FILE}

    assert call(client, "compare", file, ["redness"] * 50).count("red, 100.0%") == 1


@pytest.mark.parametrize("cut_off", [True, False])
def test_below_the_path_of_a_proxy_page_api_and_files_are_found(tmp_path: Path, *, cut_off: bool) -> None:
    hosts = frozenset({"photos.example.org"})
    with serve_app(tmp_path, root_path="/app", hosts=hosts, auth=ACCOUNT) as direct:
        prefix = "" if cut_off else "/app"
        base = f"{str(direct.base_url).rstrip('/')}{prefix}"
        with httpx.Client(base_url=base, auth=ACCOUNT, headers={"host": "photos.example.org"}, timeout=20) as client:
            assert client.get("/healthz", auth=None).json() == {"status": "ok"}
            assert client.get("/config").json()["root"] == "/app"
            assert client.get("/openapi.json").json()["servers"] == [{"url": "/app"}]
            assert client.post("/api/v1/predict", content=make_png()).status_code == 200
            file = {"path": upload(client, "red.png", make_png()), "meta": FILE}
            answer = call(client, "predict", file, "redness")
            assert '"url": "/app/gradio_api/file=' in answer
            shown = re.search(r'"url": "/app(/gradio_api/file=[^"]+)"', answer)
            assert shown is not None
            assert client.get(shown[1]).status_code == 200
            assert client.get("/config", headers={"host": "localhost"}).status_code == 421


def test_forwarded_headers_change_nothing_unless_the_proxy_is_trusted(tmp_path: Path) -> None:
    evil = {"x-forwarded-host": "evil.example", "x-forwarded-prefix": "/evil", "x-gradio-server": "http://evil.example"}
    with serve_app(tmp_path) as client:
        for path in ("/", "/config", "/gradio_api/info"):
            answer = client.get(path, headers=evil)
            assert answer.status_code == 200
            assert "evil" not in answer.text
    with serve_app(tmp_path, trusted_proxies=("127.0.0.1",)) as client:
        assert client.get("/config", headers=evil).status_code == 421
        assert client.get("/config", headers={"x-forwarded-prefix": "/app"}).json()["root"] == "/app"


@pytest.mark.slow
def test_uploads_and_files_made_from_them_are_deleted_after_a_while(tmp_path: Path) -> None:
    with serve_app(tmp_path, temp_seconds=5.0) as client:
        path = Path(upload(client, "red.png", make_png("red")))
        file = {"path": str(path), "meta": FILE}
        assert "event: complete" in call(client, "predict", file, "redness")
        assert "event: complete" in call(client, "batch", [file], "redness")
        assert path.exists()

        deadline = time.monotonic() + 40
        while list(temp_folder().rglob("*.*")) and time.monotonic() < deadline:
            time.sleep(0.1)

        assert list(temp_folder().rglob("*.*")) == []
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
        file["path"] = upload(client, "red.png", make_png("red"))
        assert "event: complete" in call(client, "predict", file, "redness")
