import http.server
import socket
import threading
import time

import pytest

from zoo.errors import WeightsError
from zoo.plugins import servers
from zoo.plugins.servers import check_server, require_server


@pytest.fixture
def server(monkeypatch):
    """A server that answers a request for /N with status N."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *_):
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_server_that_answers_is_reachable(server):
    for status in (200, 403, 404):
        require_server(f"{server}/{status}", what="It")
    with pytest.raises(WeightsError, match=r"It cannot be downloaded from 127\.0\.0\.1:\d+: the server answers 503"):
        require_server(f"{server}/503", what="It")


def test_a_server_that_does_not_answer_is_unreachable_within_seconds(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(WeightsError, match="refused"):
            require_server(address, what="It")
        silent.listen()
        started = time.monotonic()
        with pytest.raises(WeightsError, match=r"no answer within 0\.3 s|timed out") as caught:
            require_server(address, what="It", hint="Do without.", timeout=0.3)
        assert time.monotonic() - started < 2
        assert caught.value.hint == "Do without."


def test_check_server_reports_an_unreachable_server_as_a_warning(monkeypatch):
    monkeypatch.setattr(servers, "_request_head", lambda url, timeout: "no such host")
    finding = check_server("https://example.org/x", about="example")
    assert (finding.status, finding.text) == ("warning", "example.org does not answer: no such host")
    assert "HTTPS_PROXY" in finding.advice
    monkeypatch.setattr(servers, "_request_head", lambda url, timeout: "")
    assert check_server("https://example.org/x", about="example").text == "example.org answers"
