"""Tests of ``zoo demo``: what it prints, and what it does not accept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from zoo.errors import ConfigError
from zoo_demo import app
from zoo_demo.commands import command
from zoo_demo.server import serve

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Runs the command without serving; returns its output."""

    def announce_only(application: object, sock: socket.socket, *, on_ready: Callable[[], None]) -> None:
        on_ready()
        sock.close()

    def start(*options: str) -> str:
        arguments = ["--port", "0", "--no-open", "--runs", str(tmp_path), *options]
        return CliRunner().invoke(command, arguments, catch_exceptions=False).output

    monkeypatch.setattr(app, "make_app", lambda pool, settings: None)
    monkeypatch.setattr(serve, "serve", announce_only)
    return start


def test_the_url_is_printed_with_what_is_served(start: Callable[..., str], tmp_path: Path) -> None:
    first, second = start().splitlines()

    assert re.fullmatch(r"Listening on http://127\.0\.0\.1:\d+ \(press Ctrl-C to stop\)", first)
    assert second == f"No finished run in {tmp_path}. Train a model on the Teach tab."


def test_quiet_prints_only_the_url(start: Callable[..., str]) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", start("-q"))


@pytest.mark.parametrize("content", [b"", b"anna", b"anna:", b":s3cret", b"\nanna:s3cret", b"\xff"])
def test_a_file_without_user_and_password_is_an_error(
    start: Callable[..., str], tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"password (cannot be read|is not user:password)"):
        start("--auth", str(file))


def test_a_missing_password_file_is_an_error(start: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        start("--auth", str(tmp_path / "nowhere"))
