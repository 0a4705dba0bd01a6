"""Tests of host names, other sites' requests and passwords. Those of the whole application are in `test_app`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.testclient import TestClient

from zoo_demo.server import access
from zoo_demo.server.access import LOOPBACK_HOSTS, BasicAuth, OriginGuard, reject_unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(access, "_SECONDS_AFTER_WRONG_PASSWORD", 0)
    app = FastAPI()

    @app.get("/healthz")
    @app.get("/secret")
    @app.post("/secret")
    def respond() -> str:
        return "ok"

    backend = BasicAuth(user="anna", password="s3cret:ü")
    app.add_middleware(AuthenticationMiddleware, backend=backend, on_error=reject_unauthenticated)
    app.add_middleware(OriginGuard, hosts=LOOPBACK_HOSTS)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:7860"])
def test_loopback_host_names_are_accepted_with_any_port(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:7860", "localhost.evil.example", "localhost@evil"])
def test_other_host_names_are_rejected(client: TestClient, host: str) -> None:
    response = client.get("/healthz", headers={"host": host})

    assert response.status_code == 421
    assert response.json()["error"]["message"] == "This server does not answer to that host name."
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
