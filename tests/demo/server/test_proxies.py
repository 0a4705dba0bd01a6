"""Tests of requests that come through a reverse proxy, and of the options about proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from zoo.errors import ConfigError
from zoo_demo.server.proxies import ReverseProxies, check_host, check_proxy, check_root_path, route_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

REPORTED = {
    "x-forwarded-for": "198.51.100.7",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.example, photos.example.org",
    "x-forwarded-prefix": "/app",
}


async def describe(scope: Scope, receive: Receive, send: Send) -> None:
    """Responds with what the application sees of a request."""
    names = [name.decode() for name, _ in scope["headers"]]
    seen = {
        "host": dict(scope["headers"])[b"host"].decode(),
        "client": scope["client"][0],
        "scheme": scope["scheme"],
        "path": scope["path"],
        "route": route_path(scope),
        "reported": [name for name in names if name.startswith(("x-forwarded", "forwarded", "x-gradio", "x-real"))],
    }
    await JSONResponse(seen)(scope, receive, send)


def get(path: str, *, client: str = "127.0.0.1", headers: dict[str, str] | None = None, **options: Any) -> Any:
    app = ReverseProxies(describe, **options)
    http = TestClient(app, base_url="http://localhost", client=(client, 1), follow_redirects=False)
    response = http.get(path, headers=headers)
    return response.json() if response.status_code == 200 else response.headers["location"]


@pytest.mark.parametrize("path", ["/healthz", "/app/healthz"])
def test_a_proxy_may_cut_the_path_off_or_pass_it_on(path: str) -> None:
    seen = get(path, root_path="/app")

    assert (seen["path"], seen["route"]) == ("/app/healthz", "/healthz")


def test_a_path_that_only_begins_alike_is_not_below_the_root_path() -> None:
    assert get("/apple", root_path="/app")["path"] == "/app/apple"


def test_the_root_path_without_a_slash_leads_to_the_page() -> None:
    assert get("/app?a=b", root_path="/app") == "/app/?a=b"
    assert get("/app", root_path="/app") == "/app/"


@pytest.mark.parametrize("trusted", [["127.0.0.1"], ["10.0.0.0/8", "127.0.0.0/8"]])
def test_a_trusted_proxy_reports_what_it_received(trusted: list[str]) -> None:
    assert get("/healthz", trusted=trusted, headers=REPORTED) == {
        "host": "photos.example.org",  # the last: those before may be the client's
        "client": "198.51.100.7",
        "scheme": "https",
        "path": "/app/healthz",
        "route": "/healthz",
        "reported": [],
    }


@pytest.mark.parametrize(("client", "trusted"), [("127.0.0.1", []), ("192.0.2.1", ["127.0.0.1"]), ("x", ["::1"])])
def test_nobody_else_is_believed(client: str, trusted: list[str]) -> None:
    more = {"forwarded": "host=evil.example", "x-gradio-server": "http://evil.example", "x-real-ip": "1.2.3.4"}

    assert get("/healthz", client=client, trusted=trusted, headers={**REPORTED, **more}) == {
        "host": "localhost",
        "client": client,
        "scheme": "http",
        "path": "/healthz",
        "route": "/healthz",
        "reported": [],
    }


@pytest.mark.parametrize("prefix", ["//evil.example", "app", "/a b", "/a?b", "/"])
def test_a_prefix_that_is_no_path_is_ignored(prefix: str) -> None:
    assert get("/healthz", trusted=["127.0.0.1"], headers={"x-forwarded-prefix": prefix})["path"] == "/healthz"


@pytest.mark.parametrize(
    ("check", "given", "result"),
    [
        (check_root_path, "", ""),
        (check_root_path, "/", ""),
        (check_root_path, "/app/", "/app"),
        (check_root_path, "/a-1/b.c", "/a-1/b.c"),
        (check_proxy, "10.0.0.0/8", "10.0.0.0/8"),
        (check_proxy, "::1", "::1"),
        (check_host, "Photos.Example.org", "photos.example.org"),
        (check_host, "bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_options_are_accepted(check: Callable[[str], str], given: str, result: str) -> None:
    assert check(given) == result


@pytest.mark.parametrize(
    ("check", "given", "message"),
    [
        (check_root_path, "app", "is not a path"),
        (check_root_path, "https://photos.example.org/app", "is not a path"),
        (check_root_path, "//evil.example", "is not a path"),
        (check_root_path, "/api", "path of the server itself"),
        (check_proxy, "localhost", "--trusted-proxy"),
        (check_proxy, "10.0.0.1/8", "--trusted-proxy"),
        (check_host, "https://photos.example.org", "is not a host name"),
        (check_host, "photos.example.org:8443", "is not a host name"),
        (check_host, "", "is not a host name"),
    ],
)
def test_options_that_make_no_sense_are_errors(check: Callable[[str], str], given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check(given)

    assert "such as" in caught.value.hint
