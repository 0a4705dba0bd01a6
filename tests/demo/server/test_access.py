"""Tests of host names, other sites' requests and passwords. Those of the whole application are in `test_app`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.testclient import TestClient

from zoo_demo.server.access import (
    LOOPBACK_HOSTS,
    BasicAuth,
    GuessLimit,
    OriginGuard,
    PageGuard,
    reject_unauthenticated,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(clock: Clock) -> Iterator[TestClient]:
    app = FastAPI()

    @app.get("/healthz")
    @app.get("/secret")
    @app.post("/secret")
    def respond() -> str:
        return "ok"

    backend = BasicAuth(user="anna", password="s3cret:ü", limit=GuessLimit(clock))
    app.add_middleware(AuthenticationMiddleware, backend=backend, on_error=reject_unauthenticated)
    app.add_middleware(OriginGuard, hosts=LOOPBACK_HOSTS)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost.", "localhost:7860", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:7860"]
)
def test_loopback_host_names_are_accepted_with_any_port(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:7860", "localhost.evil.example", "localhost@evil"])
def test_other_host_names_are_rejected(client: TestClient, host: str) -> None:
    response = client.get("/healthz", headers={"host": host})

    assert response.status_code == 421
    assert response.json()["error"]["message"] == "This server does not answer to that host name."
    assert ("--allow-host" in response.json()["error"]["hint"]) == (host not in ("", "localhost@evil"))
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_may_read_only_what_the_browser_lets_them(client: TestClient, site: str) -> None:
    headers = {"sec-fetch-site": site}

    assert client.post("/secret", headers=headers).status_code == 403
    assert client.get("/healthz", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("", "Authentication required."),
        ("Bearer YW5uYQ==", "Authentication required."),
        ("Basic %%%", "Authentication required."),
        ("Basic ü", "Authentication required."),
        ("Basic YW5uYQ==", "Wrong user or password."),
    ],
)
def test_invalid_credentials_are_rejected_with_the_reason(client: TestClient, authorization: str, message: str) -> None:
    response = client.get("/secret", headers={"authorization": authorization.encode()})

    assert response.status_code == 401
    assert response.json()["error"]["message"] == message
    assert response.headers["www-authenticate"] == 'Basic realm="Zoo", charset="UTF-8"'


def test_the_password_may_hold_colons_and_any_letters(client: TestClient) -> None:
    assert client.get("/secret", auth=("anna", "s3cret:ü")).status_code == 200


@pytest.mark.parametrize("path", ["/secret?/healthz", "/healthz/../secret", "//healthz", "/healthz/"])
def test_only_the_exact_health_path_is_public(client: TestClient, path: str) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get(path, follow_redirects=False).status_code == 401


def test_a_forged_host_does_not_make_a_path_public() -> None:
    app = FastAPI()
    app.add_middleware(
        AuthenticationMiddleware, backend=BasicAuth(user="a", password="b"), on_error=reject_unauthenticated
    )
    with TestClient(app) as client:
        assert client.get("/secret", headers={"host": "evil/healthz?"}).status_code == 401


def guess(client: TestClient, password: str = "wrong", *, address: str = "192.0.2.1") -> int:
    other = TestClient(client.app, base_url="http://localhost", client=(address, 1))
    response = other.get("/secret", auth=("anna", password))
    if response.status_code == 429:
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["error"]["message"] == "Too many wrong passwords."
        assert "www-authenticate" not in response.headers
    return response.status_code


def test_an_address_may_be_wrong_ten_times_and_then_every_ten_seconds(client: TestClient, clock: Clock) -> None:
    assert [guess(client) for _ in range(12)] == [401] * 10 + [429] * 2
    assert guess(client, "s3cret:ü") == 429  # not even the right one: an answer would tell
    assert guess(client, address="192.0.2.2") == 401
    clock.now += 10
    assert [guess(client) for _ in range(2)] == [401, 429]
    clock.now += 10
    assert guess(client, "s3cret:ü") == 200
    assert client.get("/healthz").status_code == 200


def test_all_addresses_together_may_be_wrong_a_hundred_times_and_then_every_second(
    client: TestClient, clock: Clock
) -> None:
    assert guess(client, "s3cret:ü", address="198.51.100.1") == 200
    statuses = [guess(client, address=f"192.0.2.{number}") for number in range(105)]

    assert statuses == [401] * 100 + [429] * 5
    assert guess(client, "s3cret:ü", address="198.51.100.2") == 429
    assert guess(client, "s3cret:ü", address="198.51.100.1") == 200  # others do not lock out who knows the password
    clock.now += 1
    assert [guess(client, address="203.0.113.1"), guess(client, address="203.0.113.2")] == [401, 429]


def test_the_addresses_of_one_ipv6_network_count_as_one(client: TestClient) -> None:
    statuses = [guess(client, address=f"2001:db8::{number:x}") for number in range(11)]

    assert statuses == [401] * 10 + [429]
    assert guess(client, address="2001:db8:0:1::1") == 401


def test_requests_without_a_password_are_no_guesses(client: TestClient) -> None:
    assert {client.get("/secret").status_code for _ in range(30)} == {401}
    assert client.get("/secret", auth=("anna", "s3cret:ü")).status_code == 200


def test_few_addresses_are_remembered(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GuessLimit, "_MAX_ADDRESSES", 3)
    limit = GuessLimit(clock)
    for number in range(10):
        limit.count_wrong(str(number))
        limit.count_right(str(number))

    assert list(limit._by_address) == list(limit._known) == ["7", "8", "9"]


@pytest.mark.parametrize(
    ("path", "used"),
    [
        ("/", True),
        ("/assets/index.js", True),
        ("/api/v1/predict", True),
        ("/gradio_api/queue/join", True),
        ("/gradio_api/call/predict", True),
        ("/gradio_api/file=/tmp/a.png", True),
        ("/gradio_api/file=https://example.org/a.png", False),
        ("/gradio_api/file=HTTP://example.org/a.png", False),
        ("/gradio_api/proxy=https://x.hf.space/a", False),
        ("/gradio_api/process_recording", False),
        ("/gradio_api/vibe-edit", False),
        ("/gradio_api/stream/1", False),
        ("/gradio_api/deep_link", False),
        ("/monitoring/summary", False),
        ("/login", False),
    ],
)
def test_routes_that_the_page_does_not_use_are_hidden(path: str, *, used: bool) -> None:
    app = FastAPI()
    app.add_api_route("/{path:path}", lambda path: path, methods=["GET", "POST"])
    app.add_middleware(PageGuard)

    assert TestClient(app).post(path).status_code == (200 if used else 404)


def test_forms_do_not_reach_the_functions_of_components() -> None:
    app = FastAPI()
    app.add_api_route("/{path:path}", lambda path: path, methods=["POST"])
    app.add_middleware(PageGuard)
    client = TestClient(app)

    for path in ("/gradio_api/component_server", "/gradio_api/component_server/"):
        assert client.post(path, json={}).status_code == 200
        assert client.post(path, files={"a": b"b"}).status_code == 404
