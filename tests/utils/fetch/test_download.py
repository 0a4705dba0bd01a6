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
    """A server that serves BODY and misbehaves as told; `asked` holds the Range header of each request."""

    def __init__(self):
        self.asked = []
        self.body = BODY
        self.cut_after = []  # by request: bytes after which the connection closes
        self.stall_after = []  # by request: bytes after which nothing more comes
        self.statuses = []  # by request: an error to answer with
        self.ranges = True
        self.etag = '"v1"'
        self.length = True
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
                asked = self.headers.get("Range")
                server.asked.append(asked)
                if server.statuses and (status := server.statuses.pop(0)):
                    self.send_error(status)
                    return
                start = 0
                if asked and server.ranges and self.headers.get("If-Range") == server.etag:
                    start = int(asked.removeprefix("bytes=").removesuffix("-"))
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
                if server.length:
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


def assert_whole(target):
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_file_is_downloaded_checked_and_told_of(server, target):
    told = []
    path = download(
        server.url, target, sha1=SHA1.upper(), sha256=SHA256, size=len(BODY), progress=lambda *step: told.append(step)
    )
    assert path == target
    assert_whole(target)
    assert told[0] == ("download photos.zip", 0, len(BODY))
    assert told[-1] == ("download photos.zip", len(BODY), len(BODY))
    assert server.asked == [None]


def test_a_file_that_is_there_is_checked_and_not_downloaded(server, target):
    target.parent.mkdir()
    target.write_bytes(BODY)
    download(server.url, target, sha1=SHA1)
    target.write_bytes(b"mine")
    with pytest.raises(DataError, match=f"photos.zip is not the file it should be: its SHA1 is .*, not {SHA1}"):
        download(server.url, target, sha1=SHA1)
    assert target.read_bytes() == b"mine"
    assert server.asked == []


def test_a_cut_connection_is_resumed(server, target):
    server.cut_after = [300_000, 200_000]
    download(server.url, target, sha1=SHA1)
    assert_whole(target)
    assert server.asked == [None, "bytes=300000-", "bytes=500000-"]


def test_the_next_call_goes_on_where_the_last_one_broke(server, target):
    server.cut_after = [300_000, 0]
    with pytest.raises(DataError, match="broke off 2 times") as caught:
        download(server.url, target, sha1=SHA1, attempts=2)
    assert "300,000 bytes are kept" in caught.value.hint
    assert str(target) in caught.value.hint
    assert not target.exists()
    download(server.url, target, sha1=SHA1)
    assert_whole(target)
    assert server.asked[-1] == "bytes=300000-"


def test_a_server_that_ignores_ranges_is_taken_from_the_start(server, target):
    server.ranges = False
    server.cut_after = [300_000]
    download(server.url, target, sha1=SHA1)
    assert_whole(target)


def test_a_new_version_on_the_server_is_taken_from_the_start(server, target):
    server.body = b"old" * 300_000
    server.cut_after = [300_000, 0]
    with pytest.raises(DataError):
        download(server.url, target, attempts=2)
    server.body, server.etag = BODY, '"v2"'
    download(server.url, target, sha1=SHA1)
    assert_whole(target)


def test_a_piece_of_unknown_version_is_thrown_away(server, target):
    server.etag = ""
    server.cut_after = [300_000]
    download(server.url, target, sha1=SHA1)
    assert_whole(target)
    assert server.asked == [None, None]


def test_a_piece_that_is_whole_already_is_taken(server, target):
    server.cut_after = [0]
    with pytest.raises(DataError):
        download(server.url, target, attempts=1)
    target.with_name("photos.zip.part").write_bytes(BODY)
    download(server.url, target, sha1=SHA1)
    assert_whole(target)


def test_a_piece_that_is_too_long_is_thrown_away(server, target):
    server.cut_after = [0]
    with pytest.raises(DataError):
        download(server.url, target, attempts=1)
    target.with_name("photos.zip.part").write_bytes(BODY + b"more")
    download(server.url, target, sha1=SHA1)
    assert_whole(target)


def test_a_damaged_file_gets_no_name(server, target):
    server.body = BODY[:-1] + b"x"
    with pytest.raises(DataError, match="damaged or another file: its SHA256 is") as caught:
        download(server.url, target, sha256=SHA256)
    assert str(target) in caught.value.hint
    assert [file.name for file in target.parent.iterdir()] == ["photos.zip.part.lock"]


def test_another_size_is_refused_before_the_download(server, target):
    with pytest.raises(DataError, match=r"has 1,048,576 bytes, not 5"):
        download(server.url, target, size=5)
    assert not target.exists()


def test_a_length_that_nobody_tells_is_no_matter(server, target):
    server.length = False
    told = []
    download(server.url, target, sha1=SHA1, progress=lambda *step: told.append(step))
    assert_whole(target)
    assert told[-1] == ("download photos.zip", len(BODY), None)


def test_a_stalled_connection_is_given_up_and_resumed(server, target):
    server.stall_after = [300_000]
    started = time.perf_counter()
    download(server.url, target, sha1=SHA1, stall=0.3)
    assert time.perf_counter() - started < 3
    assert_whole(target)
    assert server.asked == [None, "bytes=300000-"]


def test_a_refusal_is_final_and_a_busy_server_is_not(server, target):
    server.statuses = [404]
    with pytest.raises(DataError, match=r"cannot be downloaded \(HTTP 404 Not Found\)") as caught:
        download(server.url, target)
    assert f"put it at {target}" in caught.value.hint
    assert len(server.asked) == 1
    server.statuses = [503, 500]
    download(server.url, target, sha1=SHA1)
    assert_whole(target)


def test_nobody_there_is_said_at_once(server, target):
    server.close()
    started = time.perf_counter()
    with pytest.raises(DataError, match="cannot be reached") as caught:
        download(server.url, target, sha1=SHA1)
    assert time.perf_counter() - started < 1
    assert "online" in caught.value.hint
    assert f"put it at {target}" in caught.value.hint


def test_a_server_that_never_answers_is_given_up_in_time(tmp_path, target):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        started = time.perf_counter()
        with pytest.raises(DataError, match=r"cannot be reached \(no answer within 0.3 s\)"):
            download(url, target, patience=0.3, stall=0.6)
        assert time.perf_counter() - started < 2


def test_of_two_at_once_one_downloads_and_the_other_waits_for_it_and_tells(server, target, monkeypatch):
    monkeypatch.setattr(download_module, "_SECONDS_BETWEEN_LOOKS", 0.05)
    server.stall_after = [300_000]
    told, under_way = [], threading.Event()

    def first(what, done, total):
        if done:
            under_way.set()

    arguments = {"sha1": SHA1, "size": len(BODY), "stall": 0.5}
    one = threading.Thread(target=lambda: download(server.url, target, progress=first, **arguments))
    one.start()
    under_way.wait(5)
    download(server.url, target, progress=lambda *step: told.append(step), **arguments)
    one.join()
    assert_whole(target)
    assert server.asked == [None, "bytes=300000-"]
    assert ("wait for photos.zip, which another process downloads", 300_000, len(BODY)) in told


def test_who_waited_for_one_that_failed_goes_on_from_where_it_was(server, target, monkeypatch):
    monkeypatch.setattr(download_module, "_SECONDS_BETWEEN_LOOKS", 0.05)
    server.stall_after = [300_000]
    errors, under_way = [], threading.Event()

    def first():
        try:
            download(server.url, target, progress=lambda *step: step[1] and under_way.set(), stall=0.3, attempts=1)
        except DataError as error:
            errors.append(error)

    one = threading.Thread(target=first)
    one.start()
    under_way.wait(5)
    download(server.url, target, sha1=SHA1)
    one.join()
    assert "broke off 1 times" in errors[0].message
    assert_whole(target)
    assert server.asked == [None, "bytes=300000-"]


def test_a_full_disk_is_said_before_the_download(server, target, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"The disk is full: .* \(1 MiB are needed, 0 MiB are free\)") as caught:
        download(server.url, target)
    assert "ZOO_HOME" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        download(server.url, tmp_path / "file" / "photos.zip")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "photos.zip"])
def test_only_http_is_an_address(url, target):
    with pytest.raises(DataError, match="is not an address to download from"):
        download(url, target)
