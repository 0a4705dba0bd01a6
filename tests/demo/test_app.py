"""Page and interface as one application, over real HTTP, asked by strangers."""

from __future__ import annotations

import asyncio
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
from redness import Redness, png

from zoo.plugins.registry import load_registry
from zoo_demo.app import Settings, make_app
from zoo_demo.offer import Offer
from zoo_demo.scratch import scratch
from zoo_demo.served import Served
from zoo_demo.server import address, bind

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = {"_type": "gradio.FileData"}
ACCOUNT = ("anna", "s3cret:ü")


@contextmanager
def listening(runs: Path, **settings: Any) -> Iterator[httpx.Client]:
    """Serves one fake model; yields who asks."""
    served = {"redness": Served("redness", Redness())}
    offer = Offer(served=served, runs=runs, device="cpu", registry=load_registry(), examples={"redness": []})
    sock = bind("127.0.0.1", 0)
    servers: list[uvicorn.Server] = []

    async def serve() -> None:  # made where its loop runs: gradio would leave another one open
        config = uvicorn.Config(make_app(offer, Settings(**settings)), log_level="warning", ws="none")
        servers.append(uvicorn.Server(config))
        await servers[0].serve(sockets=[sock])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    while not (servers and servers[0].started):
        assert thread.is_alive()
        time.sleep(0.01)
    with httpx.Client(base_url=address(sock), timeout=20) as client:
        yield client
    servers[0].should_exit = True
    thread.join(10)
    sock.close()
    served["redness"].batcher.close()
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with listening(tmp_path_factory.mktemp("runs")) as client:
        yield client


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    """An address that nobody should ask for, and who asked."""
    asked: list[str] = []

    class Trap(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Trap) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/x.png", asked
        server.shutdown()
        thread.join()


def call(client: httpx.Client, name: str, *data: object) -> str:
    """Returns what a function of the page answers to a program."""
    event = client.post(f"/gradio_api/call/{name}", json={"data": data}).json()["event_id"]
    return client.get(f"/gradio_api/call/{name}/{event}").text


def upload(client: httpx.Client, name: str, content: bytes) -> str:
    path: str = client.post("/gradio_api/upload", files={"files": (name, content)}).json()[0]
    return path


def ways(given: dict[str, Any]) -> dict[str, tuple[object, ...]]:
    """Returns every way in which a file can be named to a function of the page."""
    file = {**given, "meta": FILE}
    return {
        "predict": (file, "redness"),
        "compare": (file, ["redness"]),
        "batch": ([file], "redness"),
    }


def test_a_photo_that_was_uploaded_is_classified(client: httpx.Client) -> None:
    file = {"path": upload(client, "red.png", png("red")), "meta": FILE}

    assert '"label": "red"' in call(client, "predict", file, "redness")
    assert "red, 100.0%" in call(client, "compare", file, ["redness"])
    assert "1 photo: **1** red." in call(client, "batch", [file], "redness")


@pytest.mark.parametrize("way", ways({}))
def test_no_file_of_the_server_is_read_whatever_its_path(
    client: httpx.Client, tmp_path: Path, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png("red"))
    folder = Path(get_upload_folder()) / "strange"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / f"{way}.png"
    link.symlink_to(photo)
    paths = [photo, link, f"{folder}/../../../../../..{photo}", "/etc/passwd", "/proc/self/environ", "pyproject.toml"]

    for path in map(str, paths):
        answer = call(client, way, *ways({"path": path})[way])
        assert "event: error" in answer, path
        assert "Files of the server are not read" in answer, path
    assert "Traceback" not in capfd.readouterr().err  # it is the stranger's error, not ours


def test_nor_in_the_place_of_a_name(client: httpx.Client) -> None:
    stranger = {"path": "/etc/passwd", "meta": FILE}

    for answer in (call(client, "predict", None, stranger), call(client, "compare", None, [stranger])):
        assert "event: error" in answer
        assert "root:" not in answer


def test_no_file_of_the_server_is_given(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"secret")
    photo = upload(client, "red.png", png("red"))

    assert client.get(f"/gradio_api/file={photo}").content == png("red")
    for path in (tmp_path / "weights", "/etc/passwd", f"{photo}/../../../../../etc/passwd", "..%2f..%2fetc%2fpasswd"):
        answer = client.get(f"/gradio_api/file={path}")
        assert answer.status_code in (403, 404), path
        assert b"secret" not in answer.content
        assert b"root:" not in answer.content


@pytest.mark.parametrize("way", ways({}))
def test_no_address_is_fetched(client: httpx.Client, trap: tuple[str, list[str]], way: str) -> None:
    address, asked = trap
    for given in (
        {"path": address},
        {"url": address},
        {"path": address, "url": address},
        {"path": None, "url": address},
    ):
        assert "red" not in call(client, way, *ways(given)[way]).replace("redness", "")
    client.get(f"/gradio_api/file={address}")
    client.get(f"/gradio_api/proxy={address}")

    assert asked == []


def test_a_script_that_was_uploaded_is_given_as_a_download(client: httpx.Client) -> None:
    answer = client.get(f"/gradio_api/file={upload(client, 'x.html', b'<script>alert(1)</script>')}")

    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_no_header_can_be_smuggled_in(client: httpx.Client) -> None:
    evil = "a\r\nX-Evil: 1"
    answers = [
        client.get(f"/gradio_api/file={upload(client, f'{evil}.png', png())}"),
        client.post("/api/v1/predict", params={"model": evil}, content=png()),
        client.get("/gradio_api/file=%0d%0aX-Evil:%201"),
    ]

    for answer in answers:
        assert "x-evil" not in answer.headers
    assert answers[1].status_code == 404


def test_other_pages_neither_read_answers_nor_send_anything(client: httpx.Client) -> None:
    elsewhere = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    for path in ("/api/v1/models", "/config", "/gradio_api/info"):
        assert "access-control-allow-origin" not in client.get(path, headers=elsewhere).headers
    preflight = {**elsewhere, "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in client.options("/api/v1/predict", headers=preflight).headers
    for path in ("/api/v1/predict", "/gradio_api/upload", "/gradio_api/queue/join"):
        answer = client.post(path, headers={**elsewhere, "content-type": "text/plain"}, content=png())
        assert (answer.status_code, answer.json()["error"]["message"]) == (403, "Another page sent this request.")

    own = {"origin": str(client.base_url), "sec-fetch-site": "same-origin"}
    assert client.post("/api/v1/predict", headers=own, content=png()).status_code == 200


def test_without_the_password_nothing_but_the_health_is_told(tmp_path: Path) -> None:
    with listening(tmp_path, auth=ACCOUNT) as client:
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
        assert client.post("/api/v1/predict", auth=ACCOUNT, content=png()).json()["predictions"][0]["label"] == "red"
        assert client.get("/openapi.json", auth=ACCOUNT).status_code == 200


def test_uploads_and_what_is_made_of_them_are_deleted_after_a_while(tmp_path: Path) -> None:
    with listening(tmp_path, seconds_kept=5.0) as client:
        path = Path(upload(client, "red.png", png("red")))
        file = {"path": str(path), "meta": FILE}
        assert "event: complete" in call(client, "predict", file, "redness")
        assert "event: complete" in call(client, "batch", [file], "redness")
        assert path.exists()

        deadline = time.monotonic() + 40
        while list(scratch().rglob("*.*")) and time.monotonic() < deadline:
            time.sleep(0.1)

        assert list(scratch().rglob("*.*")) == []
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
        file["path"] = upload(client, "red.png", png("red"))
        assert "event: complete" in call(client, "predict", file, "redness")
