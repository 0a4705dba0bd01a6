import hashlib
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from zoo.errors import DataError
from zoo.utils.fetch import download as download_module
from zoo.utils.fetch.download import download

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA1 = hashlib.sha1(BODY).hexdigest()
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server:
    """A server that serves BODY and misbehaves on demand; `ranges` holds the Range header of each request."""

    def __init__(self):
        self.ranges = []
        self.body = BODY
        self.cut_after = []  # per request: bytes after which the connection closes
        self.stall_after = []  # per request: bytes after which no more follow
        self.statuses = []  # per request: an error status
        self.supports_ranges = True
        self.etag = '"v1"'
        self.sends_length = True
        self.done = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/photos.zip"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.done.set()
        self.http.shutdown()
        self.http.server_close()

    def handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                requested = self.headers.get("Range")
                server.ranges.append(requested)
                if server.statuses and (status := server.statuses.pop(0)):
                    self.send_error(status)
                    return
                start = 0
                if requested and server.supports_ranges and self.headers.get("If-Range") == server.etag:
                    start = int(requested.removeprefix("bytes=").removesuffix("-"))
                if start >= len(server.body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(server.body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
                if server.etag:
                    self.send_header("ETag", server.etag)
                if server.sends_length:
                    self.send_header("Content-Length", str(len(server.body) - start))
                self.end_headers()
                cut = server.cut_after.pop(0) if server.cut_after else None
                stall = server.stall_after.pop(0) if server.stall_after else None
                self.wfile.write(server.body[start:][: cut if cut is not None else stall])
                if stall is not None:
                    server.done.wait(10)

        return Handler


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "photos.zip"


def assert_complete(target):
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_file_is_downloaded_and_verified(server, target):
    steps = []
    path = download(
        server.url, target, sha1=SHA1.upper(), sha256=SHA256, size=len(BODY), progress=lambda *step: steps.append(step)
    )
    assert path == target
    assert_complete(target)
    assert steps[0] == ("download photos.zip", 0, len(BODY))
    assert steps[-1] == ("download photos.zip", len(BODY), len(BODY))
    assert server.ranges == [None]


def test_an_existing_file_is_verified_and_not_downloaded(server, target):
    target.parent.mkdir()
    target.write_bytes(BODY)
    download(server.url, target, sha1=SHA1)
    target.write_bytes(b"mine")
    with pytest.raises(DataError, match=f"photos.zip is not the expected file: its SHA1 is .*, not {SHA1}"):
        download(server.url, target, sha1=SHA1)
    assert target.read_bytes() == b"mine"
    assert server.ranges == []


def test_a_lost_connection_is_resumed(server, target):
    server.cut_after = [300_000, 200_000]
    download(server.url, target, sha1=SHA1)
    assert_complete(target)
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_the_next_call_resumes_the_partial_file(server, target):
    server.cut_after = [300_000, 0]
    with pytest.raises(DataError, match=r"was lost \(attempts: 2; ") as caught:
        download(server.url, target, sha1=SHA1, attempts=2)
    assert "resume after 300,000 bytes" in caught.value.hint
    assert str(target) in caught.value.hint
    assert not target.exists()
    download(server.url, target, sha1=SHA1)
    assert_complete(target)
    assert server.ranges[-1] == "bytes=300000-"


def test_without_ranges_the_download_starts_again(server, target):
    server.supports_ranges = False
    server.cut_after = [300_000]
    download(server.url, target, sha1=SHA1)
    assert_complete(target)


def test_a_new_version_starts_again(server, target):
    server.body = b"old" * 300_000
    server.cut_after = [300_000, 0]
    with pytest.raises(DataError):
        download(server.url, target, attempts=2)
    server.body, server.etag = BODY, '"v2"'
    download(server.url, target, sha1=SHA1)
    assert_complete(target)


def test_a_partial_file_of_unknown_version_is_discarded(server, target):
    server.etag = ""
    server.cut_after = [300_000]
    download(server.url, target, sha1=SHA1)
    assert_complete(target)
    assert server.ranges == [None, None]


def test_a_complete_partial_file_is_used(server, target):
    server.cut_after = [0]
    with pytest.raises(DataError):
        download(server.url, target, attempts=1)
    target.with_name("photos.zip.part").write_bytes(BODY)
    download(server.url, target, sha1=SHA1)
    assert_complete(target)


def test_a_partial_file_that_is_too_long_is_discarded(server, target):
    server.cut_after = [0]
    with pytest.raises(DataError):
        download(server.url, target, attempts=1)
    target.with_name("photos.zip.part").write_bytes(BODY + b"more")
    download(server.url, target, sha1=SHA1)
    assert_complete(target)


def test_a_damaged_file_is_not_put_in_place(server, target):
    server.body = BODY[:-1] + b"x"
    with pytest.raises(DataError, match="damaged or another file: its SHA256 is") as caught:
        download(server.url, target, sha256=SHA256)
    assert str(target) in caught.value.hint
    assert [file.name for file in target.parent.iterdir()] == ["photos.zip.part.lock"]


def test_an_unexpected_size_is_an_error_before_the_download(server, target):
    with pytest.raises(DataError, match=r"has 1,048,576 bytes, not 5"):
        download(server.url, target, size=5)
    assert not target.exists()


def test_a_response_without_length_is_downloaded(server, target):
    server.sends_length = False
    steps = []
    download(server.url, target, sha1=SHA1, progress=lambda *step: steps.append(step))
    assert_complete(target)
    assert steps[-1] == ("download photos.zip", len(BODY), None)


def test_a_stalled_connection_is_closed_and_resumed(server, target):
    server.stall_after = [300_000]
    started = time.perf_counter()
    download(server.url, target, sha1=SHA1, read_timeout=0.3)
    assert time.perf_counter() - started < 3
    assert_complete(target)
    assert server.ranges == [None, "bytes=300000-"]


def test_a_client_error_is_final_and_a_server_error_is_not(server, target):
    server.statuses = [404]
    with pytest.raises(DataError, match=r"cannot be downloaded \(HTTP 404 Not Found\)") as caught:
        download(server.url, target)
    assert f"save it as {target}" in caught.value.hint
    assert len(server.ranges) == 1
    server.statuses = [503, 500]
    download(server.url, target, sha1=SHA1)
    assert_complete(target)


def test_an_unreachable_server_is_reported_at_once(server, target):
    server.close()
    started = time.perf_counter()
    with pytest.raises(DataError, match="is unreachable") as caught:
        download(server.url, target, sha1=SHA1)
    assert time.perf_counter() - started < 1
    assert "online" in caught.value.hint
    assert f"save it as {target}" in caught.value.hint


def test_a_server_that_never_answers_is_reported_in_time(tmp_path, target):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        started = time.perf_counter()
        with pytest.raises(DataError, match=r"is unreachable \(no answer within 0.3 s\)"):
            download(url, target, connect_timeout=0.3, read_timeout=0.6)
        assert time.perf_counter() - started < 2


def test_a_second_process_waits_and_reports_progress(server, target, monkeypatch):
    monkeypatch.setattr(download_module, "_LOCK_INTERVAL", 0.05)
    server.stall_after = [300_000]
    steps, started = [], threading.Event()

    def first(what, done, total):
        if done:
            started.set()

    arguments = {"sha1": SHA1, "size": len(BODY), "read_timeout": 0.5}
    one = threading.Thread(target=lambda: download(server.url, target, progress=first, **arguments))
    one.start()
    started.wait(5)
    download(server.url, target, progress=lambda *step: steps.append(step), **arguments)
    one.join()
    assert_complete(target)
    assert server.ranges == [None, "bytes=300000-"]
    assert ("wait for another process to download photos.zip", 300_000, len(BODY)) in steps


def test_a_waiting_process_resumes_after_the_other_one_failed(server, target, monkeypatch):
    monkeypatch.setattr(download_module, "_LOCK_INTERVAL", 0.05)
    server.stall_after = [300_000]
    errors, started = [], threading.Event()

    def first():
        try:
            download(server.url, target, progress=lambda *step: step[1] and started.set(), read_timeout=0.3, attempts=1)
        except DataError as error:
            errors.append(error)

    one = threading.Thread(target=first)
    one.start()
    started.wait(5)
    download(server.url, target, sha1=SHA1)
    one.join()
    assert "was lost (attempts: 1; " in errors[0].message
    assert_complete(target)
    assert server.ranges == [None, "bytes=300000-"]


def test_a_full_disk_is_an_error_before_the_download(server, target, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"The disk is full: .* \(1 MiB needed, 0 MiB free\)") as caught:
        download(server.url, target)
    assert "ZOO_HOME" in caught.value.hint


def test_a_folder_that_cannot_be_created_is_an_error(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        download(server.url, tmp_path / "file" / "photos.zip")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "photos.zip"])
def test_only_http_addresses_are_allowed(url, target):
    with pytest.raises(DataError, match="is not a download address"):
        download(url, target)
